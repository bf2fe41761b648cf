"""TensorBoard: the numbers of metrics.jsonl as scalars, under ``training/tensorboard``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from frugal_theory.config.load import ExperimentError

__all__ = ["Board"]


class Board:
    """Writes every line that is logged. What an earlier process wrote after ``step`` is hidden."""

    def __init__(self, folder: Path, step: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise ExperimentError("training.tensorboard: needs tensorboard; pip install tensorboard") from None
        self._writer: Any = SummaryWriter(str(folder), purge_step=step + 1)

    def add(self, line: dict[str, Any]) -> None:
        """The numbers of a line, and those of its probes."""
        for key, value in {**line, **line.get("probes", {})}.items():
            if isinstance(value, int | float) and not isinstance(value, bool) and key != "step":
                self._writer.add_scalar(key, value, line["step"])

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()
