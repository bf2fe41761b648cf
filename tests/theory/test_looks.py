"""Looks: trials are added until a verdict is settled or the budget is spent, and the error level survives that."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

import frugal_theory as ft
from frugal_theory.config.load import dump
from frugal_theory.evidence import betting
from frugal_theory.evidence.moments import Moments, pooled, sampled
from frugal_theory.results.files import make_folder
from frugal_theory.results.interrupted import load_cell, save_cell
from frugal_theory.testing import Changed, scaled
from frugal_theory.theorems import THEOREMS
from frugal_theory.verdicts.claims import claims_of
from frugal_theory.verdicts.judging import error_level, judge
from frugal_theory.verdicts.stopping import next_look, settle
from frugal_theory.verdicts.verdict import Verdict
from frugal_theory.verdicts.verify import gather_all, settle_all
from tests.tolerances import ROUNDING, STANDARD_ERRORS

METRIC = "squared_gradient_norm"


SGD = THEOREMS["sgd"]


def regression(trials=8, **more):
    """SGD on a logistic regression: no exact expectation comes to help."""
    return ft.parse(
        'name = "looks"\n[algorithm]\ndensity = 0.0\nlearning_rate = 0.05\nstate_full = "sgdm"\nstate_free = "sgd"\n'
        '[problem]\nkind = "logistic"\ndataset = "breast-cancer"\nl2 = 0.01\n[noise]\nkind = "minibatch"\nbatch_size = 1\n',
        "looks.toml",
        {"simulation": {"steps": 8, "trials": trials, **more}},
    )


@cache
def closest():
    """The share of the SGD bound that many trials of the regression measure, at the horizon where it is largest."""
    (claims,) = claims_of(regression(), [SGD])
    return float(np.max(ft.simulate(regression(4096)).mean / SGD.bound(claims.setting)))


def tight(margin):
    """The theorem whose bound is ``margin`` times what many trials of the regression measure, where it is closest."""
    return scaled(SGD, margin * closest())


def test_the_budget_is_sixteen_times_the_trials_unless_it_is_said(quadratic):
    assert quadratic({"simulation.trials": 10}).simulation.budget == 160
    assert quadratic({"simulation.trials": 10, "simulation.max_trials": 50}).simulation.budget == 50
    with pytest.raises(ft.ExperimentError, match="max_trials = 9 is less than"):
        quadratic({"simulation.trials": 10, "simulation.max_trials": 9})


def test_the_next_look_is_about_enough():
    open_for = lambda n: Verdict("sgd", "inconclusive", "", lower=0.0, trials_needed=n)  # noqa: E731
    assert next_look(1600, 100, [open_for(150)]) == 196, "15 % more than enough, in whole batches"
    assert next_look(1600, 100, [open_for(150), open_for(300)]) == 356
    assert next_look(1600, 100, [open_for(10**9)]) == 420, "at most four times as many"
    assert next_look(1600, 100, [open_for(None)]) == 228
    assert next_look(160, 100, [open_for(10**9)]) == 160
    assert next_look(160, 160, [open_for(10**9)]) is None
    assert next_look(160, 10, [Verdict("sgd", "holds", "", lower=0.0)]) is None
    assert next_look(160, 10, [Verdict("sgd", "inconclusive", "")]) is None, "no number of trials settles a heavy tail"


def test_pooled_evidence_is_that_of_all_trials():
    values = np.random.default_rng(0).exponential(size=(90, 4))
    one = sampled("monte_carlo", METRIC, Moments.of(values[:30]), 0.9)
    two = sampled("monte_carlo", METRIC, Moments.of(values[30:]), 0.9)
    whole = sampled("monte_carlo", METRIC, Moments.of(values), 0.9)
    both = pooled(one, two)
    assert both.trials == 90
    for name in ("mean", "lower", "upper", "deviation", "skewness"):
        np.testing.assert_allclose(getattr(both, name), getattr(whole, name), rtol=100 * ROUNDING)
    with pytest.raises(ValueError, match="average of trials"):
        pooled(replace(one, deviation=None), two)


def test_trials_that_are_added_are_new_ones():
    """Trials 0–31 and 32–63 make up the 64; the second half does not repeat the first."""
    ready = claims_of(regression(64), [SGD])
    (whole,) = gather_all(ready)
    (first,) = gather_all(ready, trials=[(0, 32)])
    (second,) = gather_all(ready, trials=[(32, 64)])
    assert not np.any(first[METRIC].mean[1:] == second[METRIC].mean[1:])
    np.testing.assert_allclose(pooled(first[METRIC], second[METRIC]).mean, whole[METRIC].mean, rtol=ROUNDING)


@pytest.mark.parametrize(("margin", "status"), [(2.0, "holds"), (0.8, "violated")])
@pytest.mark.ecosystem
def test_what_is_open_is_settled_by_more_trials(margin, status):
    experiment = regression(8, max_trials=8192)
    theorem = tight(margin)
    ready = claims_of(experiment, [theorem])
    (early,) = judge(ready, list(gather_all(ready)), 0.99)
    assert early.status == "inconclusive"
    assert early.trials == 8
    assert early.trials_needed > 8
    assert f"{early.trials_needed:,} trials would settle it" in early.reason
    (late,) = ft.verify(experiment, theorems=[theorem])
    assert late.status == status
    assert 8 < late.trials <= 8192
    assert late.trials_needed is None


def test_the_budget_is_kept():
    experiment = regression(8, max_trials=24)
    (verdict,) = ft.verify(experiment, theorems=[tight(1.2)])
    assert verdict.status == "inconclusive"
    assert verdict.trials == 24
    assert verdict.trials_needed > 24


def test_an_exact_expectation_needs_no_more_trials(quadratic):
    """On the quadratic the first look is left open, and the exact engine settles it at once."""
    experiment = quadratic({"algorithm.density": 0.0, "simulation.trials": 4})
    (study,) = claims_of(experiment, [SGD])
    exact = ft.exact(experiment).mean
    theorem = scaled(SGD, 1.001 * float(np.max(exact / study.theorems[0].bound(study.setting))))
    (verdict,) = ft.verify(experiment, theorems=[theorem])
    assert (verdict.status, verdict.source) == ("holds", "exact")


def test_an_interrupted_study_goes_on_where_it_was(tmp_path):
    """What a look added is kept; taking it up again gives the same verdict and the same evidence, bit for bit."""
    experiment = regression(8, max_trials=512)
    ready = claims_of(experiment, [tight(1.6)])
    start = list(gather_all(ready))
    make_folder(tmp_path)
    found, verdicts = settle_all(ready, start, 0.99, keep=lambda study, metrics: save_cell(tmp_path, study, metrics))
    kept = load_cell(tmp_path, ready[0])
    assert kept[METRIC].trials == verdicts[0].trials > 8
    again, same = settle_all(ready, [kept], 0.99)
    assert same == verdicts
    for name in ("mean", "lower", "upper", "deviation", "skewness"):
        np.testing.assert_array_equal(getattr(again[0][METRIC], name), getattr(found[0][METRIC], name))


def test_heavy_tails_leave_the_upper_end_open_and_get_no_trials():
    """Student noise with ν ≤ 4 has no fourth moment: no number of trials makes a claim hold, but one can be refuted."""
    noise = {"kind": "student-t", "degrees_of_freedom": 3.0, "sigma": 0.1}
    experiment = ft.parse(dump(regression(64)), "heavy.toml", {"noise": noise})
    (verdict,) = ft.verify(experiment, theorems=[scaled(SGD, 100.0)])
    assert (verdict.status, verdict.trials, verdict.upper) == ("inconclusive", 64, None)
    assert "fourth moment" in verdict.reason
    (refuted,) = ft.verify(experiment, theorems=[scaled(SGD, 1e-3)])
    assert refuted.status == "violated"
    (shape,) = ft.verify(experiment, theorems=[scaled(SGD, 0.01, explicit=False)])
    assert (shape.status, shape.implied_constant) == ("shape only", np.inf)
    assert "set it no limit" in shape.reason


def test_a_shape_takes_the_exact_expectation_where_trials_have_no_interval(quadratic):
    noise = {"kind": "student-t", "degrees_of_freedom": 5.0, "sigma": 0.1}
    (shape,) = ft.verify(quadratic({"noise": noise, "algorithm.density": 0.0}), theorems=[scaled(SGD, 1.0, explicit=False)])
    assert (shape.status, shape.source) == ("shape only", "exact")
    assert shape.implied_constant == pytest.approx(shape.tightness)


CONFIDENCE = 0.8
REPETITIONS = 150


def settled_share() -> float:
    """The share of runs of averages of χ²_1 that settle although the bound is their expectation: each of these is an error."""
    (study,) = claims_of(regression(8), [Changed(SGD, "a bound of 1", lambda setting: np.ones(setting.steps))])
    rng = np.random.default_rng(5)

    def trials(first, last):
        values = rng.standard_normal((last - first, 8)) ** 2
        averages = np.cumsum(values, axis=1) / np.arange(1, 9)
        return {METRIC: sampled("monte_carlo", METRIC, Moments.of(averages), 0.9)}

    def more(wanted):
        return [(number, trials(*part)) for number, part in wanted.items()]

    wrong = 0
    for _ in range(REPETITIONS):
        _, (verdict,) = settle([study], [trials(0, 8)], CONFIDENCE, more)
        wrong += verdict.status != "inconclusive"
    return wrong / REPETITIONS


@pytest.mark.ecosystem
def test_looking_again_keeps_the_error_level():
    """Five looks at eight horizons, stopped by the data: wrong at most as often as the confidence of the family allows."""
    level = 1 - CONFIDENCE
    assert settled_share() <= level + STANDARD_ERRORS * np.sqrt(level / REPETITIONS)


def test_the_bets_of_another_bound_err(monkeypatch):
    """The planted bug: stakes that win on average (twice the number) err far more often than the level allows."""
    honest = betting.growth_above
    monkeypatch.setattr(betting, "growth_above", lambda ratios: honest(2 * ratios))
    assert settled_share() > 0.3


@pytest.mark.parametrize("trials", [1, 2])
def test_one_or_two_trials_are_judged_like_any_number(trials):
    (verdict,) = ft.verify(regression(trials, max_trials=trials), theorems=[scaled(SGD, closest())])
    assert verdict.status == "inconclusive"
    assert verdict.trials == trials


def test_no_verdict_without_a_study():
    assert settle([], [], 0.99, lambda wanted: []) == ([], [])  # noqa: ARG005


@pytest.mark.parametrize(
    ("more", "times"),
    [
        ({"simulation.trials": 8, "simulation.max_trials": 32}, 1),  # looks cost nothing
        ({"simulation.steps": 4}, 1),  # nor do horizons
        ({"verify.theorems": ["sgd", "run_length"]}, 2),  # two comparisons
        ({"verify.theorems": ["sgd", "sgdm"]}, 1),  # one of which is not applicable
        ({"algorithm.density": 0.5, "problem.rotated": True, "algorithm.update_gap": 2, "verify.theorems": ["run_length"]}, 2),
    ],
    ids=["looks", "horizons", "theorems", "not applicable", "averages over sets are judged twice"],
)
def test_the_error_level_is_shared_by_all_that_is_looked_at(quadratic, more, times):
    keys = {
        "algorithm.density": 0.0,
        "algorithm.learning_rate": 0.01,
        "simulation.steps": 8,
        "simulation.trials": 8,
        "simulation.max_trials": 8,
        "verify.theorems": ["sgd"],
    }
    alone = error_level(claims_of(quadratic(keys)), 0.99)
    assert alone == pytest.approx(0.01, rel=ROUNDING)
    assert error_level(claims_of(quadratic(keys | more)), 0.99) == pytest.approx(alone / times, rel=ROUNDING)
