"""The ladder on the page."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from frugal_theory.report import write_report
from frugal_theory.report.figures import draw
from frugal_theory.results.read import read
from frugal_theory.theorems import THEOREMS
from tests.theory.results_folders import (
    EXPERIMENT,
    page_of,
    write_ladder,
    write_theory,
)
from tests.tolerances import ROUNDING


def test_a_ladder_alone(folder: Path) -> None:
    record = write_ladder(folder)
    text, page = page_of(folder)
    assert "In order in one cell: 1 equal, 1 below the next rung, 1 rung missing." in page.text
    assert all(link["reason"] in page.text for link in record["comparisons"])
    assert all((rung["missing"] or rung["how"]) in page.text for rung in record["rungs"])
    assert "SGDM (Liu, Gao, Yin)" in page.text
    assert "[0.18, 0.22]" in page.text
    assert "33 %" in page.text
    assert "another version" not in page.text
    assert "source" not in page.tags
    assert len(page.ids) == len(set(page.ids))
    assert not re.search(r"#[0-9a-f]{6}\b", text[text.index("<body>") : text.index("<script>")]), (
        "a colour that the dark scheme cannot answer"
    )


def test_a_rung_leads_to_its_theorem(folder: Path) -> None:
    record = write_ladder(folder)
    text, page = page_of(folder)
    (named,) = [rung["name"] for rung in record["rungs"] if rung["name"] in THEOREMS and not rung["missing"]]
    assert f'<a href="#theorem-{named}">' in text
    assert f"theorem-{named}" in page.ids
    assert "The theorems" in page.text


def test_the_figure_of_a_ladder_shows_its_numbers(folder: Path) -> None:
    write_ladder(folder)
    (plot,) = draw(read(folder)).ladders
    assert plot.title.startswith("a cell: every rung below the next")
    curves = pd.read_parquet(folder / "ladder.parquet")
    (axes,) = plot.figure.axes
    for seen, (_, line) in zip(axes.lines, curves.groupby("rung", sort=False), strict=True):
        np.testing.assert_allclose(seen.get_xydata(), line[["step", "value"]].to_numpy(), rtol=ROUNDING, atol=0)
    write_report(folder)
    saved = pd.read_csv(folder / "ladder" / "ladder-01.csv")
    pd.testing.assert_frame_equal(saved, plot.data.astype(saved.dtypes), rtol=ROUNDING, atol=0)


def test_a_ladder_out_of_order_draws_attention(folder: Path) -> None:
    write_ladder(folder, status="not below")
    text, page = page_of(folder)
    assert "Out of order." in page.text
    assert '<section class="answer alarm">' in text
    assert '<div class="violated">' in text
    (plot,) = draw(read(folder)).ladders
    assert plot.title.startswith("a cell: out of order")


@pytest.mark.usefixtures("no_figures")
def test_a_ladder_of_another_experiment_is_said_to_be_one(folder: Path) -> None:
    write_ladder(folder)
    write_theory(folder)
    (folder / "experiment.toml").write_text(EXPERIMENT.replace("dimension = 100", "dimension = 99"))
    text, page = page_of(folder)
    assert "From another version of the experiment" in page.text
    assert "4 verdicts" in page.text
    assert text.index(">The ladder<") < text.index(">Verdicts<")
