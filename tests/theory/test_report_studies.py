"""Studies on the page: question, answer, figures and the first rows of the table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from frugal_theory.report import write_report
from frugal_theory.results.read import read
from tests.theory.results_folders import page_of, write_study, write_theory


def test_a_study_alone(folder: Path) -> None:
    record = write_study(folder)
    text, page = page_of(folder)
    assert record["question"] in page.text
    assert re.search(r'<span class="violated"><span class="badge">.*no</span></span>: It &lt;never&gt; does', text)
    assert page.addresses == ["data:image/png;base64,iVBORyBub3QgcmVhbGx5"]
    assert "the first 20 of 30 rows" in page.text
    assert len(re.findall("<tr><td", text)) == 20
    assert "b" not in page.tags


@pytest.mark.usefixtures("no_figures")
def test_studies_beside_theory(folder: Path) -> None:
    write_theory(folder)
    write_study(folder / "studies" / "b", "b", "open", rows=1)
    write_study(folder / "studies" / "a", "a", "yes", rows=20)
    text, page = page_of(folder)
    assert [study.name for study in read(folder).studies] == ["a", "b"]
    assert page.text.index("Does a help & how?") < page.text.index("Does b help & how?")
    assert '<span class="holds">' in text
    assert "4 verdicts" in page.text
    assert "table.csv of a, 20 rows" in page.text
    assert "table.csv of b, 1 row" in page.text


def test_a_study_without_table_and_figures(folder: Path) -> None:
    write_study(folder)
    (folder / "table.csv").unlink()
    (folder / "figures" / "curve.png").unlink()
    _, page = page_of(folder)
    assert "It <never> does." in page.text
    assert "details" not in page.tags or "table.csv" not in page.text


def test_a_damaged_study_is_one_line(folder: Path) -> None:
    write_study(folder)
    (folder / "study.json").write_text('{"name": "momentum"}')
    with pytest.raises(ValueError, match=r"study.json: the key 'question' is missing"):
        write_report(folder)
    (folder / "study.json").write_text("[]")
    with pytest.raises(ValueError, match=r"study.json: expected a JSON object, found list"):
        write_report(folder)
