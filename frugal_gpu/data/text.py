"""Text to train on: an iterator of documents for every kind of ``data.source``.

Nothing is read before the first document is asked for. :func:`fingerprint` names a text without reading it through,
so that tokenised data can be found again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from frugal_gpu.data import files
from frugal_gpu.data.source import Source
from frugal_theory.config import Data
from frugal_theory.config.load import ExperimentError
from frugal_theory.config.registry import SOURCES

__all__ = ["check_source", "documents", "fingerprint", "in_validation", "source_of"]


def source_of(data: Data) -> Source:
    """The source that ``data.source`` names, or the local files at that path."""
    found: Source = SOURCES.get(data.source, files.SOURCE)
    return found


def check_source(data: Data) -> None:
    """Raise :class:`ExperimentError` if ``data.source`` or ``data.tokenizer`` names nothing that can be read."""
    if data.source not in SOURCES:
        files.files(data.source)
    if data.tokenizer is not None and not Path(data.tokenizer).is_file():
        raise ExperimentError(f'data.tokenizer = "{data.tokenizer}": no such file; allowed: the path of a tokenizer.json')


def documents(data: Data, seed: int, part: str) -> Iterator[str]:
    """The documents of one ``part``, "train" or "validation", in a fixed order.

    A source without a validation part of its own is split by :func:`in_validation`.
    """
    source = source_of(data)
    for text in source.documents(data, part):
        if source.validation or in_validation(text, seed, data.validation_fraction) == (part == "validation"):
            yield text


def in_validation(text: str, seed: int, fraction: float) -> bool:
    """Whether a document belongs to validation: a hash of (seed, text), so that equal documents are on one side."""
    digest = hashlib.blake2b(f"{seed}:{text}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") < fraction * 2**64


def fingerprint(data: Data) -> str:
    """A short text that differs when the documents do: Python's version, or a hash of the local files."""
    return source_of(data).fingerprint(data)
