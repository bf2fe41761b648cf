"""Theory on the page: panels of measured metrics under bounds, the overview, the table of verdicts."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from frugal_theory.report import figures, write_report
from frugal_theory.report.figures import draw
from frugal_theory.report.overlay import bounds_and_measurements
from frugal_theory.results.read import read
from frugal_theory.theorems import THEOREMS
from tests.theory.results_folders import (
    Rendered,
    page_of,
    running_average,
    sgd_bound,
    write_theory,
    write_training,
)
from tests.tolerances import ROUNDING


def test_the_statement_of_a_theorem_is_on_the_page(report: Rendered) -> None:
    assert THEOREMS["run_length"].statement in report.page.text
    assert THEOREMS["sgd"].source in report.page.text


@pytest.mark.usefixtures("no_figures")
@pytest.mark.ecosystem
def test_violated_verdicts_come_first_and_draw_attention(folder: Path) -> None:
    write_theory(folder, (0.02, 0.05), sweep=True)
    path = folder / "theory" / "verdicts.json"
    records = json.loads(path.read_text())
    records[5] |= {"status": "violated", "tightness": 1.2}
    path.write_text(json.dumps(records))
    text, page = page_of(folder)
    assert "8 verdicts: 1 violated, 3 hold, 2 shape only, 2 not applicable." in page.text
    assert "nothing violated" not in page.text
    assert re.findall(r'<tbody id="verdict-\d+" class="([\w-]+)"', text) == ["violated"] + 3 * ["holds"] + 2 * [
        "shape-only"
    ] + 2 * ["not-applicable"]
    first = draw(read(folder)).cells[0]
    assert first.title.startswith("learning_rate = 0.05")


def test_the_csv_beside_a_figure_holds_exactly_what_is_plotted(report: Rendered) -> None:
    folder, figures = report.folder, report.figures
    for plot in [*figures.cells, *figures.practice]:
        part = folder / ("theory" if plot in figures.cells else "training") / "figures"
        saved = pd.read_csv(part / f"{plot.name}.csv")
        pd.testing.assert_frame_equal(saved, plot.data.astype(saved.dtypes), rtol=ROUNDING, atol=0)
        series = ["kind", "origin", "metric"] if "kind" in saved else ["series"]
        lines = [
            line[["step", "perplexity" if "perplexity" in line else "value"]] for _, line in saved.groupby(series, sort=False)
        ]
        (axes,) = plot.figure.axes
        assert len(axes.lines) == len(lines)
        for seen, line in zip(axes.lines, lines, strict=True):
            np.testing.assert_allclose(seen.get_xydata(), line.to_numpy(), rtol=ROUNDING, atol=0)
        for ending in ("svg", "png"):
            assert (part / f"{plot.name}.{ending}").stat().st_size > 1000


def test_the_bands_and_the_numbers_are_those_of_the_evidence(report: Rendered) -> None:
    plot = next(plot for plot in report.figures.cells if plot.title.startswith("learning_rate = 0.02"))
    measured = plot.data[(plot.data["kind"] == "measured") & (plot.data["metric"] == "squared_gradient_norm")]
    steps = measured["step"].to_numpy(dtype=int)
    assert np.array_equal(measured["value"], running_average(0.02, 2000)[steps - 1])
    bound = plot.data[plot.data["origin"] == "sgd"]
    assert np.array_equal(bound["value"], sgd_bound(0.02, 2000)[bound["step"].to_numpy(dtype=int) - 1])
    bands = [band for band in plot.figure.axes[0].collections if type(band).__name__ == "FillBetweenPolyCollection"]
    monte_carlo = measured[measured["origin"] == "monte_carlo"]
    corners = bands[0].get_paths()[0].vertices
    for ends in ("lower", "upper"):
        assert set(monte_carlo[ends]) <= set(corners[:, 1])


def test_the_overview_shows_the_verdicts_numbers(report: Rendered) -> None:
    plot = report.figures.overview
    assert plot is not None
    shown = [record for record in report.records if record["tightness"]]
    shown.sort(key=lambda record: ["sgd", "run_length", "theorem_5_2"].index(record["theorem"]))
    assert list(plot.data["theorem"]) == [record["theorem"] for record in shown]
    assert list(plot.data["cell"]) == [record["label"] for record in shown]
    assert list(plot.data["tightness"]) == [record["tightness"] for record in shown]
    assert list(plot.data["upper"]) == [record["upper"] / record["bound"] for record in shown]


@pytest.mark.ecosystem
def test_a_violation_without_limit_is_in_the_overview(folder: Path) -> None:
    write_theory(folder)
    path = folder / "theory" / "verdicts.json"
    records = json.loads(path.read_text())
    records[0] |= {"status": "violated", "measured": "inf", "tightness": "inf", "lower": "inf", "upper": "inf"}
    path.write_text(json.dumps(records))
    plot = draw(read(folder)).overview
    assert plot is not None
    assert "✗ ∞" in plot.svg


def test_lines_are_thinned_and_keep_their_ends(folder: Path) -> None:
    write_theory(folder, steps=20_000)
    (plot,) = draw(read(folder)).cells
    for _, line in plot.data.groupby(["kind", "origin", "metric"]):
        assert len(line) <= 400
        assert (line["step"].min(), line["step"].max()) == (1, 20_000)


def test_metrics_that_coincide_share_one_colour(folder: Path) -> None:
    write_theory(folder)
    path = folder / "theory" / "evidence.parquet"
    frame = pd.read_parquet(path)
    plain = frame.loc[frame["metric"] == "squared_gradient_norm"].query("source == 'monte_carlo'")
    pd.concat([plain, plain.assign(metric="weighted_squared_gradient_norm")]).to_parquet(path)
    (plot,) = draw(read(folder)).cells
    assert len({line.get_color() for line in plot.figure.axes[0].lines}) == 1
    assert "measured, weighted" not in plot.svg


def test_the_figure_has_the_number_that_a_verdict_by_exact_expectation_names(folder: Path) -> None:
    """evidence.parquet holds the trials; the verdict's own number is drawn, and is in the CSV, at the verdict's horizon."""
    records = write_theory(folder)
    path = folder / "theory" / "evidence.parquet"
    frame = pd.read_parquet(path)
    frame[frame["source"] == "monte_carlo"].to_parquet(path)
    ends = {"source": "exact", "metric": "squared_gradient_norm", "trials": 1, "measured": 0.9 * records[0]["measured"]}
    records[0] |= {**ends, "lower": ends["measured"], "upper": ends["measured"]}
    (folder / "theory" / "verdicts.json").write_text(json.dumps(records))
    (plot,) = draw(read(folder)).cells
    (row,) = plot.data.query("origin == 'exact'").itertuples()
    assert (row.step, row.value, row.lower, row.upper) == (records[0]["step"], *3 * [ends["measured"]])
    spec = bounds_and_measurements(read(folder))
    line = [entry.label for entry in spec.lines.entries].index("exact expectation")
    (points,) = (one for one in spec.series if one.line == line)
    assert (points.x["step"], points.y) == ([records[0]["step"]], [ends["measured"]])


@pytest.mark.ecosystem
def test_cells_beyond_the_panels_are_in_the_table(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "PANELS", 2)
    alphas = (0.01, 0.02, 0.03, 0.04)
    write_theory(folder, alphas, steps=200, sweep=True)
    text, page = page_of(folder)
    assert "2 more cells without a still figure" in page.text
    assert all(f"learning_rate = {alpha:g}" in page.text for alpha in alphas)
    assert len(text) / 2 * 13 < 3_000_000
    (folder / "theory" / "evidence.parquet").unlink()
    (folder / "theory" / "bounds.parquet").unlink()
    write_training(folder)
    write_report(folder)
    assert "measured-and-bounds" not in " ".join(path.name for path in (folder / "theory" / "figures").iterdir())


def test_theory_alone(folder: Path) -> None:
    write_theory(folder)
    _, page = page_of(folder)
    assert "4 verdicts" in page.text
    assert "perplexity" not in page.text
    assert not (folder / "training").exists()


def test_evidence_without_verdicts(folder: Path) -> None:
    write_theory(folder)
    (folder / "theory" / "verdicts.json").unlink()
    (folder / "theory" / "bounds.parquet").unlink()
    _, page = page_of(folder)
    assert "not yet verified" in page.text
