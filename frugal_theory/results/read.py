"""Reading a results folder: evidence, bounds, verdicts and training metrics, whatever of them is there."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frugal_theory.config import Experiment
from frugal_theory.config.load import load
from frugal_theory.verdicts.status import STATUSES

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Results", "read", "to_number"]

EVIDENCE = ("cell", "source", "metric", "step", "mean", "lower", "upper", "confidence", "trials")
LADDER = ("cell", "rung", "step", "value", "lower", "upper")
BOUNDS = ("cell", "theorem", "metric", "step", "bound", "explicit")


@dataclass(frozen=True)
class Results:
    """What a results folder holds. A part that is missing is empty; ``summary`` is None while training is unfinished.

    ``verdicts`` are the records of verdicts.json, the most urgent status first, each with its cell's "label".
    ``training`` has one row a logged step, ``validation`` one row an evaluation; the last word on a step counts.
    ``ladders`` are the records of ladder.json and ``ladder_curves`` the rows of ladder.parquet; ``ladder_is_older``: they
    are of another version of the experiment.
    """

    name: str
    experiment: Experiment | None
    text: str
    evidence: pd.DataFrame
    bounds: pd.DataFrame
    verdicts: list[dict[str, Any]]
    training: pd.DataFrame
    validation: pd.DataFrame
    summary: dict[str, Any] | None
    ladders: list[dict[str, Any]]
    ladder_curves: pd.DataFrame
    ladder_is_older: bool

    @property
    def has_theory(self) -> bool:
        """Whether there is evidence or a verdict to show."""
        return bool(self.verdicts) or not self.evidence.empty

    @property
    def has_training(self) -> bool:
        """Whether a training run has left anything to show."""
        return self.summary is not None or not self.training.empty or not self.validation.empty

    def cells(self) -> list[str]:
        """Labels of the cells, in the order of the sweep."""
        labels = list(self.evidence["cell"]) + list(self.bounds["cell"])
        return list(dict.fromkeys(labels)) or list(dict.fromkeys(v["label"] for v in self.verdicts))


def read(directory: Path) -> Results:
    """Read ``directory``. Raises :class:`ValueError`, one line, if it holds nothing to report or a file cannot be read."""
    if not directory.is_dir():
        raise ValueError(f"{directory}: no such folder; give a folder of results, such as runs/NAME")
    path = directory / "experiment.toml"
    experiment = load(path) if path.is_file() else None
    training, validation = _metrics(directory / "training" / "metrics.jsonl")
    text = path.read_text(encoding="utf-8") if experiment else ""
    climbed = _json(directory / "ladder.json", dict) if (directory / "ladder.json").is_file() else {}
    results = Results(
        name=experiment.name if experiment else directory.resolve().name,
        experiment=experiment,
        text=text,
        evidence=_table(directory / "theory" / "evidence.parquet", EVIDENCE),
        bounds=_table(directory / "theory" / "bounds.parquet", BOUNDS),
        verdicts=_verdicts(directory / "theory" / "verdicts.json"),
        training=training,
        validation=validation,
        summary=_summary(directory / "training" / "summary.json"),
        ladders=climbed.get("ladders", []),
        ladder_curves=_table(directory / "ladder.parquet", LADDER),
        ladder_is_older=bool(climbed) and climbed.get("experiment") != text,
    )
    if not (results.has_theory or results.has_training or results.ladders):
        raise ValueError(
            f"{directory}: nothing to report; expected theory/verdicts.json, theory/evidence.parquet, ladder.json or "
            "training/metrics.jsonl (run frugal-theory verify or frugal-gpu train first)"
        )
    return results


def to_number(value: object) -> float:
    """A number of a JSON file as a float: None is nan, the texts "inf" and "nan" are what they say."""
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return math.nan


def _table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    import pandas as pd

    if not path.is_file():
        return pd.DataFrame({name: [] for name in columns})
    try:
        frame = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read as Parquet: {str(error).splitlines()[0]}") from None
    needed = [name for name in columns if name not in frame and name not in ("cell", "confidence", "trials")]
    if needed:
        raise ValueError(f"{path}: the column {needed[0]!r} is missing; expected {', '.join(columns)}")
    return frame if "cell" in frame else frame.assign(cell="")


def _json(path: Path, kind: type[Any]) -> Any:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read as JSON: {error}") from None
    if not isinstance(value, kind):
        raise ValueError(f"{path}: expected a JSON {'list' if kind is list else 'object'}, found {type(value).__name__}")
    return value


def _summary(path: Path) -> dict[str, Any] | None:
    return _json(path, dict) if path.is_file() else None


def _verdicts(path: Path) -> list[dict[str, Any]]:
    """The records, each with its label, sorted by urgency; within a status they keep their order."""
    if not path.is_file():
        return []
    records = [{**record, "label": _label(record)} for record in _json(path, list)]
    order = {status: rank for rank, status in enumerate(STATUSES)}
    return sorted(records, key=lambda record: order.get(record.get("status", ""), -1))


def _label(record: dict[str, Any]) -> str:
    if isinstance(record.get("label"), str):
        return str(record["label"])
    settings = record.get("cell") or {}
    return ", ".join(str(v) if k == "case" else f"{k.split('.')[-1]} = {v}" for k, v in settings.items())


def _metrics(path: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
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
