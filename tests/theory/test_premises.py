"""Premises P1 to P6: what is true is not refused, what is planted is found, each at the rate that is stated.

The studies behind these tests are those of ``benchmarks/bench_premises.py``, at fewer repetitions and draws.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

import frugal_theory as ft
from benchmarks import bench_premises as study
from frugal_theory.algorithm.selection import independent_units
from frugal_theory.algorithm.subspaces import Drawn
from frugal_theory.instance import Instance, instance_of, setting_of, starting_point
from frugal_theory.premises import LEVEL, PREMISES, check_premises, draws, grounds, largest_gradient_ratio
from frugal_theory.premises.moments import POWER, contradicted_variance, dependence, excess_variance, nonzero_mean
from frugal_theory.premises.search import RATIO_SLACK, search
from frugal_theory.premises.selection import selection_bias
from frugal_theory.premises.tails import heavy_tail
from frugal_theory.problems import Gaussian, Quadratic
from frugal_theory.verdicts.claims import claims_of
from tests.tolerances import LEAST_P_VALUE, ROUNDING

QUICK, FEW = 25, 2**14
"""Repetitions and draws of the quick studies."""

TAILS = [name for name in study.planted() if "Student" in name]
"""Planted tails have the full number of draws."""

BETWEEN = "Student t, ν = 1.8, declared σ² = 10⁴"
"""An index between what is allowed and what is found."""


def within(count, repetitions, level):
    """Whether so many false alarms agree with a rate of at most ``level``."""
    return stats.binom.sf(count - 1, repetitions, level) > LEAST_P_VALUE


def surely(count, repetitions, power=POWER):
    """Whether so many findings agree with a rate of at least ``power``."""
    return stats.binom.cdf(count, repetitions, power) > LEAST_P_VALUE


# --- P3, P4, P5 ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", study.TRUE)
def test_true_noise_is_refused_within_the_level(name, monkeypatch):
    monkeypatch.setattr(study, "WHOLE", ())
    coarse, own = study.false_alarms(name, QUICK, FEW)
    assert within(coarse, QUICK, study.COARSE)
    assert within(own, QUICK, LEVEL)


@pytest.mark.parametrize("number", [i for i, name in enumerate(study.planted()) if name != BETWEEN])
def test_a_planted_violation_of_the_stated_size_is_found(number):
    """Sizes follow from the number of draws, so names differ with it."""
    name = list(study.planted(FEW))[number]
    repetitions = 8 if name in TAILS else QUICK
    assert surely(study.found(name, repetitions, FEW), repetitions)


@pytest.mark.slow
@pytest.mark.parametrize("name", study.TRUE)
def test_true_noise_is_refused_within_the_level_a_thousand_times(name):
    coarse, own = study.false_alarms(name, 1000)
    assert within(coarse, 1000, study.COARSE)
    assert within(own, 1000, LEVEL)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in study.planted() if name != BETWEEN])
def test_planted_violations_are_found_a_thousand_times(name):
    assert surely(study.found(name, 1000), 1000)


def test_every_test_has_its_level():
    """One by one at 5 %, on Gaussian noise of 4 coordinates: a family shared by them cannot hide one that is too eager."""
    rng, ones, repetitions, level = np.random.default_rng(1), np.ones(4), 400, 0.05
    counts = np.zeros(5, dtype=int)
    for _ in range(repetitions):
        noise = rng.standard_normal((16, 64, 4))
        flat = noise.reshape(-1, 4)
        found = (
            nonzero_mean(flat, ones, 0 * ones, level),
            excess_variance(flat, ones, 0 * ones, level),
            contradicted_variance(flat, ones, level),
            heavy_tail(flat, level),
            dependence(noise, 0 * ones, level),
        )
        counts += [finding.refused for finding in found]
    assert all(within(count, repetitions, level) for count in counts)
    assert counts[0] > 0, "a test that never refuses has no power"
    assert counts[4] > 0


def test_exceedances_are_held_against_chebyshevs_inequality_itself():
    """The extreme law, ±4σ with probability 1/16 and else 0, attains it, and keeps the level; at 1/8 it is found."""
    rng, repetitions, level = np.random.default_rng(0), 400, 0.05
    extreme = [(rng.random((1024, 1)) < 1 / 16) * 4.001 for _ in range(repetitions)]
    assert within(sum(contradicted_variance(x, np.ones(1), level).refused for x in extreme), repetitions, level)
    assert contradicted_variance((rng.random((1024, 1)) < 1 / 8) * 4.001, np.ones(1), level).refused


def test_the_tail_index_is_hills():
    """Pareto tails of index 1.25 in every coordinate, whatever their scales: the lower limit of 1/α is below 0.8, and near."""
    rng = np.random.default_rng(0)
    pareto = rng.random((20_000, 8)) ** -0.8 * np.geomspace(1e-6, 1e6, 8)
    limit = heavy_tail(pareto, 0.01)
    assert limit.refused
    assert 0.7 < limit.statistic < 0.8


@pytest.mark.parametrize("degrees", [2.5, 3.0, 5.0])
def test_student_noise_with_a_variance_is_not_called_heavy(degrees):
    rng = np.random.default_rng(0)
    assert not any(heavy_tail(rng.standard_t(degrees, (2**14, 16)), LEVEL / 9).refused for _ in range(20))


def test_common_scales_do_not_look_like_tails():
    """Coordinates that are large together are few independent values, however many coordinates."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        noise = rng.standard_normal((1024, 256)) / np.sqrt(rng.chisquare(2.5, (1024, 1)))
        assert not heavy_tail(noise, 0.01).refused


