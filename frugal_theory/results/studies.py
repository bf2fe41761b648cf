"""Reading what studies left: their question, their answer, their table and their figures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from frugal_theory.results.open import open_json
from frugal_theory.results.schema import LADDERS, STUDY

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["StudyResult", "read_studies"]


@dataclass(frozen=True)
class StudyResult:
    """A study that has been answered. ``status``: "yes", "no" or "open". ``table`` is empty where there is none."""

    name: str
    question: str
    answer: str
    status: str
    table: pd.DataFrame
    figures: tuple[Path, ...]


def read_studies(directory: Path) -> list[StudyResult]:
    """The study whose results lie in ``directory`` itself, then those in its ``studies/``, by name.

    Not the ladder where its own file is there: that is read, and shown, as what it is.

    Raises ValueError, one line, for a study.json that cannot be read or lacks a key.
    """
    found = [directory / STUDY.path, *sorted((directory / "studies").glob(f"*/{STUDY.path}"))]
    apart = {"ladder"} if (directory / LADDERS.path).is_file() else set()
    return [_study(path) for path in found if path.is_file() and path.parent.name not in apart]


def _study(path: Path) -> StudyResult:
    record = open_json(path, dict)
    missing = [key for key in STUDY.needed if key not in record]
    if missing:
        raise ValueError(f"{path}: the key {missing[0]!r} is missing; expected {', '.join(STUDY.columns)}")
    facts = {key: str(record[key]) for key in STUDY.columns}
    return StudyResult(**facts, table=_table(path.with_name("table.csv")), figures=_figures(path.with_name("figures")))


def _table(path: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        return pd.read_csv(path) if path.is_file() else pd.DataFrame()
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read as CSV: {str(error).splitlines()[0]}") from None


def _figures(folder: Path) -> tuple[Path, ...]:
    return tuple(sorted(folder.glob("*.png")))
