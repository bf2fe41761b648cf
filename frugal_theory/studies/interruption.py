"""What an interruption says: one line on stderr, and exit status 130."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from frugal_theory.config.load import ExperimentError
from frugal_theory.config.one_line import printable
from frugal_theory.evidence.workers import ClusterError

__all__ = ["INTERRUPTED", "count", "interruptible"]

INTERRUPTED = 130
"""The exit status after Ctrl-C."""


def count(done: int, total: int) -> str:
    """How many cells are done, of how many; empty if none is."""
    return f"{done} of {total} cells" if done else ""


@contextmanager
def interruptible(folder: Path, kept: Callable[[], str]) -> Iterator[None]:
    """Say in one line what Ctrl-C leaves behind in ``folder``, or what is wrong with the cluster.

    ``kept()``: what is kept there, in words (:func:`count`); empty if nothing is.
    """
    try:
        yield
    except ClusterError as error:
        raise ExperimentError(str(error)) from error
    except KeyboardInterrupt:
        done = kept()
        left = f"{done} are kept in {printable(str(folder))}" if done else "nothing is kept"
        again = "the same command continues with the rest" if done else "the same command begins again"
        print(f"interrupted: {left}; {again}", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
