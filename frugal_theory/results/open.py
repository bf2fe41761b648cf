"""Opening single files of results: what is wrong with one is said in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frugal_theory.results.schema import File

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["open_json", "open_parquet"]


def open_parquet(path: Path, file: File) -> pd.DataFrame:
    """The table at ``path``. Raises ValueError, one line, if it is damaged or lacks a column that is needed."""
    import pandas as pd

    try:
        frame = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read as Parquet: {str(error).splitlines()[0]}") from None
    missing = [name for name in file.needed if name not in frame]
    if missing:
        raise ValueError(f"{path}: the column {missing[0]!r} is missing; expected {', '.join(file.columns)}")
    return frame


def open_json(path: Path, kind: type[Any]) -> Any:
    """What is at ``path``, a list or a dict as ``kind`` says. Raises ValueError, one line, if it is something else."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read as JSON: {error}") from None
    if not isinstance(value, kind):
        raise ValueError(f"{path}: expected a JSON {'list' if kind is list else 'object'}, found {type(value).__name__}")
    return value
