"""What an interruption says: one line on stderr, and exit status 130."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from frugal_theory.config.load import ExperimentError
from frugal_theory.config.one_line import printable
from frugal_theory.evidence.workers import ClusterError

__all__ = ["INTERRUPTED", "interruptible"]

INTERRUPTED = 130
"""The exit status after Ctrl-C."""


@contextmanager
def interruptible(folder: Path, kept: Callable[[], tuple[int, int]]) -> Iterator[None]:
    """Say in one line what Ctrl-C leaves behind in ``folder``, or what is wrong with the cluster.

    ``kept()``: how many cells are kept, of how many.
    """
    try:
        yield
    except ClusterError as error:
        raise ExperimentError(str(error)) from error
    except KeyboardInterrupt:
        done, total = kept()
        left = f"{done} of {total} cells are kept in {printable(str(folder))}" if done else "nothing is kept"
        again = "the same command continues with the rest" if done else "the same command begins again"
        print(f"interrupted: {left}; {again}", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
