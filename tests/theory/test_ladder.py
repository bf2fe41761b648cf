"""The ladder: known heights, false rungs planted and flagged, and honesty about what cannot be compared."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import frugal_theory as ft
from frugal_theory.commands.main import app
from frugal_theory.config.load import parse
from frugal_theory.evidence.exact import expectations as exact_module
from frugal_theory.evidence.worst_case import programs as worst_module
from frugal_theory.studies.ladder import Rung, ladders
from frugal_theory.studies.ladder.rung import compare
from frugal_theory.theorems import THEOREMS
from tests.tolerances import PRINTED, ROUNDING, SOLVERS_AGREE

solvers = pytest.importorskip("cvxpy", reason='needs the extra "worst-case"')
pytestmark = pytest.mark.usefixtures("solve_in_process")

SGDM = """
name = "short"
[algorithm]
learning_rate = { fraction_of_admissible = 1.0 }
density = 1.0
update_gap = 2
subspace = "coordinates"
state_full = { rule = "sgdm", beta = 0.9 }
state_free = "sgd"
[problem]
kind = "quadratic"
eigenvalues = [1.0, 0.5, 0.3, 0.2]
start = "ones"
blocks = 2
[simulation]
steps = 3
trials = 64
[verify]
theorems = ["sgdm", "run_length", "theorem_5_2"]
"""
GD = {"algorithm.density": 0.0, "algorithm.learning_rate": 1.0, "verify.theorems": ["sgd"]}
NOISE = {"noise": {"kind": "gaussian", "sigma": 1.0}}
HALF = {"algorithm.set": [0, 1]}
TURN = {"algorithm.subspace": "blocks", "algorithm.order": "ascending", "algorithm.density": 0.5}


def experiment(*overrides: dict[str, Any]) -> ft.Experiment:
    return parse(SGDM, "short.toml", {key: value for override in overrides for key, value in override.items()})


def heights(ladder: ft.Ladder) -> dict[str, float]:
    return {rung.name: rung.last[0] for rung in ladder.rungs}


def statuses(ladder: ft.Ladder) -> dict[tuple[str, str], str]:
    return {(link.lower, link.upper): link.status for link in ladder.comparisons}


# --- known heights -----------------------------------------------------------------------------------------------


def test_the_published_step_at_twenty_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/theory.md: 1.603, 2, 2.58, 2.95 and 3.91 at K = 20 for L = Δ = 1 and β = 0.9; 1.96245 and 1.8664 on the way."""
    monkeypatch.setattr(worst_module, "HORIZONS", (5, 10))
    ladder = ft.ladder(experiment({"simulation.steps": 20}))
    found = heights(ladder)
    assert list(found) == ["monte_carlo", "exact", "worst_case", "sgdm_sharp", "run_length_sharp", "run_length", "sgdm"]
    assert found["worst_case"] == pytest.approx(1.60266, rel=SOLVERS_AGREE)
    assert ladder.rungs[2].value[:2] == pytest.approx([1.96245, 1.8664], rel=SOLVERS_AGREE)
    assert [found[name] for name in ("sgdm_sharp", "run_length_sharp", "run_length", "sgdm")] == pytest.approx(
        [2.0, 2.58, 2.95, 3.91], rel=PRINTED
    )
    assert list(statuses(ladder).values()) == ["equal", *["below"] * 5]
    assert not ladder.out_of_order
    assert ladder.sentence == "every rung is below the next"


def test_gradient_descent_with_the_step_one_over_l() -> None:
    """The worst case is exactly 2LΔ/N, and so are all bounds: they are attained, and nothing is out of order."""
    ladder = ft.ladder(experiment(GD))
    gap = 0.5 * 2.0
    for name in ("worst_case", "sgdm_sharp", "run_length_sharp", "run_length", "sgd"):
        rung = next(rung for rung in ladder.rungs if rung.name == name)
        assert rung.value == pytest.approx(2 * gap / rung.steps, rel=SOLVERS_AGREE)
    found = statuses(ladder)
    assert found[("exact", "worst_case")] == "below"
    assert found[("worst_case", "sgdm_sharp")] == found[("sgdm_sharp", "run_length_sharp")] == "equal"
    assert found[("run_length", "sgd")] == "equal"


