"""The self-test catches what it plants, and an engine or theorem that is left alone raises nothing."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import stdtrit
from typer.testing import CliRunner

from frugal_theory.algorithm.run_lengths import RunLengths
from frugal_theory.algorithm.step import step
from frugal_theory.certificates.program import available
from frugal_theory.commands.main import app
from frugal_theory.evidence import betting
from frugal_theory.evidence.horizons import judged
from frugal_theory.evidence.monte_carlo import simulation as monte_carlo
from frugal_theory.instance import instance_of
from frugal_theory.premises import PREMISES
from frugal_theory.premises.grounds import Grounds
from frugal_theory.problems.noise import Gaussian
from frugal_theory.studies.self_test import Sheet, engines, run, self_test, traps
from frugal_theory.studies.self_test.stages import STAGES, build
from frugal_theory.studies.self_test.theorems import PLANTS, TIGHT
from frugal_theory.theorems import THEOREMS
from frugal_theory.verdicts import claims as claiming
from frugal_theory.verdicts import judging
from frugal_theory.verdicts.claims import Claims

REDUCED = 0.3
"""Of the default number of trials: what is planted is caught even so; a fifth would miss some."""

FEWER = 40
"""Runs of three trials: five of them agree on what is above the bound."""


pytestmark = pytest.mark.ecosystem


@pytest.fixture(scope="module")
def sheet() -> Sheet:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(traps, "AGREEMENTS", FEWER)
        return self_test(budget=REDUCED)


def test_every_planted_fault_is_caught_and_nothing_true_is(sheet):
    assert [f for f in sheet.planted if not f.alarm] == []
    assert [f for f in sheet.true if f.alarm] == []
    assert sheet.passed
    assert sheet.sentence.startswith(f"{len(sheet.planted)} of {len(sheet.planted)} planted faults caught (100 %), 0 of")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_the_default_budget_does_not_depend_on_the_seed(seed):
    assert self_test(seed=seed).passed


def test_what_is_planted_covers_the_theorems_and_the_engine(sheet):
    assert {name for _, name in TIGHT} == set(THEOREMS) - (set() if available() else {"certified"}), (
        "a new theorem needs a line in frugal_theory.studies.self_test.theorems.TIGHT"
    )
    kinds = {finding.what for finding in sheet.planted}
    assert {plant.what for plant in PLANTS} < kinds
    assert {fault.what for fault in engines.FAULTS} < kinds
    assert {trap.name for trap in traps.TRAPS} < {finding.stage for finding in sheet.findings}
    for words in ("0.9 of its tight", "σ² term", "α²", "L halved", "W dropped", "not reset", "1−β", "sign", "late", "noise"):
        assert any(words in kind for kind in kinds), words


def test_false_theorems_are_false_by_the_exact_engine():
    """Not only by Monte Carlo: on its stage, every planted bound is below the exact expectation at some horizon."""
    for plant in PLANTS:
        stage = STAGES[plant.stage]
        false = plant.theorem_with_it()
        study = Claims(instance_of(build(stage, 1.0, 0)), (THEOREMS[plant.theorem], false))
        metrics = stage.expectation(replace(study, theorems=(THEOREMS[plant.theorem],)))
        exceeded = metrics[false.metric] > false.bound(study.setting)
        assert np.any(exceeded), (plant.stage, plant.theorem, plant.what)
        true = THEOREMS[plant.theorem]
        assert np.all(metrics[true.metric] <= true.bound(study.setting) * (1 + run.ROUNDING))


@pytest.mark.parametrize("fault", engines.FAULTS, ids=lambda fault: fault.what)
def test_a_fault_is_gone_after_it_was_planted(fault):
    before = getattr(fault.owner, fault.name)

    def fail():
        with fault.planted():
            assert getattr(fault.owner, fault.name) is not before
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert getattr(fault.owner, fault.name) is before
    assert monte_carlo.step is step
    assert Gaussian.sample is engines._draw


def part(name: str, budget: float = 1.0, confidence: float = 0.99):
    parts = run.parts_of(budget=budget, seed=0, confidence=confidence, jobs=1, cluster=None, progress=None)
    return Sheet(tuple(parts[name]()), confidence)


def test_an_engine_that_is_broken_for_good_raises_alarms_on_the_true_ones(monkeypatch):
    """The self-test of the self-test: with a fault outside its control it does not pass."""
    monkeypatch.setattr(monte_carlo, "step", engines._momentum_held)
    broken = part("engines", 0.2)
    assert not broken.passed
    assert any(finding.alarm for finding in broken.true)


def test_too_small_a_budget_is_said_to_miss():
    few = part("engines", 1e-6)
    assert not few.passed
    assert any(not finding.alarm for finding in few.planted)
    assert "100 %" not in few.sentence
    assert not any(finding.alarm for finding in few.true)


# --- judges that can be fooled ----------------------------------------------------------------------------------------


def by_deviation(self, values):
    """A t interval around the average of the trials, at every horizon."""
    at = judged(self.claims.setting.steps) - 1
    bound, n = self.bound[at] * (1 + 1e-9), len(values)
    reach = stdtrit(n - 1, 1 - self.level / len(at)) * values.std(axis=0, ddof=1) / np.sqrt(n)
    share = values.mean(axis=0) / bound
    if np.any(values.mean(axis=0) - reach > bound):
        return self._violated(int(at[np.argmax(share)]))
    if np.all(values.mean(axis=0) + reach <= bound):
        return self._holds(int(at[np.argmax(share)]), "")
    return replace(self._shown(int(at[np.argmax(share)])), status="inconclusive")


def squares_of_trials(monkeypatch):
    true = betting.below
    monkeypatch.setattr(betting, "below", lambda values, bound, _: true(values, bound, np.mean(values**2, axis=0)))


def all_uncorrelated(monkeypatch):
    true = RunLengths.noise
    monkeypatch.setattr(RunLengths, "noise", lambda self, variance, steps, _=True: true(self, variance, steps, True))


def trusting(*names):
    def plant(monkeypatch):
        for name in names:
            believed = replace(PREMISES[name], test=lambda test, _: test.found(True, "it says so"), along=None)
            monkeypatch.setitem(PREMISES._entries, name, believed)

    return plant


def finite_or_not(self, _):
    return replace(self.blank, status="holds", reason="What is infinite is above everything.", measured=1.0)


BROKEN = {
    "theorems with the trace of uncorrelated noise": (all_uncorrelated, {"correlated noise in a basis": {False}}),
    "the deviation of the trials is trusted": (
        lambda patch: patch.setattr(judging._Claim, "_wagered", by_deviation),
        {"few trials of discrete noise": {False}, "rare joint sets": {True}, "rare jumps": {True}},
    ),
    "the square mean of the trials is trusted": (squares_of_trials, {"rare joint sets": {True}, "rare jumps": {True}}),
    "metrics are looked up by their name": (
        lambda patch: patch.setattr(Claims, "key", lambda self, theorem: theorem.metric),  # noqa: ARG005
        {"two measures, one name": {True, False}},
    ),
    "noise has no rare jumps": (
        lambda patch: patch.setattr(claiming, "fourth_moment", lambda _: claiming.FourthMoment(1.0)),
        {"rare jumps": {True}},
    ),
    "words are taken on trust": (
        trusting("symmetric_unimodal", "coordinate_smoothness", "P4"),
        {"words that are not true": {True}},
    ),
    "premises are tested at the start alone": (
        lambda patch: patch.setattr(Grounds, "path", None),
        {"a bias in a region": {True}},
    ),
    "an infinite bound holds": (lambda patch: patch.setattr(judging._Claim, "_overflow", finite_or_not), {"overflow": {True}}),
}
"""What is planted in the judge, and the traps that it then falls into: on the false side or on the true one."""


@pytest.mark.parametrize("fault", BROKEN)
def test_a_judge_that_can_be_fooled_is_found_out(monkeypatch, fault):
    plant, expected = BROKEN[fault]
    monkeypatch.setattr(traps, "AGREEMENTS", FEWER)
    plant(monkeypatch)
    for trap in traps.TRAPS:
        if trap.name in expected:
            findings = traps.sprung(trap.name, trap.trials(0), 5e-5)
            assert {finding.false for finding in findings if not finding.right} == expected[trap.name], findings


def test_every_trap_has_caught_a_judge():
    assert {name for _, expected in BROKEN.values() for name in expected} == {trap.name for trap in traps.TRAPS}


def test_the_command(monkeypatch, sheet, tmp_path):
    def found(findings):
        parts = {"theorems": lambda: list(findings[:3]), "engines": lambda: list(findings[3:])}
        monkeypatch.setattr("frugal_theory.studies.self_test.study.parts_of", lambda **_: parts)
        return CliRunner().invoke(app, ["self-test", "--out", str(tmp_path)])

    result = found(sheet.findings)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == sheet.sentence
    result = found((replace(sheet.planted[0], alarm=False), *sheet.findings[1:]))
    assert result.exit_code == 1
    assert "✗" in result.stdout
    assert json.loads((tmp_path / "study.json").read_text())["failed"] is True


def test_a_budget_of_nothing_is_refused():
    with pytest.raises(ValueError, match="> 0"):
        self_test(budget=0.0)
