"""Several runs in one page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from frugal_theory.report import write_report
from tests.theory.results_folders import EXPERIMENT, Page, write_ladder, write_theory, write_training


def two_runs(folder: Path) -> tuple[Path, Path]:
    """Two runs, the second without an experiment file and with a ladder less."""
    other = folder.parent / "other"
    other.mkdir()
    (other / "experiment.toml").write_text(EXPERIMENT.replace('"demo"', '"other"'))
    write_theory(folder)
    write_ladder(folder)
    write_training(other)
    write_theory(other, (0.02, 0.05), sweep=True)
    return folder, other


@pytest.mark.ecosystem
def test_two_runs_share_a_page(folder: Path) -> None:
    first, second = two_runs(folder)
    path = write_report(first, second)
    assert path == first / "report.html"
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert "4 verdicts: 2 hold" in page.text
    assert "8 verdicts: 4 hold" in page.text
    assert "Validation perplexity 61.2" in page.text
    assert len(page.ids) == len(set(page.ids))
    assert {address[1:] for address in page.addresses} <= set(page.ids)
    assert [address for address in page.addresses if re.fullmatch(r"#run-\d", address)] == ["#run-1", "#run-2"]
    assert (second / "training" / "figures" / "gradient-norm.svg").is_file()
    assert not (second / "report.html").exists()


@pytest.mark.usefixtures("no_figures")
def test_out_is_the_page(folder: Path, tmp_path: Path) -> None:
    write_theory(folder)
    target = tmp_path / "pages" / "page.html"
    assert write_report(folder, out=target) == target
    assert not (folder / "report.html").exists()
    text = target.read_text(encoding="utf-8")
    assert write_report(folder).read_text(encoding="utf-8") == text


def test_one_bad_run_leaves_no_page(folder: Path) -> None:
    write_theory(folder)
    with pytest.raises(ValueError, match="no such folder"):
        write_report(folder, folder / "absent")
    assert not (folder / "report.html").exists()
