"""One training a folder: a lock that its process holds, and that is free again however that process ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from frugal_gpu.train.together import main_process
from frugal_theory.config.load import ExperimentError
from frugal_theory.results.files import make_folder

__all__ = ["LOCK", "alone", "refuse_if_busy"]

LOCK = ".lock"
"""The file that is locked; it stays, empty, when the lock is free."""


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold ``folder``, which is made if need be. Raises :class:`ExperimentError` if another training holds it."""
    from filelock import FileLock, Timeout

    make_folder(folder)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ExperimentError(f"{folder}: another training writes here; wait for its end, or give another --out") from None
    try:
        yield
    finally:
        lock.release()


def refuse_if_busy(folder: Path) -> None:
    """Raise :class:`ExperimentError` if another training holds ``folder`` now; writes nothing where there is none.

    Asks in the main process only: the others may come when that one holds it already.
    """
    if main_process() and (folder / LOCK).exists():
        with alone(folder):
            pass
