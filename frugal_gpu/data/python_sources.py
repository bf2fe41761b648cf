"""The Python sources of the machine: the standard library and what is installed beside it. Tens of millions of tokens."""

from __future__ import annotations

import functools
import hashlib
import sysconfig
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from frugal_gpu.data.source import Source, notice
from frugal_theory.config import Data
from frugal_theory.config.load import ExperimentError

__all__ = ["SOURCE", "sources"]

INSTALLED = {"site-packages", "dist-packages"}
"""Folders below the standard library that hold what another environment has installed."""


@functools.cache
def sources() -> tuple[tuple[str, Path], ...]:
    """Every .py file that is UTF-8 and not blank, with the hash of its content, ordered by that hash.

    The order depends on no path, and mixes packages: any first part of it is a sample of all. Files of equal content
    are there once. The text is that of the running Python's environment.
    """
    notice("reading the Python sources of this machine")
    paths = sysconfig.get_paths()
    files: list[Path] = []
    for key in ("stdlib", "platstdlib", "purelib", "platlib"):
        root = Path(paths[key])
        below = sorted(root.rglob("*.py"))
        files += [p for p in below if "stdlib" not in key or INSTALLED.isdisjoint(p.relative_to(root).parts)]
    found: dict[str, Path] = {}
    with ThreadPoolExecutor() as pool:  # most of the time is the disk's
        for path, name in zip(files, pool.map(_name_of, files), strict=True):
            if name is not None:
                found.setdefault(name, path)
    return tuple(sorted(found.items()))


def _name_of(path: Path) -> str | None:
    """The hash of a file's content; None for a blank one, and one that is not UTF-8."""
    text = _text(path)
    return _name(text) if text is not None and text.strip() else None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _name(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _documents(data: Data, _: str) -> Iterator[str]:
    for name, path in sources():
        text = _text(path)
        if text is None or _name(text) != name:
            raise ExperimentError(f'data.source = "{data.source}": {path} has changed while it was read; start again')
        yield text


def _fingerprint(_: Data) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name, _path in sources():
        digest.update(name.encode())
    return f"python-sources {digest.hexdigest()}"


SOURCE = Source(_documents, _fingerprint)
