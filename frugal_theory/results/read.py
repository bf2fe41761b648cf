"""Reading a run's folder: evidence, bounds, verdicts, training, ladders and studies, whatever of them is there."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frugal_theory.config import Experiment
from frugal_theory.config.cells import label
from frugal_theory.config.load import load
from frugal_theory.results.open import open_json, open_parquet
from frugal_theory.results.schema import BOUNDS, EVIDENCE, EXPERIMENT, LADDER, LADDERS, VERDICTS, File
from frugal_theory.results.studies import StudyResult, read_studies
from frugal_theory.results.training import TrainingRun, read_training, read_training_cells
from frugal_theory.verdicts.status import STATUSES

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Results", "read", "to_number"]


@dataclass(frozen=True)
class Results:
    """What a run's folder holds. A part that is missing is empty.

    ``verdicts`` are the records of verdicts.json, the most urgent status first, each with its cell's "label".
    ``training`` is the run in training/ itself, ``training_cells`` are those of a sweep. ``ladders`` are the records of
    ladder.json and ``ladder_curves`` the rows of ladder.parquet; ``ladder_is_older``: they are of another version of the
    experiment.
    """

    name: str
    experiment: Experiment | None
    text: str
    evidence: pd.DataFrame
    bounds: pd.DataFrame
    verdicts: list[dict[str, Any]]
    training: TrainingRun
    training_cells: list[TrainingRun]
    ladders: list[dict[str, Any]]
    ladder_curves: pd.DataFrame
    ladder_is_older: bool
    studies: list[StudyResult]

    @property
    def has_theory(self) -> bool:
        """Whether there is evidence or a verdict to show."""
        return bool(self.verdicts) or not self.evidence.empty

    def cells(self) -> list[str]:
        """Labels of the cells, in the order of the sweep."""
        labels = list(self.evidence["cell"]) + list(self.bounds["cell"])
        return list(dict.fromkeys(labels)) or list(dict.fromkeys(v["label"] for v in self.verdicts))


def read(directory: Path) -> Results:
    """Read ``directory``. Raises :class:`ValueError`, one line, if it holds nothing to report or a file cannot be read."""
    if not directory.is_dir():
        raise ValueError(f"{directory}: no such folder; give a folder of results, such as runs/NAME")
    path = directory / EXPERIMENT
    experiment = load(path) if path.is_file() else None
    text = path.read_text(encoding="utf-8") if experiment else ""
    climbed = open_json(directory / LADDERS.path, dict) if (directory / LADDERS.path).is_file() else {}
    results = Results(
        name=experiment.name if experiment else directory.resolve().name,
        experiment=experiment,
        text=text,
        evidence=_table(directory, EVIDENCE),
        bounds=_table(directory, BOUNDS),
        verdicts=_verdicts(directory / VERDICTS.path),
        training=read_training(directory / "training"),
        training_cells=read_training_cells(directory / "training"),
        ladders=climbed.get("ladders", []),
        ladder_curves=_table(directory, LADDER),
        ladder_is_older=bool(climbed) and climbed.get("experiment") != text,
        studies=read_studies(directory),
    )
    practice = results.training.is_there or results.training_cells
    if not (results.has_theory or practice or results.ladders or results.studies):
        raise ValueError(
            f"{directory}: nothing to report; expected theory/verdicts.json, theory/evidence.parquet, ladder.json, study.json "
            "or training/metrics.jsonl (run frugal-theory verify or frugal-gpu train first)"
        )
    return results


def to_number(value: object) -> float:
    """A number of a JSON file as a float: None is nan, the texts "inf" and "nan" are what they say."""
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return math.nan


def _table(directory: Path, file: File) -> pd.DataFrame:
    """The rows of a Parquet file; none if it is not there. Older ones have no column ``cell``."""
    import pandas as pd

    path = directory / file.path
    if not path.is_file():
        return pd.DataFrame({name: [] for name in file.columns})
    frame = open_parquet(path, file)
    return frame if "cell" in frame else frame.assign(cell="")


def _verdicts(path: Path) -> list[dict[str, Any]]:
    """The records, each with its label, sorted by urgency; within a status they keep their order."""
    if not path.is_file():
        return []
    records = [{**record, "label": record.get("label") or label(record.get("cell") or {})} for record in open_json(path, list)]
    order = {status: rank for rank, status in enumerate(STATUSES)}
    return sorted(records, key=lambda record: order.get(record.get("status", ""), -1))
