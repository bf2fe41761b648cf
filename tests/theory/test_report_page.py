"""The report as a page: self-contained, safe, complete, the same every time."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import pandas as pd
import pytest

from frugal_theory.report import html, write_report
from frugal_theory.results import files as result_files
from frugal_theory.verdicts.verdict import Verdict
from tests.theory.results_folders import (
    EXPERIMENT,
    Rendered,
    page_of,
    write_theory,
    write_training,
)


def test_page_is_self_contained(report: Rendered) -> None:
    text, page = report.text, report.page
    assert all(address.startswith(("#", "data:")) for address in page.addresses)
    shown = text.replace("/*! https://github.com/leeoniya/uPlot", "")  # the library names its home
    assert not re.search(r"https?:|@import|url\((?!#)|fetch\(|XMLHttpRequest|WebSocket", shown)
    assert not page.tags & {"link", "img", "iframe", "object"}
    assert len(page.ids) == len(set(page.ids))
    assert {address[1:] for address in page.addresses} <= set(page.ids)
    assert len(text) < 3_000_000


def test_page_says_everything(report: Rendered) -> None:
    records, text, page = report.records, report.text, report.page
    assert "8 verdicts: 4 hold, 2 shape only, 2 not applicable; nothing violated." in page.text
    assert "Validation perplexity 61.2 against 389 for unigrams, 1,000 steps, 9.2 million parameters." in page.text
    for record in records:
        assert record["reason"] in page.text
        assert all(premise["how"] in page.text for premise in record["premises"])
    assert len(re.findall(r'<tbody id="verdict-', text)) == len(records)
    assert "learning_rate = 0.05" in page.text
    assert EXPERIMENT in page.text
    assert "SGDM, β = 0.9" in page.text


def test_both_schemes_and_phones_are_styled(report: Rendered) -> None:
    text = report.text
    assert "prefers-color-scheme: dark" in text
    assert "color-scheme: light dark" in text
    assert "max-width: 820px" in text
    body = text[text.index("<body>") : text.index("<script>")]
    assert "var(--hue-1)" in body
    assert not re.search(r"#[0-9a-f]{6}\b", body), "a colour that the dark scheme cannot answer"


def test_markup_in_reasons_is_text(folder: Path) -> None:
    record = Verdict("sgd", "inconclusive", "<script>alert(1)</script> & more", cell={"case": "<b>bold</b> & co"}).record()
    (folder / "theory").mkdir()
    (folder / "theory" / "verdicts.json").write_text(json.dumps([record]))
    text, page = page_of(folder)
    assert "<script>alert(1)" not in text
    assert "<script>alert(1)</script> & more" in page.text
    assert "<b>bold</b> & co" in page.text
    assert "&lt;script&gt;" in text


@pytest.mark.ecosystem
def test_markup_in_a_cell_is_text_in_the_figures(folder: Path) -> None:
    write_theory(folder)
    for name in ("evidence", "bounds"):
        path = folder / "theory" / f"{name}.parquet"
        pd.read_parquet(path).assign(cell="<i>case</i> & $x$").to_parquet(path)
    _, page = page_of(folder)
    assert "i" not in page.tags
    assert "<i>case</i> & $x$" in page.text


@pytest.mark.parametrize("make", [lambda _: None, lambda d: (d / "theory").mkdir()])
def test_nothing_to_report_is_one_line(folder: Path, make: object) -> None:
    make(folder)  # type: ignore[operator]
    with pytest.raises(ValueError, match="nothing to report") as caught:
        write_report(folder)
    assert "\n" not in str(caught.value)
    assert not (folder / "report.html").exists()
    with pytest.raises(ValueError, match="no such folder"):
        write_report(folder / "absent")


@pytest.mark.ecosystem
def test_a_failure_leaves_the_old_report_and_no_debris(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_theory(folder)
    before = write_report(folder).read_bytes()
    there = sorted(folder.rglob("*"))

    def broken(*_: object) -> str:
        raise RuntimeError("no page")

    monkeypatch.setattr(html, "render", broken)
    with pytest.raises(RuntimeError):
        write_report(folder)
    monkeypatch.undo()

    def full(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(result_files.os, "replace", full)
    with pytest.raises(OSError, match="disk full"):
        write_report(folder)
    assert (folder / "report.html").read_bytes() == before
    assert sorted(folder.rglob("*")) == there


@pytest.mark.ecosystem
def test_the_report_is_the_same_every_time_and_changes_no_global_setting(folder: Path) -> None:
    write_theory(folder)
    write_training(folder)
    settings, backend = dict(mpl.rcParams), mpl.rcParams._get_backend_or_none()
    first = write_report(folder).read_bytes()
    assert write_report(folder).read_bytes() == first
    assert dict(mpl.rcParams) == settings
    assert mpl.rcParams._get_backend_or_none() == backend


def test_importing_the_report_is_light() -> None:
    code = (
        "import sys, frugal_theory.report\n"
        "print([m for m in ('torch', 'matplotlib', 'seaborn', 'pandas', 'jinja2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
