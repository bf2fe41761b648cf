"""Local files: a .txt, .jsonl or .parquet file, or a folder of one kind of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from frugal_gpu.data.source import Source, texts
from frugal_theory.config import Data
from frugal_theory.config.load import ExperimentError
from frugal_theory.config.parts import quoted
from frugal_theory.config.registry import SOURCES

__all__ = ["SOURCE", "files"]

FORMATS = {".txt": "text", ".jsonl": "json", ".parquet": "parquet"}
"""File endings and the ``datasets`` builders that read them."""


def files(source: str) -> list[Path]:
    """The files that a path stands for, sorted; all of one format."""
    path = Path(source)
    endings = ", ".join(FORMATS)
    if not path.exists():
        raise ExperimentError(
            f'data.source = "{source}": no such file; allowed: {quoted(SOURCES)}, a path ending in {endings}, '
            "or a folder of such files"
        )
    found = sorted(p for p in path.rglob("*") if p.suffix in FORMATS) if path.is_dir() else [path]
    kinds = {file.suffix for file in found}
    if len(kinds) != 1 or not kinds <= set(FORMATS):
        seen = ", ".join(sorted(kinds)) or "no such file"
        raise ExperimentError(f'data.source = "{source}": found {seen}; allowed: files of one kind, {endings}')
    return found


def _documents(data: Data, _: str) -> Iterator[str]:
    """Documents of local files. In a .txt file a blank line ends a document."""
    from datasets import load_dataset

    found = files(data.source)
    kind = FORMATS[found[0].suffix]
    options: dict[str, Any] = {"sample_by": "paragraph"} if kind == "text" else {}
    field = "text" if kind == "text" else data.text_field
    try:
        rows = load_dataset(kind, data_files=[str(f) for f in found], split="train", streaming=True, **options)
        yield from texts(rows, field, data.source)
    except ExperimentError:
        raise
    except Exception as error:  # datasets wraps what its readers raise in classes of its own
        reason = " ".join(str(error.__cause__ or error).split())
        raise ExperimentError(f'data.source = "{data.source}": cannot be read as {kind}: {reason}') from error


def _fingerprint(data: Data) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for path in files(data.source):
        digest.update(path.name.encode())
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return f"{data.text_field} {digest.hexdigest()}"


SOURCE = Source(_documents, _fingerprint)
