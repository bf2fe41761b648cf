"""Python's own documentation: the text that is always there."""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path

from frugal_gpu.data.source import Source

__all__ = ["SOURCE", "python_docs"]

SKIPPED = {"test", "tests", "site-packages", "encodings", "idlelib", "turtledemo", "lib2to3", "pydoc_data", "__pycache__"}
"""Folders of the standard library with little documentation, or whose presence depends on the installation."""

DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@functools.cache
def python_docs() -> tuple[str, ...]:
    """The language reference that ``help()`` shows, then the docstrings of each standard module.

    Modules are parsed, never run. One document a topic and one a module, in alphabetical order; a docstring that was
    seen before is left out. The text is that of the running Python, so it differs a little from version to version.
    """
    texts = list(_topics())
    seen: set[str] = set()
    for path in _modules():
        fresh = [text for text in _docstrings(path) if text not in seen]
        seen.update(fresh)
        if fresh:
            texts.append("\n\n".join(dict.fromkeys(fresh)))
    return tuple(texts)


def _modules() -> list[Path]:
    """The files of the standard library that are read."""
    root = Path(sysconfig.get_paths()["stdlib"])
    return [path for path in sorted(root.rglob("*.py")) if SKIPPED.isdisjoint(path.relative_to(root).parts)]


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


@functools.cache
def _fingerprint() -> str:
    """A hash of what is parsed, and the version of the parser: to read files takes a tenth of the time of parsing them."""
    digest = hashlib.blake2b(digest_size=16)
    for text in _topics():
        digest.update(text.encode())
    for path in _modules():
        with contextlib.suppress(OSError):
            digest.update(path.read_bytes())
    return f"python-docs {sys.version_info.major}.{sys.version_info.minor} {digest.hexdigest()}"


SOURCE = Source(lambda data, part: iter(python_docs()), lambda data: _fingerprint())  # noqa: ARG005
