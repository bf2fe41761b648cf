"""Text to train on: an iterator of documents for every kind of ``data.source``.

Nothing is read before the first document is asked for. :func:`fingerprint` names a text by its content, so that tokenised
data can be found again, wherever the text has moved.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from frugal_gpu.data import files
from frugal_gpu.data.source import Bad, Counted, Reader, Source
from frugal_theory.config import Data
from frugal_theory.config.load import ExperimentError
from frugal_theory.config.registry import SOURCES

__all__ = [
    "PARTS",
    "check_source",
    "check_tokenizer",
    "documents",
    "fingerprint",
    "in_validation",
    "kept",
    "own_part",
    "reader",
    "source_of",
]

PARTS = ("train", "validation")


def source_of(data: Data) -> Source:
    """The source that ``data.source`` names, or the local files at that path."""
    found: Source = SOURCES.get(data.source, files.SOURCE)
    return found


def check_source(data: Data) -> None:
    """Raise :class:`ExperimentError` if one of the paths of ``[data]`` names nothing that can be read."""
    if data.source not in SOURCES:
        files.files(data.source)
    if data.validation is not None:
        files.files(data.validation, "data.validation")
    check_tokenizer(data)


def check_tokenizer(data: Data) -> None:
    """Raise :class:`ExperimentError` if ``data.tokenizer`` is given and no file."""
    if data.tokenizer is not None and not Path(data.tokenizer).is_file():
        raise ExperimentError(f'data.tokenizer = "{data.tokenizer}": no such file; allowed: the path of a tokenizer.json')


def own_part(data: Data) -> bool:
    """Whether validation is a text of its own, and not a share of the documents."""
    return data.validation is not None or source_of(data).validation


def reader(data: Data, seed: int, part: str, state: Any = None) -> Reader:
    """The documents of one ``part``, "train" or "validation", in a fixed order, from ``state`` on.

    A source without a validation part of its own is split by :func:`in_validation`. A row that is no document is yielded as
    :class:`Bad`; where one text has both parts, in the first of them.
    """
    source = source_of(data)
    if source.reader is not None and not (part == "validation" and data.validation is not None):
        return source.reader(data, part, state)
    return Counted(_part(data, seed, part), state)


def documents(data: Data, seed: int, part: str) -> Iterator[str]:
    """The documents of one part. Raises what :func:`kept` does."""
    return kept(data, reader(data, seed, part))


def kept(data: Data, read: Iterable[str | Bad]) -> Iterator[str]:
    """What is a document. Raises :class:`ExperimentError` for a row that is none unless ``data.bad_rows`` is "skip"."""
    for document in read:
        if isinstance(document, str):
            yield document
        elif data.bad_rows == "refuse":
            raise ExperimentError(f'data.bad_rows = "refuse": {document.reason}; "skip" leaves such rows out')


def _part(data: Data, seed: int, part: str) -> Iterator[str | Bad]:
    source, own = source_of(data), own_part(data)
    if part == "validation" and data.validation is not None:
        yield from files.read_files(data, data.validation, "data.validation")
        return
    for text in source.documents(data, part):
        if own or (
            part == "train"
            if isinstance(text, Bad)
            else in_validation(text, seed, data.validation_fraction) == (part == PARTS[1])
        ):
            yield text


def in_validation(text: str, seed: int, fraction: float) -> bool:
    """Whether a document belongs to validation: a hash of (seed, text), so that equal documents are on one side."""
    digest = hashlib.blake2b(f"{seed}:{text}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") < fraction * 2**64


def fingerprint(data: Data) -> str:
    """A short text that differs when the documents do."""
    found = source_of(data).fingerprint(data)
    return found if data.validation is None else f"{found} + {files.content(data, data.validation, 'data.validation')}"
