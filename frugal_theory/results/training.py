"""Reading what a training run left: its log, its evidence and its summary."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frugal_theory.config import Experiment
from frugal_theory.config.load import load
from frugal_theory.results.open import open_json, open_parquet
from frugal_theory.results.schema import CONSTANTS, DIVERGED, EXPERIMENT, METRICS, PRACTICE_VERDICTS, SUMMARY, TRAINING_EVIDENCE
from frugal_theory.verdicts.status import STATUSES

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["TrainingRun", "read_training", "read_training_cells"]

LOG, ENDING, AVERAGES, MEASURED, JUDGED, FAILED = (
    Path(file.path).name for file in (METRICS, SUMMARY, TRAINING_EVIDENCE, CONSTANTS, PRACTICE_VERDICTS, DIVERGED)
)

PROBED = "squared_gradient_norm of f"
"""The metric of the evidence that probes give."""


@dataclass(frozen=True)
class TrainingRun:
    """A training run; ``summary`` is None while it is unfinished.

    ``steps`` has one row a logged step, ``validation`` one row an evaluation; the last word on a step counts. ``evidence``
    has one row a step: ``mean``, the squared gradient norm of the mini-batches averaged up to it; ``probed``, the same of f as
    probes measured it, with its interval. ``verdicts`` are the records of verdicts.json, the most urgent first, ``constants``
    what constants.json says; both are empty without probes. ``diverged`` says what was not finite, in a run that ended so;
    ``experiment`` is the run's own, None where it left none.
    """

    name: str
    steps: pd.DataFrame
    validation: pd.DataFrame
    evidence: pd.DataFrame
    summary: dict[str, Any] | None
    probed: pd.DataFrame | None = None
    verdicts: list[dict[str, Any]] = field(default_factory=list)
    constants: dict[str, Any] = field(default_factory=dict)
    diverged: str | None = None
    experiment: Experiment | None = None

    @property
    def is_there(self) -> bool:
        """Whether the run has left anything to show."""
        return self.summary is not None or self.diverged is not None or not self.steps.empty or not self.validation.empty

    @property
    def unfinished(self) -> bool:
        """Whether the run goes on, or was interrupted."""
        return self.is_there and self.summary is None and self.diverged is None


def read_training(folder: Path) -> TrainingRun:
    """The run whose log is in ``folder``; empty if there is none. Raises ValueError, one line, for a damaged file."""
    steps, validation = _log(folder / LOG)
    summary = open_json(folder / ENDING, dict) if (folder / ENDING).is_file() else None
    averages = _evidence(folder / AVERAGES, steps)
    probed = averages[averages["metric"] == PROBED] if "metric" in averages else averages.head(0)
    ours = averages[averages["metric"] != PROBED] if "metric" in averages else averages
    constants = open_json(folder / MEASURED, dict) if (folder / MEASURED).is_file() else {}
    failed = open_json(folder / FAILED, dict) if summary is None and (folder / FAILED).is_file() else {}
    return TrainingRun(
        folder.name,
        steps,
        validation,
        ours,
        summary,
        probed,
        verdicts=_verdicts(folder / JUDGED),
        constants=constants,
        diverged=str(failed["found"]) if "found" in failed else None,
        experiment=load(folder / EXPERIMENT) if (folder / EXPERIMENT).is_file() else None,
    )


def read_training_cells(folder: Path) -> list[TrainingRun]:
    """The runs of a sweep, each in a folder of its own, by name; a folder without a log or a summary is none."""
    logs = {path.parent for file in (LOG, ENDING, FAILED) for path in folder.glob(f"*/{file}")}
    return [read_training(cell) for cell in sorted(logs)]


def _verdicts(path: Path) -> list[dict[str, Any]]:
    """The records, sorted by urgency; within a status they keep their order."""
    if not path.is_file():
        return []
    order = {status: rank for rank, status in enumerate(STATUSES)}
    records = [{**record, "label": record.get("label") or ""} for record in open_json(path, list)]
    return sorted(records, key=lambda record: order.get(record.get("status", ""), -1))


def _evidence(path: Path, steps: pd.DataFrame) -> pd.DataFrame:
    """The run's evidence; it is written when the run is complete, and until then made of the steps so far."""
    import pandas as pd

    if path.is_file():
        return open_parquet(path, TRAINING_EVIDENCE)
    if "squared_gradient_norm" not in steps:
        return pd.DataFrame({"step": [], "mean": []})
    rows = steps.dropna(subset="squared_gradient_norm")
    return pd.DataFrame({"step": rows["step"], "mean": rows["squared_gradient_norm"].expanding().mean()})


def _log(path: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training steps and evaluations. A last line cut short by an interruption is passed over."""
    import pandas as pd

    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line) if line.strip() else {}
        except ValueError:
            if number < len(lines):
                raise ValueError(f"{path}: line {number} is not JSON") from None
            row = {}
        if isinstance(row, dict) and "step" in row:
            rows.append(row)

    def table(key: str) -> pd.DataFrame:
        chosen = [row for row in rows if row.get(key) is not None]
        frame = pd.DataFrame(chosen) if chosen else pd.DataFrame({"step": [], key: []})
        return frame.drop_duplicates("step", keep="last").sort_values("step").reset_index(drop=True)

    return table("loss"), table("validation_loss")