def test_noise_of_the_users_own_class_is_refused_by_name(quadratic):
    setting = setting_of(quadratic({"problem.dimension": 20}))
    noise = study.Additive(lambda rng, shape: rng.standard_t(1.5, shape), 1e4)
    premise = check_premises(Instance.of_parts(setting.problem, noise, setting.algorithm))[3]
    assert not premise.held
    assert "Additive noise has heavy tails" in premise.how
    assert premise.level == pytest.approx(LEVEL / 6)


def test_a_noise_that_is_not_independent_is_not_called_biased(quadratic):
    setting = setting_of(quadratic({"problem.dimension": 20}))
    noise = study.Remembering(lambda fresh, last, step: last if step % 2 else fresh)
    held = {p.name: p.held for p in check_premises(Instance.of_parts(setting.problem, noise, setting.algorithm))}
    assert held == {"P1": True, "P2": True, "P3": True, "P4": True, "P5": False, "P6": True}


def test_draws_that_are_not_numbers_are_refused(quadratic):
    setting = setting_of(quadratic({"problem.dimension": 20}))
    noise = study.Additive(lambda rng, shape: np.where(rng.random(shape) < 0.01, np.nan, 1.0), 1.0)
    assert not all(p.held for p in check_premises(Instance.of_parts(setting.problem, noise, setting.algorithm))[2:5])


def test_drawing_leaves_no_trace_in_the_noise(quadratic):
    noise = study.Remembering(lambda fresh, last, step: fresh)  # noqa: ARG005
    draws.draw(Instance.of_parts(setting_of(quadratic()).problem, noise))
    assert (noise.step, noise.last) == (0, None)


def test_the_tested_coordinates_are_spread_over_all():
    assert np.array_equal(draws.tested(7), np.arange(7))
    many = draws.tested(10**6)
    assert len(many) == draws.MOST_COORDINATES
    assert (many[0], many[-1]) == (0, 10**6 - 1)


# --- P1, P2 ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", study.SMOOTHNESS)
def test_the_true_smoothness_is_never_refused(name):
    assert study.smoothness(name, 12, 1.0) == 0


@pytest.mark.parametrize("name", study.SMOOTHNESS)
def test_a_smoothness_a_tenth_too_small_is_found(name):
    assert surely(study.smoothness(name, 12, 0.9), 12)


def test_lanczos_and_the_pairs_find_the_largest_eigenvalue():
    problem = Quadratic(np.geomspace(1e-3, 3.0, 40))
    found = search(problem, problem.smoothness, starting_point(problem, 0))
    assert found.ratio == pytest.approx(3.0, rel=RATIO_SLACK)
    assert found.lanczos == pytest.approx(3.0, rel=1e-6)
    assert largest_gradient_ratio(problem, starting_point(problem, 0)) < found.ratio


def test_negative_curvature_counts():
    """f = −½·2x² + ½y², made smooth and bounded nowhere: |λ| is what L bounds."""

    class Saddle(Quadratic):
        def gradient(self, x):
            return {"x": x["x"] * [-2.0, 1.0, 0.5]}

    saddle = Saddle(np.ones(3))
    assert search(saddle, 1.0, starting_point(saddle, 0)).ratio == pytest.approx(2.0, rel=RATIO_SLACK)


