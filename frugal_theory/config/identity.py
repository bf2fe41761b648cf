"""What an experiment is, to the last key and to the data that it reads: the name of what was computed from it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from frugal_theory.config.dataset import digest, is_file
from frugal_theory.config.experiment import Experiment
from frugal_theory.config.tables import dump
from frugal_theory.config.version import installed

__all__ = ["identity", "name_of"]


def name_of(*parts: Any) -> str:
    """The name of what this version of the program computed of the parts: 20 hexadecimal digits of a digest."""
    return hashlib.sha256(identity(installed(), *parts).encode()).hexdigest()[:20]


def identity(*parts: Any) -> str:
    """Words that differ wherever one of the parts does: experiments, numbers, words, and tuples of them.

    An experiment says all its keys, unlike its ``repr``, and of a file of the user's own data what is in it now. Raises OSError
    if that cannot be read.
    """
    return "\n".join(_said(parts))


def _said(parts: Iterable[Any]) -> Iterable[str]:
    for part in parts:
        if isinstance(part, Experiment):
            yield dump(part)
            yield from _data(part)
        elif isinstance(part, tuple):
            yield f"({len(part)}"
            yield from _said(part)
        else:
            yield repr(part)


def _data(experiment: Experiment) -> Iterable[str]:
    """A digest of the user's own file of data, where the problem is made of one."""
    dataset = getattr(experiment.problem, "dataset", None)
    if isinstance(dataset, str) and is_file(dataset):
        yield digest(dataset)