def test_one_curvature_makes_it_one_height() -> None:
    """On ½Lx² the step 1/L ends at the optimum: ‖g¹‖² = 2LΔ and 0 from then on. Every rung has the height 2LΔ/K."""
    ladder = ft.ladder(
        experiment(
            GD, {"problem": {"kind": "quadratic", "eigenvalues": [3.0], "start": [2.0]}}, {"algorithm.learning_rate": 1 / 3}
        )
    )
    assert list(heights(ladder).values()) == pytest.approx([2 * 3 * 6 / 3] * 7, rel=SOLVERS_AGREE)
    assert set(statuses(ladder).values()) == {"equal"}


def test_sets_that_change_are_climbed_in_the_weighted_norm() -> None:
    ladder = ft.ladder(experiment(TURN))
    assert ladder.metric == "weighted_squared_gradient_norm"
    assert {rung.metric for rung in ladder.rungs[:-1]} == {ladder.metric}
    assert list(statuses(ladder).values()) == ["equal", "below", "below", "below", "not comparable"]
    plain = ft.exact(experiment(TURN)).mean
    assert np.all(ladder.rungs[1].value < plain)


# --- false rungs --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("theorem", "factor", "pair"),
    [
        ("run_length", 0.08, ("run_length_sharp", "run_length")),
        ("run_length_sharp", 0.1, ("sgdm_sharp", "run_length_sharp")),
        ("sgdm_sharp", 0.5, ("worst_case", "sgdm_sharp")),
        ("sgdm", 0.7, ("run_length", "sgdm")),
    ],
)
def test_a_bound_that_is_too_small_is_flagged(planted: Any, theorem: str, factor: float, pair: Any) -> None:
    planted(theorem, factor)
    ladder = ft.ladder(experiment())
    assert [(link.lower, link.upper) for link in ladder.out_of_order] == [pair]
    (link,) = ladder.out_of_order
    assert link.status == "not below"
    assert link.largest is not None
    assert link.largest > 1
    assert ladder.sentence.startswith("out of order: ")


def test_half_the_run_length_bound_is_below_the_worst_case(monkeypatch: pytest.MonkeyPatch, planted: Any) -> None:
    """At K = 20 half of 2.95 is less than 1.603, so the worst case refutes it; the sharp rung is taken out of the way."""
    monkeypatch.setattr(worst_module, "HORIZONS", ())
    planted("run_length", 0.5)
    monkeypatch.setitem(THEOREMS._entries, "run_length_sharp", THEOREMS["run_length"])
    ladder = ft.ladder(experiment({"simulation.steps": 20}, HALF))
    assert ("worst_case", "run_length") in statuses(ladder)
    assert statuses(ladder)[("worst_case", "run_length")] == "not below"


@pytest.mark.parametrize("factor", [0.98, 1.02])
@pytest.mark.parametrize("settings", [{}, NOISE | {"simulation.trials": 4096}])
def test_an_exact_engine_that_is_off_is_flagged(monkeypatch: pytest.MonkeyPatch, settings: Any, factor: float) -> None:
    """In both directions, with noise as soon as the interval is narrow enough."""
    true = exact_module.expectations

    def false(*arguments: Any, **keys: Any) -> Any:
        ((name, found),) = true(*arguments, **keys).items()
        return {name: replace(found, mean=factor * found.mean, lower=factor * found.lower, upper=factor * found.upper)}

    monkeypatch.setattr(exact_module, "expectations", false)
    ladder = ft.ladder(experiment(settings))
    assert [(link.lower, link.upper, link.status) for link in ladder.out_of_order] == [("monte_carlo", "exact", "differs")]


# --- what cannot be compared ----------------------------------------------------------------------------------------


def test_the_worst_case_is_without_noise_and_says_so() -> None:
    ladder = ft.ladder(experiment(NOISE))
    found = statuses(ladder)
    assert found[("monte_carlo", "exact")] == "equal"
    assert found[("exact", "worst_case")] == found[("worst_case", "sgdm_sharp")] == "not comparable"
    assert found[("exact", "sgdm_sharp")] == found[("run_length", "sgdm")] == "below"
    worst = ladder.rungs[2]
    assert worst.noise_free
    assert worst.title.endswith("noise-free")
    assert worst.value == pytest.approx(ft.ladder(experiment()).rungs[2].value, rel=ROUNDING)


