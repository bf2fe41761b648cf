"""metrics.jsonl: one JSON object a line, and the evidence that it holds.

A training line has step, loss, learning_rate, squared_gradient_norm (of the mini-batch gradient, before clipping), density (of
the split parameters), tokens (seen so far), seconds (of training so far), tokens_per_second (of this step) and
peak_memory_bytes (so far); a validation line has step, validation_loss, and validation_perplexity or a task's metrics. The file
grows while the run goes on; a run is complete when summary.json stands beside it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from frugal_gpu.train.board import Board
from frugal_theory.config.load import ExperimentError
from frugal_theory.evidence.evidence import Evidence
from frugal_theory.results.files import ResultsError, write_text

__all__ = ["Log", "read_metrics", "training_evidence"]

Line = dict[str, Any]


class Log:
    """The growing file. It begins with ``before``, the lines that the checkpoint holds from which the run goes on; whatever
    else a run that died has left is dropped, and logged again as its steps are repeated."""

    def __init__(self, path: Path, before: str = "", boards: Sequence[Board] = ()) -> None:
        self.path, self.boards = path, boards
        write_text(path, before)
        self._file = path.open("a", encoding="utf-8")

    def add(self, line: Line) -> None:
        """Append one line."""
        self._file.write(json.dumps(line, allow_nan=False) + "\n")
        for board in self.boards:
            board.add(line)

    def flush(self) -> None:
        """Make sure that the lines so far are on disk, as a checkpoint needs. Raises :class:`ResultsError`."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise ResultsError(f"{self.path}: cannot be written: {error.strerror}") from error

    def close(self) -> None:
        """Close the file; what a full disk did not take is given up, for :meth:`flush` has complained already."""
        with suppress(OSError):
            self._file.close()
        for board in self.boards:
            board.close()


def read_metrics(path: Path) -> list[Line]:
    """The lines of a metrics file; a last line that was cut off in the middle is left out.

    Raises :class:`ExperimentError` for a line before it that is none.
    """
    if not path.exists():
        return []
    found: list[Line] = []
    for number, text in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        try:
            line = json.loads(text)
            found.append({"step": int(line["step"]), **line})
        except (ValueError, TypeError, KeyError):
            raise ExperimentError(f"{path}: line {number} is damaged; --resume writes the file anew") from None
    return found


def training_evidence(metrics: Path | Iterable[Line]) -> Evidence:
    """The running average (1/k) Σ_{i≤k} ‖g̃ⁱ‖² of the mini-batch gradients of one training run.

    ``metrics`` is a metrics file or its lines. This is one run, so lower = mean = upper says nothing about other
    seeds; and ‖g̃‖² contains the mini-batch noise, E‖g̃‖² = ‖∇f‖² + variance, so it bounds ‖∇f‖² from above in
    expectation. The learning rate of a training run usually varies, which most theorems exclude. It ends before the first step
    that was left out, if one was.
    """
    lines = read_metrics(metrics) if isinstance(metrics, Path) else list(metrics)
    left_out = min((line["step"] for line in lines if "skipped" in line), default=None)
    lines = lines if left_out is None else [line for line in lines if line["step"] < left_out]
    values = {line["step"]: line["squared_gradient_norm"] for line in lines if "squared_gradient_norm" in line}
    steps = np.array(sorted(values), dtype=np.int64)
    if not np.array_equal(steps, np.arange(1, len(steps) + 1)) or not len(steps):
        raise ValueError("metrics need one training line for each of the steps 1 to K, and K >= 1")
    mean = np.cumsum([values[step] for step in steps.tolist()]) / steps
    return Evidence(
        source="training",
        steps=steps,
        mean=mean,
        lower=mean,
        upper=mean,
        notes=(
            "squared norms are of mini-batch gradients and contain their noise",
            "one run: no interval over seeds",
            *(() if left_out is None else (f"step {left_out} was left out, as it was not finite: this ends before it",)),
        ),
    )
