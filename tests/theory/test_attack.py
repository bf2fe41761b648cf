"""The attack finds what is known to be worst, says so loudly if a theorem falls, and writes what it found."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

import frugal_theory as ft
from frugal_theory.commands.main import app
from frugal_theory.studies.attack import OPTIMIZERS, attack
from tests.tolerances import ATTAINED, ROUNDING

SGD = {
    "algorithm.density": 0.0,
    "algorithm.learning_rate": 0.5,
    "problem": {"kind": "quadratic", "dimension": 2, "start": "ones"},
    "noise.sigma": 1.0,
    "simulation.steps": 25,
    "verify.theorems": ["sgd"],
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_sgd_bound_is_rediscovered_to_be_attained(quadratic, optimizer):
    found = attack(quadratic(SGD), evaluations=80, optimizer=optimizer)
    assert found.verdict.status == "holds"
    assert 1 - ATTAINED < found.ratio <= 1 + ROUNDING
    assert np.all(np.diff(found.best) >= 0)


def test_from_the_optimum_the_noise_term_is_attained_up_to_its_transient(quadratic):
    """λ = L: E‖g‖² = Lασ²/(2−Lα)(1 − (1−Lα)^{2(k−1)}); on average over K it lacks 1/(1 − (1−Lα)²) steps."""
    experiment = quadratic(SGD | {"problem": {"kind": "quadratic", "dimension": 2, "start": [0.0, 0.0]}})
    found = attack(experiment, evaluations=100, free=("spectrum", "noise"))
    closed = 1 - (1 - 0.25**25) / (1 - 0.25) / 25
    assert found.ratio == pytest.approx(closed, rel=ATTAINED)
    assert found.ratio <= closed * (1 + ROUNDING)


def test_what_is_fixed_stays_fixed(quadratic):
    before = quadratic({"verify.theorems": ["run_length"], "algorithm.learning_rate": 0.02})
    found = attack(before, evaluations=60).experiment
    problem, noise = ft.build_problem(found), ft.build_noise(found)
    assert problem.smoothness == pytest.approx(ft.build_problem(before).smoothness, rel=ROUNDING)
    assert sum(np.sum(v) for v in noise.variance(problem).values()) == pytest.approx(12 * 0.01, rel=ROUNDING)
    assert found.algorithm.state_full == before.algorithm.state_full
    assert found.simulation == before.simulation


@pytest.mark.parametrize(
    "keys",
    [{}, {"problem.smoothness": 3.0}, {"problem.spectrum": "uniform", "problem.condition": 7.0}, {"problem.exponent": 2.0}],
)
def test_the_file_reproduces_the_ratio(quadratic, tmp_path, keys):
    found = attack(quadratic(SGD | keys), evaluations=40)
    path = tmp_path / "worst.toml"
    path.write_text(found.toml, encoding="utf-8")
    again = ft.load(path)
    assert again == found.experiment
    verdict = ft.exact(again).mean / ft.bound(again, "sgd")
    assert verdict[found.verdict.step - 1] == pytest.approx(found.ratio, rel=ROUNDING)
    assert not any(v.status == "violated" for v in ft.verify(again))


@pytest.mark.ecosystem
def test_the_seed_decides(quadratic):
    first, again = (attack(quadratic(SGD), evaluations=30) for _ in range(2))
    assert first.experiment == again.experiment
    assert attack(quadratic(SGD | {"seed": 8}), evaluations=30).experiment != first.experiment


def test_sets_are_searched_and_written(quadratic):
    found = attack(quadratic({"verify.theorems": ["held_sets"]}), free=("set",), evaluations=60)
    assert found.searched == ("set",)
    assert found.experiment.algorithm.update_gap >= 1
    assert found.verdict.status == "holds"


def test_a_theorem_that_falls_is_reported_with_exit_status_1(experiment_file, tmp_path, planted):
    planted("sgd", 0.9)
    path = experiment_file(overrides=SGD)
    worst = tmp_path / "worst.toml"
    result = CliRunner().invoke(app, ["attack", str(path), "--evaluations", "60", "--out", str(worst)])
    assert result.exit_code == 1
    assert "VIOLATED" in result.stdout
    assert worst.exists()


@pytest.mark.parametrize(
    ("overrides", "arguments", "words"),
    [
        ({"problem": {"kind": "logistic"}}, {}, "quadratic"),
        ({}, {"theorem": "sgd"}, "does not apply"),
        ({}, {"theorem": "sgdx"}, "no theorem"),
        ({"algorithm.state_free": "signsgd"}, {"theorem": "hybrid"}, "no exact expectation"),
        ({}, {"free": ("colour",), "theorem": "run_length"}, "cannot be searched"),
        ({}, {"optimizer": "guessing"}, "no optimizer"),
    ],
)
def test_what_cannot_be_attacked_is_said(quadratic, overrides, arguments, words):
    with pytest.raises(ft.ExperimentError, match=words):
        attack(quadratic(overrides), evaluations=5, **arguments)
