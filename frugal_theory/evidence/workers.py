"""Sharing tasks among the cores of this machine or the workers of a Dask cluster; results come in the order of the tasks."""

from __future__ import annotations

import logging
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, TypeVar

from frugal_theory.config.registry import carry

__all__ = ["ClusterError", "in_order", "one_blas_thread"]

Result = TypeVar("Result")

WORTH_PROCESSES = 2.5
"""Seconds of work from which on new processes save time: each starts Python and imports this package first."""

SAME = ("frugal-lab", "numpy", "numba")
"""Packages that must be of one version here and on every worker, or the results would depend on who does the work."""

TIMEOUT = 10.0
"""Seconds to wait for a cluster's scheduler, and then for its first worker."""


class ClusterError(RuntimeError):
    """A cluster that cannot be used. The message is one line."""


def in_order(
    function: Callable[..., Result],
    tasks: Sequence[tuple[Any, ...]],
    *,
    jobs: int = 1,
    cluster: str | None = None,
    threads: bool = False,
    seconds: Iterable[float] = (),
) -> Iterator[Result]:
    """``function(*task)`` for every task, in order; what it returns may not depend on where it runs.

    ``cluster``: the address of a Dask scheduler, e.g. "tcp://127.0.0.1:8786". Without one, ``jobs`` processes of this
    machine, or threads if ``threads`` says that the function does without Python's lock. ``seconds``: estimates that add
    up to the work, read only as far as needed; too little of it is done right here. Raises ClusterError.
    """
    if cluster is not None:
        yield from _on_cluster(function, tasks, cluster)
    elif jobs == 1 or len(tasks) == 1 or not (threads or _exceeds(seconds, WORTH_PROCESSES)):
        yield from (function(*task) for task in tasks)
    else:
        from joblib import Parallel

        if threads:
            yield from Parallel(n_jobs=jobs, return_as="generator", backend="threading")(_calls(function, tasks))
        else:
            yield from Parallel(n_jobs=jobs, return_as="generator")(_calls(_Child(function, os.getpid()), tasks))


def one_blas_thread() -> AbstractContextManager[Any]:
    """One BLAS thread, so that no sum depends on the machine's load."""
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[Any] = threadpool_limits(limits=1)
    return limits


def _on_cluster(function: Callable[..., Result], tasks: Sequence[tuple[Any, ...]], address: str) -> Iterator[Result]:
    """Through joblib's Dask backend; a task that loses its worker is run again by another."""
    try:
        from distributed import CancelledError, Client, KilledWorker
    except ImportError as error:
        raise ClusterError('a cluster needs Dask: pip install "frugal-lab[dask]"') from error
    from joblib import Parallel, parallel_config

    try:
        client = Client(address, timeout=TIMEOUT)
    except (OSError, ValueError) as error:
        raise ClusterError(f"{address}: no Dask scheduler answers there ({error})") from error
    with _quiet("distributed.client"), closing(client), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sending large graph")
        try:
            client.wait_for_workers(1, timeout=TIMEOUT)
        except TimeoutError as error:
            raise ClusterError(f"{address}: the Dask scheduler has no workers") from error
        try:
            _require_same_versions(client, address)
            with parallel_config(backend="dask"):
                parallel = Parallel(return_as="generator")
            yield from parallel(_calls(function, tasks))
        except (OSError, CancelledError, KilledWorker) as error:
            raise ClusterError(f"{address}: the Dask cluster failed at work: {_first_line(error)}") from error


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Without what the logger of this name says below CRITICAL: a connection that is lost is reported once, in one line."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def versions() -> dict[str, str | None]:
    """The version of every package of :data:`SAME` in this process; None for what is not installed."""
    found: dict[str, str | None] = {}
    for package in SAME:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]


def _require_same_versions(client: Any, address: str) -> None:
    try:
        found: dict[str, dict[str, str | None]] = client.run(versions)
    except Exception as error:  # whatever a worker without this package, or with another one, raises
        raise ClusterError(f"{address}: a worker cannot run frugal-lab: {_first_line(error)}") from error
    here = versions()
    for worker, there in found.items():
        for package in SAME:
            if there[package] != here[package]:
                raise ClusterError(
                    f"{address}: {package} must be the same everywhere; the worker {worker} has {there[package] or 'none'}, "
                    f"and here it is {here[package] or 'not installed'}"
                )


@dataclass(frozen=True)
class _Child:
    """The function in a process of its own, which ends when its parent does, however that ends."""

    function: Callable[..., Any]
    parent: int

    def __call__(self, *task: Any) -> Any:
        _end_with(self.parent)
        return self.function(*task)


@lru_cache
def _end_with(parent: int) -> None:
    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _calls(function: Callable[..., Result], tasks: Sequence[tuple[Any, ...]]) -> Iterator[Any]:
    from joblib import delayed

    elsewhere = delayed(carry(function))
    return (elsewhere(*task) for task in tasks)


def _exceeds(seconds: Iterable[float], limit: float) -> bool:
    total = 0.0
    for part in seconds:
        total += part
        if total > limit:
            return True
    return False
