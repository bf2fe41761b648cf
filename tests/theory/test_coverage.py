"""What theorems and exact engines take for their algorithm: no rule, noise or problem that only looks like one of theirs."""

from __future__ import annotations

import numpy as np
import pytest

import frugal_theory as ft
from frugal_theory.config import Algorithm
from frugal_theory.config.load import ExperimentError
from frugal_theory.config.registry import RULES
from frugal_theory.evidence.exact.expectations import at_most, decouples, expectations, has_expectation
from frugal_theory.instance import Instance, setting_of
from frugal_theory.metrics import GrowingNorm, squared_gradient_norm
from frugal_theory.problems import Gaussian, NoNoise, Quadratic
from frugal_theory.problems.noise import has_mean_zero
from frugal_theory.testing.false_theorem import scaled
from frugal_theory.theorems.sgd import Sgd
from frugal_theory.verdicts.claims import Claims, fourth_moment
from frugal_theory.verdicts.verify import gather, settle_all
from tests.tolerances import ROUNDING

KNOWN = ("sgd", "signsgd", "none")
OTHERS = [name for name, kind in RULES.items() if "state_free" in kind.table.sides and name not in KNOWN]
SETS = {
    "drawn": {"algorithm.update_gap": 1},
    "held": {"algorithm.update_gap": 5},
    "fixed": {"algorithm.set": [0, 3]},
    "nothing": {"algorithm.density": 0.0},
    "basis": {"algorithm.subspace": "random"},
    "eigenvectors": {"algorithm.subspace": "eigen"},
    "in turn": {"algorithm.subspace": "blocks", "algorithm.order": "ascending", "problem.blocks": 4},
}


def test_there_are_other_rules():
    assert {"like_full", "split"} <= set(OTHERS)


@pytest.mark.parametrize("rule", OTHERS)
@pytest.mark.parametrize("sets", SETS)
def test_no_theorem_takes_another_state_free_rule_for_sgd(quadratic, rule, sets):
    """Fira's residual is scaled by what the set does, a split has a set of its own: neither is a multiple of the gradient."""
    for full in ({}, {"algorithm.state_full": "lion"}, {"algorithm.state_full": "adamw"}):
        made = quadratic({"algorithm.learning_rate": 0.01, "algorithm.state_free": rule, **SETS[sets], **full})
        setting = setting_of(made)
        assert [name for name, theorem in ft.THEOREMS.items() if theorem.covers(setting) is None] == []
    made = quadratic({"algorithm.learning_rate": 0.01, "algorithm.state_free": rule, **SETS[sets]})
    with pytest.raises(ExperimentError, match=rule):
        ft.exact(made)


def test_the_residual_of_fira_does_not_violate_what_is_true(quadratic):
    """It took x to a ‖g‖² of twice what the run-length theorem allows SGD, and four theorems were "violated"."""
    sets = {"algorithm.learning_rate": 0.02, "algorithm.density": 0.25, "algorithm.update_gap": 1, "simulation.steps": 50}
    made = quadratic({**sets, "algorithm.state_free": "like_full", "noise": {"kind": "none"}})
    names = ("run_length", "run_length_sharp", "short_runs", "certified")
    for verdict in ft.verify(made, theorems=[ft.THEOREMS[name] for name in names]):
        assert verdict.status == "not applicable"
        assert '"like_full", not "sgd"' in verdict.reason


NO_STEP_IS_FREE = {"algorithm.learning_rate": 0.01, "algorithm.density": 1.0, "simulation.steps": 5}


@pytest.fixture(scope="module")
def plain(quadratic):
    """The bounds by theorem, and the exact expectation, of SGD as the rule that never acts."""
    made = quadratic({**NO_STEP_IS_FREE, "algorithm.state_free": "sgd"})
    names = [name for name, theorem in ft.THEOREMS.items() if name != "certified" and theorem.covers(setting_of(made)) is None]
    assert "run_length" in names
    return {name: ft.bound(made, name) for name in names}, ft.exact(made).mean


@pytest.mark.parametrize("rule", OTHERS)
def test_a_state_free_rule_that_never_acts_does_not_matter(quadratic, plain, rule):
    other, (bounds, mean) = quadratic({**NO_STEP_IS_FREE, "algorithm.state_free": rule}), plain
    for name, bound in bounds.items():
        np.testing.assert_array_equal(ft.bound(other, name), bound)
    np.testing.assert_array_equal(ft.exact(other).mean, mean)


