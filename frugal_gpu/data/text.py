"""Text to train on: an iterator of documents for every kind of ``data.source``.

Nothing is read before the first document is asked for. :func:`fingerprint` names a text without reading it through,
so that tokenised data can be found again.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import logging
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from frugal_theory.config import Data
from frugal_theory.config.load import ExperimentError

__all__ = ["check_source", "documents", "fingerprint", "in_validation", "python_docs"]

FORMATS = {".txt": "text", ".jsonl": "json", ".parquet": "parquet"}
"""File endings and the ``datasets`` builders that read them."""

SKIPPED = {"test", "tests", "site-packages", "encodings", "idlelib", "turtledemo", "lib2to3", "pydoc_data", "__pycache__"}
"""Folders of the standard library with little documentation, or whose presence depends on the installation."""

DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)

C4 = "allenai/c4"


def check_source(data: Data) -> None:
    """Raise :class:`ExperimentError` if ``data.source`` or ``data.tokenizer`` names nothing that can be read."""
    if data.source not in ("python-docs", "c4"):
        _files(data.source)
    if data.tokenizer is not None and not Path(data.tokenizer).is_file():
        raise ExperimentError(f'data.tokenizer = "{data.tokenizer}": no such file; allowed: the path of a tokenizer.json')


def documents(data: Data, seed: int, part: str) -> Iterator[str]:
    """The documents of one ``part``, "train" or "validation", in a fixed order.

    C4 comes with its own validation part; any other text is split by :func:`in_validation`.
    """
    if data.source == "c4":
        yield from _c4(part)
        return
    texts = python_docs() if data.source == "python-docs" else _local(data)
    for text in texts:
        if in_validation(text, seed, data.validation_fraction) == (part == "validation"):
            yield text


def in_validation(text: str, seed: int, fraction: float) -> bool:
    """Whether a document belongs to validation: a hash of (seed, text), so that equal documents are on one side."""
    digest = hashlib.blake2b(f"{seed}:{text}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") < fraction * 2**64


def fingerprint(data: Data) -> str:
    """A short text that differs when the documents do: Python's version, or a hash of the local files."""
    if data.source == "c4":
        return C4
    if data.source == "python-docs":
        return f"python-docs {sys.version}"
    digest = hashlib.blake2b(digest_size=16)
    for path in _files(data.source):
        digest.update(path.name.encode())
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return f"{data.text_field} {digest.hexdigest()}"


# --- Python's own documentation -------------------------------------------------------------------------


@functools.cache
def python_docs() -> tuple[str, ...]:
    """The language reference that ``help()`` shows, then the docstrings of each standard module.

    Modules are parsed, never run. One document a topic and one a module, in alphabetical order; a docstring that was
    seen before is left out. The text is that of the running Python, so it differs a little from version to version.
    """
    texts = list(_topics())
    root = Path(sysconfig.get_paths()["stdlib"])
    seen: set[str] = set()
    for path in sorted(root.rglob("*.py")):
        if SKIPPED.isdisjoint(path.relative_to(root).parts):
            fresh = [text for text in _docstrings(path) if text not in seen]
            seen.update(fresh)
            if fresh:
                texts.append("\n\n".join(dict.fromkeys(fresh)))
    return tuple(texts)


def _topics() -> Iterator[str]:
    try:
        from pydoc_data.topics import topics
    except ImportError:  # some distributions leave it out
        return
    for name in sorted(topics):
        yield topics[name]


def _docstrings(path: Path) -> list[str]:
    """Every docstring of a source file; empty if it cannot be parsed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in old modules
            tree = ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return []
    return [text for node in ast.walk(tree) if isinstance(node, DOCUMENTED) and (text := ast.get_docstring(node))]


# --- local files and C4 -----------------------------------------------------------------------------------


def _files(source: str) -> list[Path]:
    """The files that a path stands for, sorted; all of one format."""
    path = Path(source)
    endings = ", ".join(FORMATS)
    if not path.exists():
        raise ExperimentError(
            f'data.source = "{source}": no such file; allowed: "python-docs", "c4", a path ending in {endings}, '
            "or a folder of such files"
        )
    files = sorted(p for p in path.rglob("*") if p.suffix in FORMATS) if path.is_dir() else [path]
    kinds = {file.suffix for file in files}
    if len(kinds) != 1 or not kinds <= set(FORMATS):
        found = ", ".join(sorted(kinds)) or "no such file"
        raise ExperimentError(f'data.source = "{source}": found {found}; allowed: files of one kind, {endings}')
    return files


def _local(data: Data) -> Iterator[str]:
    """Documents of local files. In a .txt file a blank line ends a document."""
    from datasets import load_dataset

    files = _files(data.source)
    kind = FORMATS[files[0].suffix]
    options: dict[str, Any] = {"sample_by": "paragraph"} if kind == "text" else {}
    field = "text" if kind == "text" else data.text_field
    try:
        rows = load_dataset(kind, data_files=[str(f) for f in files], split="train", streaming=True, **options)
        yield from _field(rows, field, data.source)
    except ExperimentError:
        raise
    except Exception as error:  # datasets wraps what its readers raise in classes of its own
        reason = " ".join(str(error.__cause__ or error).split())
        raise ExperimentError(f'data.source = "{data.source}": cannot be read as {kind}: {reason}') from error


def _c4(part: str) -> Iterator[str]:
    """C4's English part, streamed."""
    from datasets import load_dataset

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it would announce each attempt to reach the network
    try:
        yield from _field(load_dataset(C4, "en", split=part, streaming=True), "text", "c4")
    except ExperimentError:
        raise
    except Exception as error:  # whatever the hub's client raises when there is no network
        reason = " ".join(str(error).split())[:200]
        raise ExperimentError(
            f'data.source = "c4": {C4} cannot be streamed ({type(error).__name__}: {reason}); it needs a network; '
            'allowed without one: "python-docs" or a local file'
        ) from error


def _field(rows: Any, field: str, source: str) -> Iterator[str]:
    for row in rows:
        if not isinstance(row.get(field), str):
            texts = ", ".join(f'"{name}"' for name, value in row.items() if isinstance(value, str)) or "none"
            raise ExperimentError(f'data.text_field = "{field}": {source} has no such text; fields that hold text: {texts}')
        if row[field].strip():
            yield row[field]
