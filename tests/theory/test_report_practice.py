"""Practice on the page: the training curve, the gradient norm, what a run came to."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from frugal_theory.report import write_report
from frugal_theory.report.figures import draw
from frugal_theory.report.words import training_sentence
from frugal_theory.results.read import read
from tests.theory.results_folders import (
    page_of,
    write_training,
)
from tests.tolerances import ROUNDING


def test_the_evidence_of_training_is_read_and_not_computed_again(folder: Path) -> None:
    """The line drawn is training/evidence.parquet, whatever the log says; until it is there, the log's running average."""
    metrics = pytest.importorskip("frugal_gpu.train.log", reason="needs the extra gpu")
    write_training(folder)
    evidence = metrics.training_evidence(folder / "training" / "metrics.jsonl")

    def line() -> pd.DataFrame:
        gradient = draw(read(folder)).practice[0]
        return gradient.data[gradient.data["series"] == "running average"]

    before = line()
    np.testing.assert_allclose(before["value"], evidence.mean[before["step"].to_numpy(dtype=int) - 1], rtol=ROUNDING, atol=0)
    evidence.frame().assign(mean=3 * evidence.mean).to_parquet(folder / "training" / "evidence.parquet")
    np.testing.assert_allclose(line()["value"], 3 * before["value"], rtol=ROUNDING, atol=0)
    pd.DataFrame({"step": [1]}).to_parquet(folder / "training" / "evidence.parquet")
    with pytest.raises(ValueError, match=r"evidence.parquet: the column 'source' is missing"):
        read(folder)


@pytest.mark.parametrize(
    ("until", "sentence"),
    [
        (None, "Validation perplexity 61.2 against 389 for unigrams"),
        (340, "Training is in progress or was interrupted at step 340 of 1,000; validation perplexity"),
        (1, "Training is in progress or was interrupted at step 1 of 1,000"),
        (0, "Training is in progress or was interrupted at step 0 of 1,000"),
    ],
)
def test_training_alone(folder: Path, until: int | None, sentence: str) -> None:
    write_training(folder, until=until)
    _, page = page_of(folder)
    assert sentence in page.text
    assert "verdict" not in page.text.split("experiment.toml")[0].replace("all verdicts together", "")
    assert not (folder / "theory").exists()


def test_a_line_cut_short_is_passed_over_and_a_broken_one_is_not(folder: Path) -> None:
    write_training(folder, until=100)
    path = folder / "training" / "metrics.jsonl"
    path.write_text(path.read_text() + '{"step": 101, "lo')
    assert "interrupted at step 100" in training_sentence(read(folder).training)
    path.write_text("{oops\n" + path.read_text())
    with pytest.raises(ValueError, match=r"metrics.jsonl: line 1 is not JSON"):
        read(folder)


def test_a_repeated_step_counts_once_with_its_last_value(folder: Path) -> None:
    (folder / "training").mkdir()
    lines = [{"step": step, "loss": loss} for step, loss in ((1, 5.0), (2, 4.0), (3, 3.5), (2, 4.5), (3, 3.0))]
    (folder / "training" / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert read(folder).training.steps[["step", "loss"]].to_numpy().tolist() == [[1, 5.0], [2, 4.5], [3, 3.0]]


@pytest.mark.usefixtures("no_figures")
def test_a_summary_may_say_little(folder: Path) -> None:
    write_training(folder)
    (folder / "training" / "summary.json").write_text('{"steps": 1000}')
    assert training_sentence(read(folder).training) == "1,000 steps"
    write_report(folder)


def test_the_runs_of_a_sweep_are_listed(folder: Path) -> None:
    write_training(folder / "density-0.5")
    write_training(folder / "density-1", until=340)
    for name in ("density-0.5", "density-1"):
        (folder / "training" / name).mkdir(parents=True)
        for path in (folder / name / "training").iterdir():
            path.rename(folder / "training" / name / path.name)
    (folder / "training" / "figures").mkdir()
    _, page = page_of(folder)
    assert [run.name for run in read(folder).training_cells] == ["density-0.5", "density-1"]
    assert "density-0.5" in page.text
    assert "61.21" in page.text
    assert "unfinished, step 340" in page.text
