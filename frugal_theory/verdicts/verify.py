"""Verify: theorem × evidence → verdict, for every cell of an experiment, under one family-wise error level."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from frugal_theory.config import Experiment
from frugal_theory.config.load import takes_a_file
from frugal_theory.evidence.evidence import Evidence
from frugal_theory.evidence.monte_carlo.simulation import run, simulation
from frugal_theory.theorems import Theorem
from frugal_theory.theorems.resolve import named
from frugal_theory.theorems.theorem import bound_of
from frugal_theory.verdicts.claims import Claims, claims_of
from frugal_theory.verdicts.stopping import More, settle
from frugal_theory.verdicts.verdict import Verdict, Verdicts

__all__ = ["bound", "gather", "gather_all", "settle_all", "verify"]

Array = NDArray[np.float64]
Progress = Callable[[str, int, int], None]


@takes_a_file
def verify(
    experiment: Experiment,
    *,
    theorems: Sequence[Theorem | str] | None = None,
    jobs: int = 1,
    cluster: str | None = None,
    progress: Progress | None = None,
) -> list[Verdict]:
    """Judge every theorem in every cell of the experiment by Monte Carlo, and by exact expectations where those settle it.

    All verdicts together are wrong with probability at most 1 − ``experiment.verify.confidence``. Trials are added to the
    cells that are open, up to ``simulation.max_trials``. ``theorems``, or their names, replace those that the file names.
    ``jobs`` processes share the work, or the workers of the Dask ``cluster`` with that address.
    ``progress(cell, done, total)`` is called as trials finish. Raises ExperimentError for an experiment that cannot be run.

    >>> import frugal_theory as ft
    >>> sgd = {"density": 0.0, "state_full": "sgdm", "state_free": "sgd", "learning_rate": 0.5}
    >>> tables = {"algorithm": sgd, "problem": {"kind": "quadratic", "dimension": 4}, "verify": {"theorems": ["sgd", "sgdm"]}}
    >>> [(verdict.theorem, verdict.status) for verdict in ft.verify(ft.parse({"name": "four", **tables}))]
    [('sgd', 'holds'), ('sgdm', 'not applicable')]
    """
    ready = claims_of(experiment, theorems)
    report = None if progress is None else (lambda claims, done, total: progress(claims.cell.label, done, total))
    more = _further(ready, jobs, cluster, report)
    begun = gather_all(ready, jobs=jobs, cluster=cluster, progress=report)
    return Verdicts(settle(ready, begun, experiment.verify.confidence, more)[1])


@takes_a_file
def bound(experiment: Experiment, theorem: str) -> Array:
    """The right-hand side of a theorem for the experiment itself, K = 1 … steps, shape (steps,).

    Raises ExperimentError for an unknown theorem, and ValueError naming the reason where it is not applicable.

    >>> import frugal_theory as ft
    >>> sgd = {"density": 0.0, "state_full": "sgdm", "state_free": "sgd", "learning_rate": 1.0}
    >>> parabola = {"problem": {"kind": "quadratic", "eigenvalues": [1.0], "start": "ones"}, "noise": {"kind": "none"}}
    >>> experiment = ft.parse({"name": "one", "algorithm": sgd, **parabola, "simulation": {"steps": 4}})
    >>> ft.bound(experiment, "sgd").round(4).tolist()
    [1.0, 0.5, 0.3333, 0.25]
    """
    chosen = named(experiment, theorem)
    (claims,) = claims_of(experiment.model_copy(update={"sweep": {}, "cases": []}), [chosen])
    if excuse := claims.excuse(chosen):
        raise ValueError(f"{theorem} is not applicable: {excuse}")
    return bound_of(chosen, claims.setting)


def gather(claims: Claims, *, jobs: int = 1, cluster: str | None = None) -> dict[str, Evidence]:
    """Monte Carlo evidence for every metric that the claims need."""
    return next(gather_all([claims], jobs=jobs, cluster=cluster))


def gather_all(
    ready: Sequence[Claims],
    *,
    jobs: int = 1,
    cluster: str | None = None,
    progress: Callable[[Claims, int, int], None] | None = None,
    trials: Sequence[tuple[int, int]] | None = None,
) -> Iterator[dict[str, Evidence]]:
    """The evidence for all claims, in order, each as soon as it is complete; all cores, or workers, are busy throughout.

    ``progress(claims, done, total)`` is called as trials finish. ``trials``: first and last + 1 for each, if they are not
    the experiment's.
    """
    ranges: Sequence[tuple[int, int] | None] = trials or [None] * len(ready)
    work = [
        simulation(claims.instance, claims.metrics, measures=claims.measures, trials=part)
        for claims, part in zip(ready, ranges, strict=True)
    ]
    report = None if progress is None else (lambda number, done, total: progress(ready[number], done, total))
    return run(work, jobs=jobs, cluster=cluster, progress=report)


def settle_all(
    ready: Sequence[Claims],
    evidence: Sequence[Mapping[str, Evidence]],
    confidence: float,
    *,
    jobs: int = 1,
    cluster: str | None = None,
    progress: Callable[[Claims, int, int], None] | None = None,
    keep: Callable[[Claims, Mapping[str, Evidence]], None] | None = None,
) -> tuple[list[dict[str, Evidence]], list[Verdict]]:
    """Evidence and verdicts on all claims, trials added to what is open within each cell's budget (:func:`settle`).

    ``keep(claims, evidence)`` is called with all the evidence of some claims whenever trials were added.
    """
    return settle(ready, evidence, confidence, _further(ready, jobs, cluster, progress), keep)


def _further(
    ready: Sequence[Claims], jobs: int, cluster: str | None, progress: Callable[[Claims, int, int], None] | None
) -> More:
    """What gathers the further trials that :func:`settle` asks for."""

    def more(wanted: Mapping[int, tuple[int, int]]) -> Iterator[tuple[int, dict[str, Evidence]]]:
        chosen = [ready[number] for number in wanted]
        work = gather_all(chosen, jobs=jobs, cluster=cluster, progress=progress, trials=list(wanted.values()))
        return zip(wanted, work, strict=True)

    return more