class Quiet(Gaussian):
    """Says σ, and adds nothing: P4 is an upper bound."""

    def sample(self, rng, problem, x, gradient):  # noqa: ARG002
        return dict(gradient)


class Bent(Quadratic):
    """Grows like |x| from 1 on, with the L of its quadratic."""

    def value(self, x):
        size = np.abs(x["x"])
        return np.where(size < 1, size**2 / 2, size - 0.5).sum(axis=-1)

    def gradient(self, x):
        return {"x": np.clip(x["x"], -1, 1)}


def of_own(problem, noise):
    sgd = Algorithm(density=0.0, state_full={"rule": "sgdm", "beta": 0.0}, state_free={"rule": "sgd"})
    return Instance.of_parts(problem, noise, sgd, learning_rate=0.5, steps=20, trials=32)


OWN = {
    "noise": (of_own(Quadratic(np.ones(1), start=[0.0]), Quiet(1.0)), 0.1),
    "problem": (of_own(Bent(np.ones(1), start=[9.0]), NoNoise()), 1.0),
}


@pytest.mark.parametrize("own", OWN)
def test_what_derives_from_a_noise_or_a_problem_has_no_exact_moments(own):
    """Exact evidence was that of Gaussian noise, of a quadratic: 0.95 where nothing moves, and what is true "violated"."""
    instance, factor = OWN[own]
    assert has_mean_zero(instance.noise) is (own == "problem")
    assert not decouples(instance)
    with pytest.raises(ValueError, match=r"Bent|Quiet"):
        expectations(instance)
    if own == "problem":
        assert at_most(instance, ["squared_gradient_norm"]) == {}
        assert not has_expectation(instance, GrowingNorm(0.1))
        assert ft.THEOREMS["eigen_aligned"].covers(instance.setting) == "the problem is not a quadratic"
    claims = Claims(instance, (scaled(ft.THEOREMS["sgd"], factor),), (), fourth_moment(instance))
    _, (verdict,) = settle_all([claims], [gather(claims)], 0.99)
    assert verdict.source == "monte_carlo"
    assert verdict.status != "violated"


class Lifted:
    """x²/2 + c: f(x¹) − c has the rounding of c."""

    shapes, smoothness = {"x": (1,)}, 1.0

    def __init__(self, c):
        self.infimum = c

    def start(self, rng):  # noqa: ARG002
        return {"x": np.array([1.1])}

    def value(self, x):
        return x["x"][..., 0] ** 2 / 2 + self.infimum

    def gradient(self, x):
        return {"x": 1.0 * x["x"]}


@pytest.mark.parametrize("c", [-1e6, 1e10, 1e14, 1e17])
def test_the_rounding_of_large_values_does_not_violate_a_bound_that_is_attained(c):
    """‖g¹‖² = 2LΔ on x²/2: f(x¹) = 10¹⁰ + 0.605 is rounded by more than the 10⁻⁹ that comparisons forgive."""
    instance, theorem = of_own(Lifted(c), NoNoise()), ft.THEOREMS["sgdm_sharp"]
    assert theorem.bound(instance.setting)[0] >= 1.1**2 * (1 - ROUNDING)
    claims = Claims(instance, (theorem,), (), fourth_moment(instance))
    _, (verdict,) = settle_all([claims], [gather(claims)], 0.99)
    assert verdict.status == "holds"


class Times(Sgd):
    """SGD's theorem in other units, under a metric of its own."""

    name, metric = "own", "own_norm"

    def __init__(self, factor):
        self.factor = factor

    def measure(self, setting):  # noqa: ARG002
        return lambda gradients, parts, runs, step: self.factor * squared_gradient_norm(gradients, parts, runs, step)

    def bound(self, setting):
        return self.factor * super().bound(setting)


@pytest.mark.parametrize("factors", [(1.0, 100.0), (100.0, 1.0)])
def test_theorems_of_one_name_are_judged_by_their_own_measures(factors):
    """The last of them measured for all: a true one was "violated"."""
    theorems = tuple(Times(factor) for factor in factors)
    claims = Claims(of_own(Quadratic(np.ones(1), start=[1.0]), Gaussian(0.1)), theorems)
    first, second = settle_all([claims], [gather(claims)], 0.99)[1]
    assert first.metric != second.metric
    assert first.measured / second.measured == pytest.approx(factors[0] / factors[1])
    assert first.bound / second.bound == pytest.approx(factors[0] / factors[1])
    assert {first.status, second.status} <= {"holds", "inconclusive"}
