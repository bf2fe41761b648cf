"""Training runs beside each other: joined over seeds, told apart by their settings, with what each came to."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from typer.testing import CliRunner

from frugal_theory.commands import report as command
from frugal_theory.commands.main import app
from frugal_theory.report import comparison, practice_figures, unfinished, write_report
from frugal_theory.report.runs import Run, SameSetting, interval, settings, training_runs
from frugal_theory.results.read import read
from frugal_theory.results.schema import DIVERGED
from tests.theory.results_folders import EXPERIMENT, Page
from tests.tolerances import ROUNDING


def write_run(place: Path, name: str, seed: int, losses: list[float], density: float = 0.5, **more: object) -> Path:
    """A run with these validation losses at steps 0, 10, 20, …, 100 tokens and a quarter of a second a step."""
    folder = place / name
    (folder / "training").mkdir(parents=True)
    text = EXPERIMENT.replace('name = "demo"', f'name = "demo"\nseed = {seed}').replace("density = 0.5", f"density = {density}")
    (folder / "experiment.toml").write_text(text)
    steps = [
        {"step": k, "loss": 5 - k / 50, "learning_rate": 0.3 - k / 1000, "tokens": 100 * k, "seconds": k / 4}
        for k in range(1, 10 * len(losses) - 9)
    ]
    checks = [
        {"step": 10 * i, "validation_loss": loss, "validation_perplexity": math.exp(loss)} for i, loss in enumerate(losses)
    ]
    lines = sorted([*steps, *checks], key=lambda line: (line["step"], "loss" not in line))
    (folder / "training" / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if not more.get("open"):
        summary = {"steps": 10 * len(losses) - 10, "optimizer_state_bytes": more.get("state", 4000), "adamw_state_bytes": 8000}
        summary |= {"tokens_per_second": 400.0, "peak_memory_bytes": 5_000_000}
        (folder / "training" / "summary.json").write_text(json.dumps(summary))
    return folder


def joined(*folders: Path) -> list[SameSetting]:
    found = [read(folder) for folder in folders]
    return settings(training_runs(found, [folder.name for folder in folders]))


def test_seeds_of_one_setting_are_one_line_with_the_interval_of_their_mean(tmp_path: Path) -> None:
    losses = {0: [6.0, 4.0, 3.0], 1: [6.2, 4.4, 3.6], 2: [5.8, 4.2, 3.1]}
    folders = [write_run(tmp_path, f"s{seed}", seed, own) for seed, own in losses.items()]
    folders.append(write_run(tmp_path, "other", 0, [6.0, 5.0, 4.5], density=1.0, state=8000))
    first, second = joined(*folders)
    assert (first.name, second.name) == ("density = 0.5", "density = 1.0")
    assert [run.name for run in first.runs] == ["s0", "s1", "s2"]
    line = comparison.validation(first)
    table = np.array(list(losses.values()))
    half = stats.t.ppf(0.975, 2) * table.std(axis=0, ddof=1) / math.sqrt(3)
    np.testing.assert_allclose(line["value"], np.exp(table.mean(axis=0)), rtol=ROUNDING)
    np.testing.assert_allclose(line["lower"], np.exp(table.mean(axis=0) - half), rtol=ROUNDING)
    np.testing.assert_allclose(line["upper"], np.exp(table.mean(axis=0) + half), rtol=ROUNDING)
    assert line[["step", "tokens", "seconds"]].to_numpy().tolist() == [[0, 0, 0], [10, 1000, 2.5], [20, 2000, 5.0]]
    figure = comparison.curves([first, second])
    assert figure is not None
    assert [axis.key for axis in figure.axes] == ["step", "tokens", "seconds", "state"]
    points = [(one.cell, one.x["state"], one.y) for one in figure.series if "state" in one.x]
    best = table.min(axis=1).mean()
    assert points == [(0, [4000.0], [pytest.approx(math.exp(best))]), (1, [8000.0], [pytest.approx(math.exp(4.5))])]
    seeds = [one for one in figure.series if figure.lines.entries[one.line].label == "validation, each seed"]
    assert [one.y for one in seeds] == [pytest.approx(np.exp(own)) for own in losses.values()]


def test_an_interval_is_students() -> None:
    assert interval([2.0]).count == 1
    assert math.isnan(interval([2.0]).lower)
    assert interval([]).count == interval([math.nan]).count == 0
    values = [1.0, 2.0, 4.0, 8.0]
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert interval(values).lower == pytest.approx(low, rel=ROUNDING)
    assert interval(values).upper == pytest.approx(high, rel=ROUNDING)


def test_the_table_says_what_each_run_came_to(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "one", 3, [6.0, 3.0, 3.5])
    ((setting,), (row,)) = (found := joined(folder)), comparison.rows(found)
    (run,) = row["runs"]
    assert not row["several"]
    shown = {
        key: run[key] for key in ("state", "best", "last", "rate", "tokens", "seconds", "speed", "memory", "held", "share")
    }
    assert shown == {
        "state": "finished",
        "best": "20.09",
        "last": "33.12",
        "rate": "0.299",
        "tokens": "2,000",
        "seconds": "5 s",
        "speed": "400",
        "memory": "5 MB",
        "held": "4 kB",
        "share": "50 %",
    }
    assert float(run["exact"]["best"]) == math.exp(3.0)
    page = Page(write_report(folder).read_text(encoding="utf-8"))
    for text in ("Best perplexity", "Learning rate", "Tokens/s", "Peak memory", "Optimizer state", "50 % of AdamW’s"):
        assert text in page.text
    assert setting.runs[0].experiment is not None


@pytest.mark.usefixtures("no_figures")
def test_a_run_that_diverged_is_said_to_be_one_and_averaged_nowhere(tmp_path: Path) -> None:
    folders = [write_run(tmp_path, f"s{seed}", seed, [6.0, 4.0 + seed]) for seed in range(2)]
    bad = write_run(tmp_path, "s2", 2, [6.0, 9.0], open=True)
    (bad / DIVERGED.path).write_text(json.dumps({"found": "loss nan at step 11"}))
    (setting,) = found = joined(*folders, bad)
    (row,) = comparison.rows(found)
    assert row["mean"]["state"] == "3 seeds, 1 diverged"
    assert float(row["mean"]["best_exact"]) == pytest.approx(math.exp(4.5))
    assert (row["runs"][2]["state"], row["runs"][2]["best"]) == ("diverged: loss nan at step 11", "–")
    assert comparison.validation(setting)["value"].iloc[-1] == pytest.approx(math.exp(4.5))
    figure = comparison.curves(found)
    assert figure is not None
    assert [entry.label for entry in figure.cells.entries] == ["s0 and 2 more seeds (1 of 3 diverged)"]
    page = Page(write_report(*folders, bad).read_text(encoding="utf-8"))
    assert "Training diverged: loss nan at step 11." in page.text
    assert not unfinished(bad)


def test_an_unfinished_seed_ends_the_mean_and_is_in_no_best(tmp_path: Path) -> None:
    folders = [write_run(tmp_path, "s0", 0, [6.0, 4.0, 3.0]), write_run(tmp_path, "s1", 1, [6.2, 4.4], open=True)]
    (setting,) = found = joined(*folders)
    assert list(comparison.validation(setting)["step"]) == [0, 10]
    (row,) = comparison.rows(found)
    assert row["mean"]["state"] == "2 seeds, 1 unfinished"
    assert float(row["mean"]["best_exact"]) == pytest.approx(math.exp(3.0))
    assert row["runs"][1]["state"] == "unfinished, step 10 of 1,000"


def test_the_same_seed_once_more_is_no_seed(tmp_path: Path) -> None:
    """It is the same draw: joined it would narrow the interval of a mean over seeds."""
    found = joined(
        *(write_run(tmp_path, name, seed, [6.0, 4.0 + seed]) for name, seed in zip("abcd", (0, 1, 0, 0), strict=True))
    )
    assert [[run.name for run in setting.runs] for setting in found] == [["a", "b"], ["c"], ["d"]]
    assert [row["mean"]["state"] for row in comparison.rows(found) if row["several"]] == ["2 seeds"]


def test_lines_of_several_seeds_say_whose_they_are(tmp_path: Path) -> None:
    figure = comparison.curves(joined(*(write_run(tmp_path, f"s{seed}", seed, [6.0, 4.0]) for seed in range(2))))
    assert figure is not None
    told = [(one.cell, one.line, one.name, *sorted(one.x)) for one in figure.series]
    assert len(set(told)) == len(told)
    assert {one["name"] for one in json.loads(figure.json)["series"] if "name" in one} == {"s0", "s1"}


@pytest.mark.usefixtures("no_figures")
def test_runs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    folders = [write_run(tmp_path / place, "run", 0, [6.0, 4.0], density=0.25) for place in "ab"]
    folders.append(write_run(tmp_path, "deep", 1, [6.0, 4.0], density=1.0))
    text = write_report(*folders).read_text(encoding="utf-8")
    page = Page(text)
    for name in ("run", "run (2)", "deep"):
        assert f'<h2 class="run">{name}</h2>' in text
    assert len(page.ids) == len(set(page.ids))
    assert {address[1:] for address in page.addresses if address.startswith("#")} <= set(page.ids)


def test_cells_of_a_sweep_are_joined_by_their_own_experiments(tmp_path: Path) -> None:
    sweep = tmp_path / "sweep"
    for place, (density, seed) in enumerate(((0.25, 0), (0.25, 1), (1.0, 0))):
        run = write_run(tmp_path / "apart", f"r{place}", seed, [6.0, 4.0], density=density)
        cell = sweep / "training" / f"density-{density}_seed-{seed}"
        cell.parent.mkdir(parents=True, exist_ok=True)
        (run / "training").rename(cell)
        (run / "experiment.toml").rename(cell / "experiment.toml")
    found = joined(sweep)
    assert [(setting.name, len(setting.runs)) for setting in found] == [("density = 0.25", 2), ("density = 1.0", 1)]
    assert "density = 0.25" in Page(write_report(sweep).read_text(encoding="utf-8")).text
    assert (sweep / "comparison" / "training-runs.csv").is_file()
    saved = pd.read_csv(sweep / "comparison" / "perplexity-and-state.csv")
    assert saved["perplexity"].tolist() == pytest.approx([math.exp(4)] * 2)


def test_principal_angles_are_drawn_from_what_probes_wrote(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "one", 0, [6.0, 4.0, 3.0])
    path = folder / "training" / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        if line["step"] in (5, 15) and "loss" in line:
            line["probes"] = {
                f"angles.{key} of {tensor}": value + shift + line["step"] / 100
                for tensor, shift in (("a", 0.0), ("b", 0.2))
                for key, value in (("cosine", 0.5), ("first", 0.4), ("inside", 0.3), ("random", 0.1))
            }
    path.write_text("\n".join(map(json.dumps, lines)))
    training = read(folder).training
    plot = practice_figures.angles(Run("one", training, None))
    assert plot is not None
    assert plot.data["cosine"].tolist() == pytest.approx([0.55, 0.75, 0.65, 0.85])
    mean = [line.get_ydata() for line in plot.figure.axes[0].lines if line.get_linewidth() > 2]
    assert [list(values) for values in mean] == [pytest.approx([0.65, 0.75]), pytest.approx([0.55, 0.65])]
    assert "Gradient subspaces over time" in Page(write_report(folder).read_text(encoding="utf-8")).text
    assert practice_figures.angles(Run("none", read(write_run(tmp_path, "two", 0, [6.0, 4.0])).training, None)) is None


@pytest.mark.usefixtures("no_figures")
def test_a_watched_report_follows_until_the_run_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_run(tmp_path, "one", 0, [6.0, 4.0], open=True)
    seen = []

    def pass_time(seconds: float) -> None:
        text = (folder / "report.html").read_text(encoding="utf-8")
        assert f'data-reload="{seconds:g}"' in text
        assert f'<noscript><meta http-equiv="refresh" content="{seconds:g}"></noscript>' in text
        seen.append("unfinished, step 10" in Page(text).text)
        if len(seen) == 2:
            (folder / "training" / "summary.json").write_text('{"steps": 10}')

    monkeypatch.setattr(command.time, "sleep", pass_time)
    done = CliRunner().invoke(app, ["report", str(folder), "--watch"])
    assert done.exit_code == 0, done.output
    assert seen == [True, True]
    last = (folder / "report.html").read_text(encoding="utf-8")
    assert 'http-equiv="refresh"' not in last
    assert "data-reload" not in last
    assert "finished" in Page(last).text
