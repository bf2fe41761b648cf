"""What is said while a kernel is compiled, for nobody should wait ten seconds without a word."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

__all__ = ["prepare"]

PATIENCE = 1.0
"""Seconds after which it is said."""

_READY: set[str] = set()


def prepare(kind: str, compile_it: Callable[[], object]) -> None:
    """Have the kernel for numbers of this kind compiled, once a process; if it takes long, stderr has a line about it.

    It waits on disk for the next process, which reads it in a second: numba replaces whole files there, so processes that
    compile at once do not harm each other.
    """
    if kind in _READY:
        return
    said = f"Frugal: numba prepares the CPU's step for {kind}, which takes some seconds; it is compiled once a machine"
    timer = threading.Timer(PATIENCE, lambda: print(said, file=sys.stderr, flush=True))
    timer.daemon = True
    timer.start()
    try:
        compile_it()
        _READY.add(kind)
    finally:
        timer.cancel()
