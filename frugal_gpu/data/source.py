"""What a source of text offers."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from frugal_theory.config import Data
from frugal_theory.config.registry import SOURCES

__all__ = ["Bad", "Counted", "Reader", "Source", "add_source", "notice", "row_text"]


@dataclass(frozen=True)
class Bad:
    """What should have been a document and is none, in words that name its place."""

    reason: str


class Reader(Protocol):
    """An iterator of documents that can be taken up again: a reader opened at ``state()`` yields what would have followed."""

    def __iter__(self) -> Iterator[str | Bad]: ...
    def __next__(self) -> str | Bad: ...
    def state(self) -> Any:
        """Where it stands, as plain values."""


class Counted:
    """A reader of any documents: its state is how many it has yielded, and it is taken up by reading over those."""

    def __init__(self, documents: Iterable[str | Bad], state: int | None = None) -> None:
        self._count = state or 0
        self._documents = itertools.islice(documents, self._count, None)

    def __iter__(self) -> Iterator[str | Bad]:
        return self

    def __next__(self) -> str | Bad:
        document = next(self._documents)
        self._count += 1
        return document

    def state(self) -> int:
        """How many documents were yielded."""
        return self._count


@dataclass(frozen=True)
class Source:
    """Documents, in a fixed order, and a name that differs when they do.

    ``documents(data, part)``: those of the part "train" or "validation" if the source has a ``validation`` part of its own;
    else all of them, whatever the part, and they are split by a hash. What is no document is yielded as :class:`Bad`.
    ``fingerprint(data)``: a short text, of the content. An ``endless`` source is read only as far as a run needs, its
    validation part up to ``validation_tokens``. ``reader(data, part, state)`` takes such a source up where it was left.
    ``tokenizer(data)``: the one that belongs to the text, if any, with the separator as token 0, and ``ids(document)`` what it
    makes of one, if that is found faster. ``entropy_rate(data)``: nats a token, where it is known. Raises ExperimentError where
    the text cannot be read.
    """

    documents: Callable[[Data, str], Iterator[str | Bad]]
    fingerprint: Callable[[Data], str]
    validation: bool = False
    endless: bool = False
    validation_tokens: int = 10_000_000
    reader: Callable[[Data, str, Any], Reader] | None = None
    tokenizer: Callable[[Data], Any] | None = None
    ids: Callable[[str], list[int]] | None = None
    entropy_rate: Callable[[Data], float] | None = None


def add_source(name: str, source: Source) -> Source:
    """Add a source that ``data.source`` may name. Raises ValueError if the name is taken."""
    added: Source = SOURCES.add(name, source)
    return added


def row_text(row: Any, field: str, place: str) -> str | Bad | None:
    """The text of a row: a mapping with that field, or a string. None for a blank one."""
    text = row.get(field) if isinstance(row, dict) else row
    if isinstance(text, str):
        if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
            return Bad(f"{place} holds half a surrogate pair, which is no character")
        return text if text.strip() else None
    if not isinstance(row, dict):
        return Bad(f"{place} is no object but {type(row).__name__}")
    texts = ", ".join(f'"{name}"' for name, value in row.items() if isinstance(value, str)) or "none"
    what = "null" if text is None else f"of type {type(text).__name__}"
    missing = f'"{field}" is {what}' if field in row else f'has no "{field}"'
    return Bad(f"{place} {missing} (data.text_field); fields that hold text: {texts}")


def notice(line: str) -> None:
    """One line for whoever watches, on stderr."""
    print(line, file=sys.stderr, flush=True)
