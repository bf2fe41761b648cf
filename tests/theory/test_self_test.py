"""The self-test catches what it plants, and an engine or theorem that is left alone raises nothing."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from frugal_theory.algorithm.step import step
from frugal_theory.commands.main import app
from frugal_theory.evidence.monte_carlo import simulation as monte_carlo
from frugal_theory.problems.noise import Gaussian
from frugal_theory.studies.self_test import Sheet, engines, run, self_test
from frugal_theory.studies.self_test.stages import STAGES, build
from frugal_theory.studies.self_test.theorems import PLANTS, TIGHT
from frugal_theory.theorems import THEOREMS
from frugal_theory.verdicts.claims import claims_of

REDUCED = 0.3
"""Of the default number of trials: what is planted is off by more than ten standard errors even so."""


@pytest.fixture(scope="module")
def sheet() -> Sheet:
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
    assert {name for _, name in TIGHT} == set(THEOREMS), (
        "a new theorem needs a line in frugal_theory.studies.self_test.theorems.TIGHT"
    )
    kinds = {finding.what for finding in sheet.planted}
    assert {plant.what for plant in PLANTS} < kinds
    assert {fault.what for fault in engines.FAULTS} < kinds
    for words in ("0.9 of its tight", "σ² term", "α²", "L halved", "W dropped", "not reset", "1−β", "sign", "late", "noise"):
        assert any(words in kind for kind in kinds), words


def test_false_theorems_are_false_by_the_exact_engine():
    """Not only by Monte Carlo: on its stage, every planted bound is below the exact expectation at some horizon."""
    for plant in PLANTS:
        stage = STAGES[plant.stage]
        false = plant.theorem_with_it()
        (study,) = claims_of(build(stage, 1.0, 0), [THEOREMS[plant.theorem], false])
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


def test_an_engine_that_is_broken_for_good_raises_alarms_on_the_true_ones(monkeypatch):
    """The self-test of the self-test: with a fault outside its control it does not pass."""
    monkeypatch.setattr(monte_carlo, "step", engines._momentum_held)
    broken = self_test(budget=0.1)
    assert not broken.passed
    assert any(finding.alarm for finding in broken.true if finding.subject == "engine")


def test_too_small_a_budget_is_said_to_miss():
    few = self_test(budget=1e-6)
    assert not few.passed
    assert any(not finding.alarm for finding in few.planted)
    assert "100 %" not in few.sentence
    assert not any(finding.alarm for finding in few.true)


def test_the_command(monkeypatch, sheet, tmp_path):
    def found(findings):
        halves = {"theorems": lambda: list(findings[:3]), "engines": lambda: list(findings[3:])}
        monkeypatch.setattr("frugal_theory.studies.self_test.study.halves_of", lambda **_: halves)
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
