"""What a source of text offers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from frugal_theory.config import Data
from frugal_theory.config.load import ExperimentError
from frugal_theory.config.registry import SOURCES

__all__ = ["Source", "add_source", "texts"]


@dataclass(frozen=True)
class Source:
    """Documents, in a fixed order, and a name that differs when they do.

    ``documents(data, part)``: those of the part "train" or "validation" if the source has a ``validation`` part of its own;
    else all of them, whatever the part, and they are split by a hash. ``fingerprint(data)``: a short text. An ``endless``
    source is read only as far as a run needs. Raises ExperimentError where it cannot be read.
    """

    documents: Callable[[Data, str], Iterator[str]]
    fingerprint: Callable[[Data], str]
    validation: bool = False
    endless: bool = False


def add_source(name: str, source: Source) -> Source:
    """Add a source that ``data.source`` may name. Raises ValueError if the name is taken."""
    added: Source = SOURCES.add(name, source)
    return added


def texts(rows: Any, field: str, source: str) -> Iterator[str]:
    """The text of every row that has one, blank ones left out. Raises ExperimentError for a row without that field."""
    for row in rows:
        if not isinstance(row.get(field), str):
            texts = ", ".join(f'"{name}"' for name, value in row.items() if isinstance(value, str)) or "none"
            raise ExperimentError(f'data.text_field = "{field}": {source} has no such text; fields that hold text: {texts}')
        if row[field].strip():
            yield row[field]
