"""The Python sources of the machine: the standard library and what is installed beside it. Tens of millions of tokens."""

from __future__ import annotations

import functools
import hashlib
import sysconfig
from collections.abc import Iterator
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
    found: dict[str, Path] = {}
    for key in ("stdlib", "platstdlib", "purelib", "platlib"):
        root = Path(paths[key])
        for path in sorted(root.rglob("*.py")):
            if "stdlib" in key and not INSTALLED.isdisjoint(path.relative_to(root).parts):
                continue
            if (text := _text(path)) is not None and text.strip():
                found.setdefault(_name(text), path)
    return tuple(sorted(found.items()))


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