def test_cells_that_differ_in_their_noise_share_a_worst_case(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    true = worst_module.worst_values
    monkeypatch.setattr(worst_module, "worst_values", lambda *a, **k: calls.append(0) or true(*a, **k))
    found = ladders(experiment({"cases": [{"name": "a"}, {"name": "b", **NOISE}]}))
    assert [ladder.label for ladder in found] == ["a", "b"]
    assert len(calls) == 1
    assert found[0].confidence == found[1].confidence == 0.99


def test_the_hidden_constant_is_proved_from_below() -> None:
    """C is where the corollary meets the shape, and no smaller than what the worst case needs; it is not a verdict."""
    ladder = ft.ladder(experiment(HALF))
    last = ladder.rungs[-1]
    assert last.name == "theorem_5_2"
    shape = ft.bound(experiment(HALF), "theorem_5_2")
    assert last.constant == pytest.approx(np.max(ft.bound(experiment(HALF), "fixed_set") / shape), rel=ROUNDING)
    assert last.value == pytest.approx(last.constant * shape, rel=ROUNDING)
    needed = np.max(ladder.rungs[2].lower / shape)
    assert f"need C ≥ {needed:.3g}" in last.how
    assert needed < last.constant
    assert statuses(ladder)[("run_length", "theorem_5_2")] == "not comparable"


def test_sets_drawn_at_random_average_where_the_worst_case_follows_one_draw() -> None:
    ladder = ft.ladder(
        experiment(
            {"algorithm.density": 0.5, "algorithm.update_gap": 3, "problem.dimension": 2, "problem.eigenvalues": [1.0, 0.5]}
        )
    )
    assert ladder.rungs[2].one_draw
    found = statuses(ladder)
    assert found[("exact", "worst_case")] == "not comparable"
    assert found[("exact", "run_length_sharp")] == "below"


def test_rungs_that_are_missing_say_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worst_module.importlib.util, "find_spec", lambda _: None)
    ladder = ft.ladder(experiment())
    assert 'pip install "frugal-lab[worst-case]"' in ladder.rungs[2].missing
    assert statuses(ladder)[("exact", "sgdm_sharp")] == "below"
    assert ladder.sentence == "in order where comparable (1 missing)"


def test_too_large_a_step_and_no_quadratic() -> None:
    settings = {"problem": {"kind": "nonconvex", "dimension": 3}, "algorithm.learning_rate": 2.0, "simulation.steps": 2}
    ladder = ft.ladder(experiment(settings))
    missing = {rung.name: rung.missing for rung in ladder.rungs}
    assert "quadratic" in missing["exact"]
    assert "too large" in missing["run_length"]
    assert "too large" in missing["sgdm_sharp"]
    assert statuses(ladder) == {("monte_carlo", "worst_case"): "below"}


def test_solvers_that_do_not_agree_leave_it_open(monkeypatch: pytest.MonkeyPatch) -> None:
    true = worst_module.worst_values
    answers = (worst_module.Answer("CLARABEL", 3.634, "optimal"), worst_module.Answer("SCS", 1.6027, "optimal"))

    def last_unsolved(*arguments: Any, **keys: Any) -> Any:
        return [*true(*arguments, **keys)[:-1], worst_module.WorstValue(answers)]

    monkeypatch.setattr(worst_module, "worst_values", last_unsolved)
    ladder = ft.ladder(experiment())
    worst = ladder.rungs[2]
    assert worst.unsolved == [3]
    assert "k = 3: unsolved" in worst.how
    assert worst.record()["value"] is None
    assert statuses(ladder)[("exact", "worst_case")] == "inconclusive"
    assert ladder.sentence == "in order where comparable (2 inconclusive)"


# --- comparisons ----------------------------------------------------------------------------------------------------


def rung(*values: float, width: float = 0.0, **facts: Any) -> Rung:
    value = np.array(values)
    steps = np.arange(1, len(values) + 1)
    known = {"sampled": width > 0, **facts}
    return Rung("a", "A", "m", "", "", steps, value, value * (1 - width), value * (1 + width), **known)


