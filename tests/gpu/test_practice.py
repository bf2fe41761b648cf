"""Practice verdicts where the truth is known: a model with quadratic loss, all of whose constants are closed forms."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from functools import lru_cache

import numpy as np
import pytest
import quadratic_rows
from tolerances import ROUNDING

import frugal_theory as ft
from frugal_gpu.probes.averages import running
from frugal_theory.premises.premise import Premise
from frugal_theory.testing.false_theorem import scaled
from frugal_theory.theorems import THEOREMS
from frugal_theory.verdicts.practice import Measured, Observation, judge, measured_of
from frugal_theory.verdicts.status import PRACTICE, STATUSES

EIGENVALUES = (1.0, 0.5, 0.25, 0.1)
SIGMAS = (0.3, 0.1, 0.0, 0.2)
STEPS = 80

CASES = {
    "sgd": ({"density": 0.0, "state_full": "sgdm", "norms": "split"}, 0.2),
    "sgdm": ({"density": 1.0, "state_full": {"rule": "sgdm", "beta": 0.5}}, 0.05),
    "sgdm, large": ({"density": 1.0, "state_full": {"rule": "sgdm", "beta": 0.9}}, 1.5),
    "hybrid": ({"density": 0.5, "state_full": {"rule": "sgdm", "beta": 0.5}, "update_gap": 5}, 0.05),
    "too large": ({"density": 1.0, "state_full": {"rule": "sgdm", "beta": 0.5}}, 3.5),
    "signs": ({"density": 0.0, "state_full": "sgdm", "state_free": "signsgd"}, 0.02),
    "adam": ({"density": 1.0, "state_full": "adamw"}, 0.01),
}
"""Algorithm and α for L = 1."""

TRANSLATED = {"holds": "consistent", "violated": "contradicted", "not applicable": "not applicable"}


def experiment(case: str) -> ft.Experiment:
    """The experiment that theory verifies: the same f, noise and algorithm."""
    algorithm, rate = CASES[case]
    return ft.parse(
        {
            "name": "rows",
            "seed": 3,
            "algorithm": {"subspace": "coordinates", "state_free": "sgd", **algorithm, "learning_rate": rate},
            "problem": {"kind": "quadratic", "eigenvalues": list(EIGENVALUES), "start": "ones"},
            "noise": {"kind": "gaussian", "sigma": list(SIGMAS)},
            "simulation": {"steps": STEPS, "trials": 32},
        }
    )


@lru_cache
def trained(case: str, seed: int = 3, every: int = 5, size: int = 512) -> tuple[dict, list]:
    algorithm = experiment(case).algorithm.model_copy(update={"seed": seed})
    return quadratic_rows.train(algorithm, EIGENVALUES, SIGMAS, STEPS, every, seed, size=size)


WHEN = {"sgdm": (), "signs": (), "hybrid": pytest.mark.ecosystem}


@pytest.mark.parametrize("case", [pytest.param(case, marks=WHEN.get(case, pytest.mark.slow)) for case in CASES])
def test_the_practice_verdict_is_the_theory_verdict_of_the_same_experiment(case):
    """What theory finds with declared constants practice finds with measured ones, for every theorem of constants alone."""
    same = experiment(case)
    record, _ = trained(case)
    practice = {v.theorem: v for v in judge([measured_of(record, same.algorithm)])}
    assert set(practice) == set(THEOREMS)
    explicit = [t for t in THEOREMS.values() if t.explicit and t.metric == "squared_gradient_norm"]
    explicit += [THEOREMS[name] for name in ("run_length", "run_length_sharp", "signsgd", "signsgd_sharp")]
    beyond = {"eigen_aligned", "sgdm_linear", "svd_selection"}  # they need more of f than L, Δ and σ²
    compared = [t for t in dict.fromkeys(explicit) if t.name not in beyond]
    theory = ft.verify(same, theorems=compared)
    assert {v.theorem: TRANSLATED[v.status] for v in theory} == {t.name: practice[t.name].status for t in compared}
    for verdict in theory:
        found = practice[verdict.theorem]
        if verdict.status == "holds" and "signsgd" not in verdict.theorem:
            assert 0.7 < found.bound / ft.bound(same, verdict.theorem)[-1] < 1.6  # L is measured from below, Δ from above
            if math.isfinite(verdict.largest_step):
                assert 1 - ROUNDING <= found.largest_step / verdict.largest_step < 1.4


def test_constants_are_what_they_are_in_closed_form():
    record, lines = trained("sgdm")
    assert 0.8 <= record["smoothness"]["value"] <= 1.0 + ROUNDING  # ‖Λd‖/‖d‖ of a step d, at most λ_max = 1
    value, total = record["variance"], sum(s**2 for s in SIGMAS)
    assert value["average"]["lower"] <= total <= value["average"]["upper"]
    assert 0.9 * total <= value["total"] <= 2 * total  # the largest of four parts of four estimates with few degrees of freedom
    delta = quadratic_rows.gap(EIGENVALUES)
    assert delta <= record["gap"]["value"] <= 1.2 * delta
    observed = record["observed"]["squared_gradient_norm"]
    truth = np.mean([line["squared"] for line in lines])
    assert observed["lower"] <= truth <= observed["upper"]
    needed = record["descent"]["needed"]
    assert needed["largest"] <= 1.0 + 1e-6  # the inequality holds with L = 1, step by step
    assert record["law"] == {"law": "fixed", "share": {"head": 1.0, "tail": 1.0}}


@pytest.mark.ecosystem
def test_a_false_theorem_is_contradicted_in_theory_and_in_practice():
    same, true = experiment("sgdm"), THEOREMS["sgdm_sharp"]
    false = scaled(true, 0.1, name="false")
    assert ft.verify(same, theorems=[false])[0].status == "violated"
    runs = [measured_of(trained("sgdm", seed, 2)[0], same.algorithm) for seed in (3, 4, 5, 6)]
    (alone,), (joint,) = judge(runs[:1], [false]), judge(runs, [false])
    assert (alone.status, joint.status) == ("inconclusive", "contradicted")  # one run refutes only beyond bound/δ
    assert joint.trials == 4
    large = measured_of(trained("sgdm", 3, 5, 2048)[0], same.algorithm)  # less noise in what refuses
    assert judge([large], [scaled(true, 1e-4, name="very false")])[0].status == "contradicted"
    assert judge(runs, [true])[0].status == "consistent"


# --- judging


def measured(value: float, excess: float, allowance: float = 0.0, **changes) -> Measured:
    """SGD on one coordinate, L = Δ = σ² = 1, over four steps of α = ½: the bound is (1/(4·½) + ¼)/(1 − ¼) = 1."""
    same = experiment("sgd").algorithm.model_copy(update={"learning_rate": 0.5})
    record, _ = trained("sgd")
    base = measured_of({**record, "learning_rate": 0.5}, same)
    constants = dataclasses.replace(
        base.constants,
        smoothness=dataclasses.replace(base.constants.smoothness, value=1.0),
        gap=dataclasses.replace(base.constants.gap, value=1.0),
        variance=dataclasses.replace(base.constants.variance, value={"head": np.ones(1), "tail": np.zeros(3)}),
    )
    seen = {"squared_gradient_norm": Observation(value, 0.9 * value, 1.1 * value, excess, allowance)}
    return dataclasses.replace(base, **{"constants": constants, "steps": 4, "observed": seen, **changes})


@pytest.fixture(scope="module")
def sgd():
    return THEOREMS["sgd"]


def test_one_run_refutes_by_markov_alone(sgd):
    """At 99 %, half of which is for the constants: above 1/.005 times the bound, with the noise that the excess contains."""
    for excess, status in ((199.0, "inconclusive"), (201.0, "contradicted")):
        (found,) = judge([measured(5.0, excess)], [sgd])
        assert found.bound == pytest.approx(1.0, rel=ROUNDING)
        assert found.refuted_above == pytest.approx(200.0, rel=ROUNDING)
        assert found.status == status
    (allowed,) = judge([measured(5.0, 201.0, allowance=0.5)], [sgd])
    assert (allowed.status, allowed.refuted_above) == ("inconclusive", pytest.approx(300.0, rel=ROUNDING))


def test_runs_bet_against_the_bound_and_a_few_are_enough(sgd):
    assert judge([measured(20.0, 20.0)], [sgd])[0].status == "inconclusive"
    assert judge([measured(20.0, 20.0)] * 4, [sgd])[0].status == "contradicted"
    assert judge([measured(0.5, 0.5)] * 4, [sgd])[0].status == "consistent"


def test_consistent_is_what_lies_under_the_bound_with_its_interval(sgd):
    for value, status in ((0.9, "consistent"), (0.92, "inconclusive")):
        (found,) = judge([measured(value, value)], [sgd])
        assert found.status == status
        assert found.margin == pytest.approx(1 - value, rel=ROUNDING)
    assert found.halved == pytest.approx({"smoothness": 5 / 7, "gap": 2 / 3, "variance": 5 / 6}, rel=ROUNDING)
    assert found.dominant == "Δ"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"obstacle": "the learning rate varies"}, "The learning rate varies."),
        ({"premises": (Premise("P5", "independent", False, "drawn without replacement"),)}, "Premise P5 fails: drawn without"),
        ({"observed": {}}, "is not measured in training"),
    ],
)
def test_what_fails_is_not_applicable_with_its_reason(sgd, changes, reason):
    (found,) = judge([measured(0.5, 0.5, **changes)], [sgd])
    assert found.status == "not applicable"
    assert reason in found.reason


def test_a_step_that_the_measured_smoothness_does_not_admit_is_not_applicable(sgd):
    run = measured(0.5, 0.5)
    large = dataclasses.replace(run.constants.smoothness, value=4.1)
    (found,) = judge([dataclasses.replace(run, constants=dataclasses.replace(run.constants, smoothness=large))], [sgd])
    assert found.status == "not applicable"
    assert found.reason.startswith("The learning rate 0.5 is not admissible: with the measured L, 4.1, the theorem admits")
    assert found.largest_step == pytest.approx(2 / 4.1, rel=ROUNDING)


def test_runs_of_other_settings_are_not_judged_together(sgd):
    with pytest.raises(ValueError, match="differ in their seeds alone"):
        judge([measured(0.5, 0.5), measured(0.5, 0.5, steps=5)], [sgd])
    with pytest.raises(ValueError, match="no run"):
        judge([], [sgd])


def test_statuses_of_practice_are_statuses():
    assert set(PRACTICE) <= set(STATUSES)


def test_records_are_json_and_come_back():
    record, _ = trained("hybrid")
    back = measured_of(json.loads(json.dumps(record)), experiment("hybrid").algorithm)
    assert back.law.runs is not None
    assert back.law.runs.law == "redrawn"
    assert [v.record() for v in judge([back])] == [
        v.record() for v in judge([measured_of(record, experiment("hybrid").algorithm)])
    ]


# --- averages over random steps


def test_the_average_over_random_steps_is_unbiased_by_enumeration():
    """Every draw of one step in each interval: the mean of the estimates is the average over all steps."""
    values = np.array([9.0, 4.0, 3.0, 5.0, 1.0, 2.0])
    intervals = [(0,), (1, 2, 3), (4, 5)]
    found = [
        running([len(i) for i in intervals], [values[k] for k in draw], 0.9)[-1].value for draw in itertools.product(*intervals)
    ]
    assert np.mean(found) == pytest.approx(values.mean(), rel=ROUNDING)


def test_the_interval_covers_and_its_variance_is_not_too_small():
    rng = np.random.default_rng(0)
    values = np.concatenate([[20.0], np.linspace(10, 1, 120) + rng.exponential(1.0, 120)])
    edges = np.arange(1, 121, 12)
    covered = []
    for _ in range(400):
        draws = [values[0], *(values[begin + rng.integers(12)] for begin in edges)]
        one = running([1] + [12] * len(edges), draws, 0.9)[-1]
        covered.append(one.lower <= values.mean() <= one.upper)
    assert np.mean(covered) >= 0.9 - 3 * math.sqrt(0.09 / 400)


def test_a_single_interval_sets_no_limit():
    (one,) = running([5], [1.0], 0.9)
    assert (one.lower, one.upper) == (-math.inf, math.inf)
