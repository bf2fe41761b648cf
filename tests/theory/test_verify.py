"""Verdicts: true theorems hold, false ones are caught, and what does not apply is never said to hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import frugal_theory as ft
from frugal_theory.evidence.evidence import Evidence
from frugal_theory.testing import scaled
from frugal_theory.theorems import THEOREMS
from frugal_theory.theorems.run_length import RunLength
from frugal_theory.theorems.sgd import Sgd
from frugal_theory.theorems.theorem import published_step
from frugal_theory.verdicts.claims import claims_of
from frugal_theory.verdicts.judging import error_level, judge
from frugal_theory.verdicts.verify import gather
from tests.tolerances import ROUNDING


def by_name(verdicts):
    return {verdict.theorem: verdict for verdict in verdicts}


def test_the_contract_of_a_verdict(quadratic):
    verdict = by_name(ft.verify(quadratic({"algorithm.learning_rate": 0.005})))["run_length"]
    assert verdict.status == "holds"
    assert verdict.source == "exact", "on a quadratic nothing is left to trials"
    assert verdict.measured <= verdict.upper <= verdict.bound
    assert verdict.lower <= verdict.measured
    assert verdict.margin == pytest.approx(verdict.bound - verdict.measured)
    assert verdict.tightness == pytest.approx(verdict.measured / verdict.bound)
    assert verdict.reason.endswith(".")
    assert [premise.name for premise in verdict.premises] == ["P1", "P2", "P3", "P4", "P5", "P6"]
    assert all(premise.held and premise.how for premise in verdict.premises)
    record = verdict.record()
    assert {"theorem", "status", "measured", "bound", "margin", "reason", "cell"} <= set(record)


def test_every_explicit_theorem_holds_where_it_applies(quadratic):
    for density in (0.0, 0.3, 1.0):
        for gap in (1, 7):
            rate = {"fraction_of_admissible": 0.9}
            verdicts = ft.verify(
                quadratic({"algorithm.density": density, "algorithm.update_gap": gap, "algorithm.learning_rate": rate})
            )
            statuses = {v.theorem: v.status for v in verdicts}
            assert statuses["run_length"] == "holds"
            assert statuses["theorem_5_2"] == "shape only"
            assert statuses["sgd"] == ("holds" if density == 0 else "not applicable")
            assert statuses["sgdm"] == ("holds" if density == 1 else "not applicable")


@pytest.mark.parametrize("subspace", ["blocks", "randk", "random", "eigen"])
def test_the_run_length_theorem_holds_in_other_subspaces(quadratic, subspace):
    rate = {"fraction_of_admissible": 0.9}
    overrides = {"algorithm.subspace": subspace, "algorithm.learning_rate": rate, "problem.rotated": True}
    assert by_name(ft.verify(quadratic(overrides)))["run_length"].status == "holds"


@pytest.mark.parametrize("subspace", ["columns", "rows", "randk", "random", "blocks"])
def test_the_run_length_theorem_holds_on_matrices(quadratic, subspace):
    overrides = {"problem": {"kind": "matrix"}, "algorithm.subspace": subspace, "algorithm.update_gap": 3}
    overrides["algorithm.learning_rate"] = {"fraction_of_admissible": 0.9}
    assert by_name(ft.verify(quadratic(overrides)))["run_length"].status == "holds"


def test_real_data_with_real_minibatch_noise(quadratic):
    overrides = {"problem": {"kind": "logistic"}, "noise": {"kind": "minibatch", "batch_size": 8}}
    overrides["algorithm.learning_rate"] = {"fraction_of_admissible": 0.5}
    verdict = by_name(ft.verify(quadratic(overrides)))["run_length"]
    assert verdict.status == "holds"
    assert 0 < verdict.tightness < 1


TIGHT = {
    "algorithm.density": 0.0,
    "algorithm.learning_rate": 0.5,
    "problem": {"kind": "quadratic", "eigenvalues": [1.0] * 12, "start": [0.0] * 12},
    "noise.sigma": 1.0,
    "simulation": {"steps": 30, "trials": 2400},
}


def test_theorems_are_given_by_name_too(quadratic):
    few = quadratic({"simulation.steps": 4, "simulation.trials": 8})
    assert [verdict.theorem for verdict in ft.verify(few, theorems=["sgdm", RunLength()])] == ["sgdm", "run_length"]
    with pytest.raises(ft.ExperimentError, match='"sgdn", which does not exist'):
        ft.verify(few, theorems=["sgdn"])


def test_a_bound_below_its_tight_value_is_violated(quadratic):
    """On λ = L, from the optimum, the SGD bound is attained in stationarity: 0.9 of it is false."""
    true, false = ft.verify(quadratic(TIGHT), theorems=[Sgd(), scaled(Sgd(), 0.9)])
    assert true.status == "holds"
    assert true.tightness > 0.93
    assert false.status == "violated"
    assert false.lower > false.bound
    assert "above the bound" in false.reason


NONCONVEX = {"problem": {"kind": "nonconvex"}, "algorithm.density": 0.0, "algorithm.learning_rate": 0.5, "noise.sigma": 1.0}


def test_a_bound_within_the_interval_is_inconclusive(quadratic):
    few = quadratic(NONCONVEX | {"simulation": {"steps": 30, "trials": 4}})
    measured = ft.verify(few, theorems=[Sgd()])[0].tightness
    (verdict,) = ft.verify(few, theorems=[scaled(Sgd(), measured)])
    assert verdict.status == "inconclusive"
    assert "trials would settle it" in verdict.reason or "too close" in verdict.reason


def test_what_monte_carlo_leaves_open_is_settled_by_the_exact_expectation(quadratic):
    """Four trials cannot tell 98 % from 102 % of the true ratio; on a quadratic the exact expectation can."""
    few = quadratic(TIGHT | {"simulation": {"steps": 30, "trials": 4}})
    evidence = ft.exact(few)
    ratio = float(np.max(evidence.mean / ft.bound(few, "sgd")))
    above, below = ft.verify(few, theorems=[scaled(Sgd(), 1.02 * ratio), scaled(Sgd(), 0.98 * ratio)])
    assert (above.status, above.source) == ("holds", "exact")
    assert (below.status, below.source) == ("violated", "exact")
    assert above.lower == above.measured == above.upper


def test_premises_that_fail_are_named(quadratic):
    heavy = by_name(
        ft.verify(quadratic({"noise": {"kind": "student-t", "degrees_of_freedom": 1.5}, "algorithm.learning_rate": 0.001}))
    )
    assert heavy["run_length"].status == "not applicable"
    assert "P4" in heavy["run_length"].reason
    svd = by_name(
        ft.verify(quadratic({"problem": {"kind": "matrix"}, "algorithm.subspace": "svd", "algorithm.learning_rate": 0.001}))
    )
    assert {v.status for v in svd.values()} == {"not applicable"}
    assert "P6" in svd["run_length"].reason


def test_a_declared_smoothness_that_is_too_small_is_caught(quadratic):
    (study,) = claims_of(quadratic({"algorithm.learning_rate": 0.001}))
    from frugal_theory.premises import check_premises

    halved = study.setting.having(smoothness=study.setting.smoothness / 2)
    premise = check_premises(replace(study.instance, setting=halved))[0]
    assert (premise.name, premise.held) == ("P1", False)
    assert "above the declared L" in premise.how


def test_a_step_that_is_too_large_is_not_applicable_with_the_largest_one(quadratic):
    verdicts = by_name(ft.verify(quadratic({"algorithm.learning_rate": 0.5})))
    verdict = verdicts["run_length"]
    assert verdict.status == "not applicable"
    assert verdict.largest_step == pytest.approx(1 / (0.5 + np.sqrt(2) * 9))
    assert f"{verdict.largest_step:.4g}" in verdict.reason
    assert verdicts["theorem_5_2"].status == "not applicable"


def test_the_largest_step_itself(quadratic):
    """Liu et al. admit it, the run-length theorem does not."""
    closed = published_step(1.0, 0.9)
    verdicts = by_name(ft.verify(quadratic({"algorithm.density": 1.0, "algorithm.learning_rate": closed})))
    assert verdicts["sgdm"].status == "holds"
    opened = float(1 / (0.5 + np.sqrt(2) * 0.9 / (1 - 0.9)))
    verdicts = by_name(ft.verify(quadratic({"algorithm.density": 1.0, "algorithm.learning_rate": opened})))
    assert verdicts["run_length"].status == "not applicable"


def test_a_fraction_is_of_the_smallest_admissible_step(quadratic):
    rate = {"fraction_of_admissible": 0.5}
    alpha = ft.resolved(quadratic({"algorithm.learning_rate": rate})).algorithm.learning_rate
    assert alpha == pytest.approx(0.5 * 0.1 / (4 - 0.9 + 0.81))
    with pytest.raises(ft.ExperimentError, match="no theorem speaks"):
        ft.resolved(quadratic({"algorithm.learning_rate": rate, "algorithm.state_full": "adamw"}))


def test_an_unknown_theorem_is_refused(quadratic):
    with pytest.raises(ft.ExperimentError, match="run_length"):
        ft.verify(quadratic({"verify.theorems": ["runlength"]}))


def test_without_a_problem_there_is_nothing_to_verify():
    with pytest.raises(ft.ExperimentError, match="problem"):
        ft.verify(ft.parse('name = "empty"'))


def test_the_cells_of_a_sweep_share_one_error_level(quadratic):
    """More cells mean wider intervals in each: the family is what has the confidence."""
    rate = {"algorithm.learning_rate": 0.5, "algorithm.density": 0.0, "problem": {"kind": "nonconvex"}, "noise.sigma": 1.0}
    single = claims_of(quadratic(rate), [Sgd()])
    swept = claims_of(quadratic({**rate, "sweep": {"algorithm.update_gap": list(range(10, 30))}}), [Sgd()])
    (evidence,) = [gather(single[0])]
    alone = by_name(judge(single, [evidence], 0.99))["sgd"]
    together = judge(swept, [evidence] * 20, 0.99)[0]
    assert together.upper > alone.upper
    assert together.lower < alone.lower


def test_evidence_without_uncertainty_is_compared_as_it_is(quadratic):
    experiment = quadratic({"noise": {"kind": "none"}, "algorithm.density": 0.0, "algorithm.learning_rate": 0.9})
    (verdict,) = ft.verify(experiment, theorems=[Sgd()])
    assert verdict.status == "holds"
    assert verdict.lower == verdict.measured == verdict.upper


def test_a_start_at_the_optimum_is_no_hundred_percent_of_a_bound_of_zero(quadratic):
    """0 ≤ 0 says nothing; the verdict speaks of the horizon where something was measured."""

    class FromNothing(Sgd):
        def bound(self, setting):
            return (1 - 1 / np.arange(1.0, setting.steps + 1)) * 1e-6

    start = {"algorithm.density": 0.0, "problem.start": [0.0] * 12, "problem.blocks": 1}
    (verdict,) = ft.verify(quadratic(start), theorems=[FromNothing()])
    assert verdict.status == "violated"
    assert verdict.step > 1
    assert np.isfinite(verdict.tightness)
    (verdict,) = ft.verify(quadratic({**start, "noise": {"kind": "none"}}), theorems=[FromNothing()])
    assert (verdict.status, verdict.tightness) == ("holds", 0.0)


def test_theorem_5_2_reports_the_constant_it_implies(quadratic):
    verdict = by_name(ft.verify(quadratic({"algorithm.learning_rate": 0.005})))["theorem_5_2"]
    assert verdict.status == "shape only"
    assert verdict.implied_constant >= verdict.tightness * (1 - ROUNDING)
    assert "O(·)" in verdict.reason


def test_divergence_outside_the_theorems_is_not_a_violation(quadratic):
    verdicts = ft.verify(quadratic({"algorithm.learning_rate": 50.0}))
    assert {v.status for v in verdicts} == {"not applicable"}


def test_your_own_theorem_needs_no_registration(quadratic):
    class Mine(RunLength):
        name = "mine"

    assert by_name(ft.verify(quadratic({"algorithm.learning_rate": 0.005}), theorems=[Mine()]))["mine"].status == "holds"
    assert "mine" not in THEOREMS


def test_noise_without_a_fourth_moment_never_holds_by_monte_carlo(quadratic):
    """Student-t with 3 degrees of freedom: P4 is met, but nothing bounds the square mean of a trial."""
    noise = {"kind": "student-t", "degrees_of_freedom": 3.0}
    base = {"noise": noise, "algorithm.learning_rate": 0.005}
    open_ = by_name(ft.verify(quadratic(base | {"problem": {"kind": "nonconvex"}})))["run_length"]
    assert open_.status == "inconclusive"
    assert "fourth moment" in open_.reason
    exact = by_name(ft.verify(quadratic(base)))["run_length"]
    assert (exact.status, exact.source) == ("holds", "exact"), "on a quadratic the expectation needs two moments only"
    noise["degrees_of_freedom"] = 7.0
    sampled = by_name(ft.verify(quadratic(base | {"problem": {"kind": "nonconvex"}})))["run_length"]
    assert (sampled.status, sampled.source) == ("holds", "monte_carlo")


def test_bound_and_evidence_speak_of_one_run(quadratic):
    """A fraction of the admissible step is the same number for simulate, bound and verify, whatever is asked for."""
    experiment = quadratic({"algorithm.learning_rate": {"fraction_of_admissible": 0.5}})
    verdict = by_name(ft.verify(experiment))["run_length"]
    weighted = ft.exact(experiment, metric="weighted_squared_gradient_norm")
    assert ft.bound(experiment, "run_length")[verdict.step - 1] == verdict.bound
    assert weighted.mean[verdict.step - 1] == verdict.measured
    (alone,) = ft.verify(experiment, theorems=[RunLength()])
    assert alone.learning_rate == verdict.learning_rate == ft.resolved(experiment).algorithm.learning_rate
    with pytest.raises(ValueError, match="not applicable"):
        ft.bound(experiment, "sgd")
    with pytest.raises(ft.ExperimentError, match="does not exist"):
        ft.bound(experiment, "sgdx")


@pytest.mark.ecosystem
def test_trials_that_all_drew_the_same_set_settle_nothing(quadratic, monkeypatch):
    """All that is random is whether the one coordinate is ever in the set: three trials are alike with probability 1/4, and
    then look sure, above the truth or below it."""
    monkeypatch.setattr("frugal_theory.verdicts.judging._exact", lambda *_: None)
    monkeypatch.setattr("frugal_theory.verdicts.claims.decouples", lambda _: False)
    monkeypatch.setattr("frugal_theory.verdicts.claims.at_most", lambda *_: {})
    full = {"rule": "sgdm", "beta": 0.9}
    coin = {"learning_rate": 0.05, "density": 0.5, "update_gap": 1000, "state_full": full, "state_free": "sgd"}
    overrides = {
        "algorithm": {**coin, "subspace": "coordinates", "sampling": "independent"},
        "problem": {"kind": "quadratic", "eigenvalues": [1.0], "start": [1.0]},
        "noise": {"kind": "gaussian", "sigma": 1e-5},
        "simulation": {"steps": 50, "trials": 3, "max_trials": 3},
    }
    expected = ft.exact(quadratic(overrides)).mean

    class Coin(RunLength):
        metric = "squared_gradient_norm"

        def bound(self, setting):
            return expected * np.where(setting.horizons >= 5, self.factor, 2.0)

    for seed in range(8):
        for factor, false in ((0.9, "holds"), (1.05, "violated")):
            theorem = Coin()
            theorem.factor = factor
            (verdict,) = ft.verify(quadratic({**overrides, "seed": seed}), theorems=[theorem])
            assert verdict.source == "monte_carlo"
            assert verdict.status != false


def test_averages_over_sets_have_a_share_of_the_error_level(quadratic):
    """A rotated quadratic with sets that are held: what Monte Carlo leaves open gets a second interval."""
    rotated = {"algorithm.learning_rate": 0.005, "problem.rotated": True}
    levels = [error_level(claims_of(quadratic(rotated | {"algorithm.update_gap": gap})), 0.99) for gap in (1, 5)]
    assert levels[1] == pytest.approx(levels[0] / 2)


def test_what_diverged_is_what_the_reason_names(quadratic):
    """k is the first horizon that overflowed, and nothing is said of the theorem."""
    k = np.arange(1, 61)
    mean = np.where(k < 30, 0.01, np.inf)
    few = {
        name: Evidence("exact", k, mean, mean, mean, name)
        for name in ("squared_gradient_norm", "weighted_squared_gradient_norm")
    }
    verdict = by_name(judge(claims_of(quadratic({"algorithm.learning_rate": 0.005})), [few], 0.99))["run_length"]
    assert verdict.status == "inconclusive"
    assert verdict.step == 30
    assert "not a finite number" in verdict.reason