@pytest.mark.parametrize(
    ("lower", "upper", "status"),
    [
        (rung(1, 2), rung(2, 3), "below"),
        (rung(1, 4), rung(2, 3), "not below"),
        (rung(1, 2), rung(1, 3), "below"),
        (rung(1, 3), rung(1, 3), "equal"),
        (rung(1, 3, width=0.1), rung(2, 2), "not below"),
        (rung(1, 2, width=0.1), rung(2, 2.1), "inconclusive"),
        (rung(1, 2, width=0.1), rung(2, 2.3), "below"),
        (rung(1, 2, width=0.1, expectation=True), rung(1, 2.1, expectation=True), "equal"),
        (rung(1, 2, width=0.1, expectation=True), rung(1, 2.3, expectation=True), "differs"),
        (rung(1, 2, width=np.inf, expectation=True), rung(1, 2, expectation=True), "inconclusive"),
        (rung(0, 0), rung(0, 0), "equal"),
        (rung(1, np.inf), rung(2, 3), "not below"),
        (rung(1, np.nan), rung(2, 3), "inconclusive"),
        (rung(np.nan), rung(2), "inconclusive"),
        (rung(3, np.nan), rung(2, 3), "not below"),
        (rung(1, 2), rung(2, 3, hidden=True), "not comparable"),
        (rung(1, 2), replace(rung(2, 3), metric="another"), "not comparable"),
        (rung(1.0005), rung(1, accuracy=1e-3), "equal"),
        (rung(1.0015), rung(1, accuracy=1e-3), "not below"),
    ],
)
def test_comparisons(lower: Rung, upper: Rung, status: str) -> None:
    found = compare(lower, upper)
    assert found.status == status
    assert found.reason.endswith(".")
    json.dumps(found.record(), allow_nan=False)


# --- the command ----------------------------------------------------------------------------------------------------


def test_the_command_writes_what_it_found(experiment_file: Any, tmp_path: Any) -> None:
    path, out = experiment_file(SGDM), tmp_path / "out"
    done = CliRunner().invoke(app, ["ladder", str(path), "--out", str(out), "--jobs", "1"])
    assert done.exit_code == 0, done.output
    assert "Every rung is below the next." in done.stdout
    found = json.loads((out / "ladder.json").read_text(encoding="utf-8"))
    assert found["experiment"] == (out / "experiment.toml").read_text(encoding="utf-8")
    (ladder,) = found["ladders"]
    assert ladder["in_order"] is True
    curves = pd.read_parquet(out / "ladder.parquet")
    assert set(curves["rung"]) == {rung["name"] for rung in ladder["rungs"]}
    last = curves.groupby("rung")["value"].last()
    assert all(last[rung["name"]] == rung["value"] for rung in ladder["rungs"])
    assert sorted(file.name for file in out.iterdir()) == ["experiment.toml", "ladder.json", "ladder.parquet", "studies"]


def test_out_of_order_is_exit_status_1(experiment_file: Any, tmp_path: Any, planted: Any) -> None:
    planted("sgdm", 0.5)
    path, out = experiment_file(SGDM), tmp_path / "out"
    done = CliRunner().invoke(app, ["ladder", str(path), "--out", str(out), "--set", "simulation.steps=1"])
    assert done.exit_code == 1, done.output
    assert "Out of order: run_length not below sgdm" in done.stdout
    assert json.loads((out / "ladder.json").read_text(encoding="utf-8"))["ladders"][0]["in_order"] is False


def test_another_algorithm_is_refused_before_anything_is_written(experiment_file: Any, tmp_path: Any) -> None:
    path, out = experiment_file(SGDM), tmp_path / "out"
    settings = ["--set", "algorithm.state_full=adamw", "--set", "algorithm.learning_rate=0.1"]
    done = CliRunner().invoke(app, ["ladder", str(path), "--out", str(out), *settings])
    assert isinstance(done.exception, ft.ExperimentError)
    assert "no ladder" in str(done.exception)
    assert '"sgdm" is allowed' in str(done.exception)
    assert not out.exists()


def test_an_interrupted_ladder_goes_on_with_the_cells_that_are_missing(
    experiment_file: Any, tmp_path: Any, monkeypatch: Any
) -> None:
    module = import_module("frugal_theory.studies.ladder.ladder")
    path, out = experiment_file(SGDM), tmp_path / "out"
    command = [
        "ladder",
        str(path),
        "--out",
        str(out),
        "--set",
        "simulation.steps=1",
        "--set",
        'sweep={"algorithm.density" = [0.0, 1.0]}',
    ]
    climbed, stopped = [], module.worst

    def count(claims: Any, *rest: Any) -> Any:
        climbed.append(claims.cell.label)
        if len(climbed) == 2:
            raise KeyboardInterrupt
        return stopped(claims, *rest)

    monkeypatch.setattr(module, "worst", count)
    assert CliRunner().invoke(app, command).exit_code == 130
    assert not (out / "ladder.json").exists()
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert climbed == ["density = 0.0", "density = 1.0", "density = 1.0"]
    assert [one["label"] for one in json.loads((out / "ladder.json").read_text(encoding="utf-8"))["ladders"]] == climbed[:2]
