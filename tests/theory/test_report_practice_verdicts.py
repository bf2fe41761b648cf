"""Practice verdicts beside theory's: on the page, on the terminal, and in the exit status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from frugal_theory.commands.main import app
from frugal_theory.results.read import read
from frugal_theory.results.schema import CONSTANTS, PRACTICE_VERDICTS
from frugal_theory.verdicts.practice import PracticeVerdict
from frugal_theory.verdicts.status import PRACTICE, STATUSES
from tests.theory.results_folders import page_of, write_training

SMOOTHNESS = {"value": 6.54, "lower": 0.46, "upper": None, "kind": "measured", "source": "the largest of 2 eigenvalues"}
GAP = {"value": 6.53, "lower": 0.0, "upper": 6.53, "kind": "measured", "source": "f* ≥ 0"}


def write_practice(folder: Path, status: str) -> None:
    """A training run with a verdict of this status, and one that is not applicable."""
    write_training(folder)
    found = [
        PracticeVerdict("sgdm_sharp", status, "For a reason.", measured=0.07, bound=2.1, tightness=0.03, dominant="Δ"),
        PracticeVerdict("sgdm", "not applicable", "The learning rate 0.2 is not admissible.", largest_step=0.0039),
        PracticeVerdict("adam", "not applicable", "The state-full rule is another."),
    ]
    text = json.dumps([verdict.record() for verdict in found])
    (folder / PRACTICE_VERDICTS.path).write_text(text, encoding="utf-8")
    constants = {"smoothness": SMOOTHNESS, "gap": GAP, "variance": {"total": 0.5, "source": "pairs"}}
    (folder / CONSTANTS.path).write_text(json.dumps(constants), encoding="utf-8")


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("status", PRACTICE)
def test_exit_status_and_words(folder: Path, status: str) -> None:
    write_practice(folder, status)
    done = CliRunner().invoke(app, ["report", str(folder)])
    assert done.exit_code == (1 if status == "contradicted" else 0), done.output
    assert f"{STATUSES[status].mark} {status}" in done.output or status == "not applicable"
    assert "sgdm not applicable: the learning rate 0.2 is not admissible" in done.output.replace("\n", " ")
    assert "adam" not in done.output


@pytest.mark.usefixtures("no_figures")
def test_the_page_has_constants_and_verdicts(folder: Path) -> None:
    write_practice(folder, "consistent")
    _, page = page_of(folder)
    assert "Theorems in practice" in page.text
    for text in ("6.54", "the largest of 2 eigenvalues", "For a reason.", "1 consistent", "nothing contradicted"):
        assert text in page.text
    assert read(folder).training.verdicts[0]["theorem"] == "sgdm_sharp"  # the most urgent first
