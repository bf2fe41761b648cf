"""What an experiment is, to the last key and to the data that it reads: the name of what was computed from it."""

from __future__ import annotations

import hashlib
import os
import pickle
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np

from frugal_theory.config.dataset import digest, is_file
from frugal_theory.config.experiment import Experiment
from frugal_theory.config.registry import additions
from frugal_theory.config.tables import dump
from frugal_theory.config.version import installed

__all__ = ["PACKAGES", "identity", "name_of"]

PACKAGES = ("frugal_theory", "frugal_gpu", "simulations")
"""The folders whose code computes; beside each other in the repository and where they are installed."""


def name_of(*parts: Any) -> str:
    """The name of what this program computed of the parts, with what was added to it: 20 hexadecimal digits of a digest.

    Another version, an edit of its files, and one of a file that an addition comes from make it another program.
    """
    return _digest(identity(installed(), _program(), tuple(_added()), *parts))[:20]


def identity(*parts: Any) -> str:
    """Words that differ wherever one of the parts does: experiments, numbers, words, arrays, and what holds such.

    An experiment says all its keys, unlike its ``repr``, and of a file of the user's own data what is in it now. An object that
    can be told by nothing, not even by pickling it, differs from every other. Raises OSError if data cannot be read.
    """
    return "\n".join(_said(parts))


def _said(parts: Iterable[Any]) -> Iterator[str]:
    for part in parts:
        if isinstance(part, Experiment):
            yield dump(part)
            yield from _data(part)
        elif isinstance(part, Mapping):
            yield f"{{{len(part)}"
            yield from _said(item for pair in part.items() for item in pair)
        elif isinstance(part, tuple | list):
            yield f"({len(part)}"
            yield from _said(part)
        elif part is None or isinstance(part, str | bytes | bool | int | float | complex | np.generic | Path):
            yield repr(part)
        elif isinstance(part, np.ndarray) and not part.dtype.hasobject:
            yield f"{part.dtype} {part.shape} {_digest(np.ascontiguousarray(part).tobytes())}"
        elif isinstance(part, type | FunctionType):
            yield f"{part.__module__}.{part.__qualname__}"
        elif is_dataclass(part):
            own = [getattr(part, field.name) for field in fields(part)]
            yield f"{type(part).__module__}.{type(part).__qualname__} {len(own)}"
            yield from _said(own)
        else:
            yield _pickled(part)


def _pickled(part: Any) -> str:
    try:
        return _digest(pickle.dumps(part))
    except Exception:  # whatever its pickling may raise
        return os.urandom(16).hex()


def _data(experiment: Experiment) -> Iterator[str]:
    """A digest of the user's own file of data, where the problem is made of one."""
    dataset = getattr(experiment.problem, "dataset", None)
    if isinstance(dataset, str) and is_file(dataset):
        yield digest(dataset)


@cache
def _program() -> str:
    """The files of this program as they were found: their names, sizes and times."""
    root = Path(__file__).parents[2]
    found = sorted(path for package in PACKAGES for path in (root / package).rglob("*.py"))
    stamps = [(path, os.stat(path)) for path in found]
    return _digest("\n".join(f"{path.relative_to(root)} {stamp.st_size} {stamp.st_mtime_ns}" for path, stamp in stamps))


def _added() -> Iterator[tuple[str, ...]]:
    """What was added at run time, and a digest of every file that it comes from."""
    for addition in additions():
        files = sorted({path for part in _parts(addition.entry) if (path := _file(part)) is not None})
        yield (addition.registry.noun, addition.name, *(_digest(path.read_bytes()) for path in files))


def _parts(entry: Any) -> Iterator[Any]:
    """The entry, and what it is made of: a table and a function, say."""
    yield entry
    if isinstance(entry, tuple):
        yield from entry
    elif is_dataclass(entry) and not isinstance(entry, type):
        yield from (getattr(entry, field.name) for field in fields(entry))


def _file(part: Any) -> Path | None:
    """The file in which a class or a function is written, or the class of anything else; None where there is none, or ours."""
    module = getattr(part, "__module__", None) or type(part).__module__
    file = getattr(sys.modules.get(module), "__file__", None)
    known = file is not None and module.partition(".")[0] not in (*PACKAGES, *sys.stdlib_module_names)
    return Path(file) if known and file is not None and Path(file).is_file() else None


def _digest(content: str | bytes) -> str:
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()