def test_a_value_below_the_infimum_is_found(quadratic):
    instance = instance_of(quadratic())
    instance.problem.infimum = 0.01
    premise = check_premises(instance)[1]
    assert not premise.held
    assert "is no lower bound: a point has value" in premise.how


def test_a_start_at_the_optimum_meets_the_premises(quadratic):
    """There Δ = 0, and values of f are rounding around f*."""
    instance = instance_of(quadratic({"problem": {"kind": "quadratic", "eigenvalues": [1.0, 0.0, 0.0], "rotated": True}}))
    assert check_premises(replace(instance, setting=instance.setting.having(gap=0.0)))[1].held


# --- P6 --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", study.SELECTIONS)
def test_only_svd_reads_the_gradient(name):
    assert study.selections(name, 5) == (5 if name == "svd" else 0)


def test_a_set_of_its_own_that_peeks_at_the_noise_is_found(quadratic):
    """The subspace reads what the noise has left in a variable: a selection by the size of the stochastic gradient."""
    left = {}

    class Leaving(Gaussian):
        def sample(self, rng, problem, x, gradient):
            left.update(found := super().sample(rng, problem, x, gradient))
            return found

    def largest(key, shape, density):
        inside = independent_units(key, np.arange(shape[0]), density)
        if "x" in left and inside.shape == left["x"].shape:
            inside = np.abs(left["x"]) > np.median(np.abs(left["x"]))
        return inside

    with ft.extended():
        ft.add_subspace("largest", Drawn(largest, lambda shape, density: density))  # noqa: ARG005
        instance = instance_of(quadratic({"algorithm.subspace": "largest"}))
        oblivious = check_premises(instance)[5]
        assert oblivious.held
        peeking = check_premises(replace(instance, setting=instance.setting.having(noise=Leaving(0.1))))[5]
    assert not peeking.held
    assert 'subspace "largest" reads the noise' in peeking.how


def test_the_bias_of_svd_is_measured(quadratic):
    """It is positive and many standard errors from zero: the set follows the noise that is then applied."""
    overrides = {"problem": {"kind": "matrix"}, "algorithm.subspace": "svd", "noise.sigma": 0.5}
    instance = instance_of(quadratic(overrides))
    bias, error = selection_bias(instance)
    assert bias > 5 * error > 0
    assert "of ‖∇f‖² on E⟨∇f, u⟩" in check_premises(instance)[5].how
    assert selection_bias(instance_of(quadratic({**overrides, "algorithm.subspace": "random"})))[0] == 0


# --- together --------------------------------------------------------------------------------------------------------


def test_each_result_says_its_level_and_power(quadratic):
    premises = check_premises(instance_of(quadratic()))
    every = check_premises(instance_of(quadratic()), further=list(PREMISES))
    assert sum(p.level for p in every if p.level is not None) == pytest.approx(LEVEL, rel=ROUNDING)
    assert premises == every[:6]
    assert all("95 %" in p.power for p in premises[2:5])
    assert "largest ratio found" in premises[0].how
    assert "Lanczos" in premises[0].how


def test_premises_are_a_function_of_setting_and_seed(quadratic):
    setting = setting_of(quadratic())
    three, four = (Instance.of_parts(setting.problem, setting.noise, setting.algorithm, seed=seed) for seed in (3, 4))
    assert check_premises(three) == check_premises(three)
    assert check_premises(three)[2].how != check_premises(four)[2].how


def test_a_sweep_tests_equal_problems_once(quadratic, monkeypatch):
    experiment = quadratic({"algorithm.learning_rate": 0.001, "sweep": {"algorithm.density": [0.0, 0.25, 0.5, 0.75, 1.0]}})
    counted = {}
    for name in ("search", "draw", "walk"):
        whole = getattr(grounds, name)
        monkeypatch.setattr(
            grounds, name, lambda *given, n=name, f=whole: (counted.update({n: counted.get(n, 0) + 1}), f(*given))[1]
        )
    five = claims_of(experiment)
    assert counted == {"search": 1, "draw": 1, "walk": 5}
    assert all(premise.held for study_ in five for premise in study_.premises)
    assert {study_.premises[4] for study_ in five} == {five[0].premises[4]}
