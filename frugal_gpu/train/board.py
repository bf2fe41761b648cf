"""Where others watch: the numbers of metrics.jsonl for TensorBoard (``training/tensorboard``) and for Weights & Biases."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from frugal_theory.config import Training
from frugal_theory.config.load import ExperimentError
from frugal_theory.results.files import write_text

__all__ = ["Board", "TensorBoard", "WeightsAndBiases", "boards"]

ID = "wandb-id"
"""The file that says which run of Weights & Biases a folder is, so that a resumed one goes on there."""


class Board(Protocol):
    """Whoever is told every line that is logged."""

    def add(self, line: dict[str, Any]) -> None:
        """Take the numbers of a line."""

    def close(self) -> None:
        """There is no more."""


class TensorBoard:
    """Writes every line that is logged. What an earlier process wrote after ``step`` is hidden."""

    def __init__(self, folder: Path, step: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise ExperimentError("training.tensorboard: needs tensorboard; pip install tensorboard") from None
        self._writer: Any = SummaryWriter(str(folder), purge_step=step + 1)

    def add(self, line: dict[str, Any]) -> None:
        """The numbers of a line, and those of its probes."""
        for key, value in _numbers(line):
            self._writer.add_scalar(key, value, line["step"])

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


class WeightsAndBiases:
    """Logs every line to the project "frugal-lab", or as the environment variables of Weights & Biases have it (WANDB_PROJECT;
    WANDB_MODE=offline keeps it in the run's folder). ``settings``: the experiment's. A folder is one run there, resumed or not.
    """

    def __init__(self, folder: Path, name: str, settings: dict[str, Any]) -> None:
        try:
            import wandb
        except ImportError:
            raise ExperimentError("training.wandb: needs wandb; pip install wandb") from None
        path = folder / ID
        if not path.is_file():
            write_text(path, secrets.token_hex(8))
        own = path.read_text(encoding="utf-8").strip()
        try:
            self._run: Any = wandb.init(
                project=os.environ.get("WANDB_PROJECT") or "frugal-lab",
                name=name,
                id=own,
                resume="allow",
                dir=str(folder),
                config=settings,
            )
        except Exception as error:  # wandb has many, of the network and of keys
            reason = " ".join(str(error).split())[:200]
            raise ExperimentError(f"training.wandb: {reason}; WANDB_MODE=offline needs neither network nor key") from None

    def add(self, line: dict[str, Any]) -> None:
        """The numbers of a line, and those of its probes."""
        self._run.log(dict(_numbers(line)), step=line["step"])

    def close(self) -> None:
        """Send what is left."""
        self._run.finish()


def boards(training: Training, folder: Path, step: int, name: str, settings: dict[str, Any]) -> list[Board]:
    """What ``[training]`` asks for, of a run with ``step`` steps behind it. Raises ExperimentError for what is not there."""
    found: list[Board] = [TensorBoard(folder / "tensorboard", step)] if training.tensorboard else []
    return [*found, WeightsAndBiases(folder, name, settings)] if training.wandb else found


def _numbers(line: dict[str, Any]) -> Iterator[tuple[str, float]]:
    for key, value in {**line, **line.get("probes", {})}.items():
        if isinstance(value, int | float) and not isinstance(value, bool) and key != "step":
            yield key, value
