"""Monte Carlo evidence: the algorithm run many times, side by side, with statistics streamed.

Trials come in batches of a size that depends on the problem alone. A batch draws its noise from its own stream and
its subspaces by trial number, and batches are merged in order. So the result is the same bit for bit whichever way
the work is cut up, and memory grows with a batch × steps, not with trials × steps × dimension.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from frugal_theory.algorithm.selection import stream
from frugal_theory.algorithm.step import init, step
from frugal_theory.config import Experiment
from frugal_theory.config.load import ExperimentError, takes_a_file
from frugal_theory.evidence.evidence import Evidence
from frugal_theory.evidence.moments import Moments, sampled
from frugal_theory.evidence.monte_carlo import compiled as fast_path
from frugal_theory.evidence.workers import in_order, one_blas_thread
from frugal_theory.instance import Instance, instance_of
from frugal_theory.metrics import METRICS, Metric, words
from frugal_theory.problems.noise import no_sixth_moment
from frugal_theory.problems.problem import Problem, read_only

__all__ = ["Simulation", "batches", "is_deterministic", "monte_carlo", "run", "simulate", "simulation"]

Array = NDArray[np.float64]

BATCH = 32
"""Trials that run side by side, and …"""

BATCH_COORDINATES = 2**17
"""… the number of coordinates, over all of them, that still fits a core's cache."""

WORTH_COMPILING = 2e7
"""Coordinate updates from which on the fast path is used: NumPy needs about a second for these, numba to get going, too."""


@dataclass(frozen=True)
class Simulation:
    """What one instance has to run: ``steps`` steps of the trials ``first`` … ``trials`` − 1, in :attr:`batches`.

    ``metrics``: by name, squared_gradient_norm and the like. ``deterministic``: nothing in it is random, and one trial says
    all. ``compiled``: whether the fast path runs it (:mod:`frugal_theory.evidence.monte_carlo.compiled`); decided once, so
    that it does not depend on who runs which batch.
    """

    instance: Instance
    metrics: Mapping[str, Metric]
    steps: int
    trials: int
    first: int = 0
    deterministic: bool = False
    compiled: bool = False

    @property
    def batches(self) -> list[NDArray[np.int64]]:
        """The trial numbers of every batch."""
        return batches(self.instance.problem, self.trials, self.first)

    @property
    def updates(self) -> float:
        """Coordinate updates in all."""
        return float(self.steps) * (self.trials - self.first) * _dimension(self.instance.problem)

    @property
    def lock_free(self) -> bool:
        """Whether nearly all of the work is compiled, so that threads need not wait for each other."""
        return self.compiled and fast_path.elementwise(self.instance.problem, self.instance.noise)

    def run(self, batch: NDArray[np.int64]) -> dict[str, Moments]:
        """Moments of the running averages of one batch, by metric."""
        with np.errstate(over="ignore", invalid="ignore"):  # a run that diverges is a result, not an error
            counts = np.arange(1, self.steps + 1)
            return {name: Moments.of(np.cumsum(value, axis=1) / counts) for name, value in _values(self, batch).items()}

    def seconds(self) -> float:
        """About how long this takes on one core: from a few steps of the first batch, less what a batch costs anyway."""
        if self.lock_free:
            return 1e-8 * self.updates
        if self.compiled:
            self._timed(1)  # compiles
        once = self._timed(1)
        step = once if once > 0.1 else max(0.0, self._timed(9) - self._timed(1)) / 8
        return step * self.steps * len(self.batches)

    def _timed(self, steps: int) -> float:
        began = time.perf_counter()
        replace(self, steps=steps).run(self.batches[0])
        return time.perf_counter() - began


def simulation(
    instance: Instance,
    metrics: Sequence[str] = ("squared_gradient_norm",),
    *,
    measures: Mapping[str, Metric] | None = None,
    trials: tuple[int, int] | None = None,
) -> Simulation:
    """The simulation of these metrics made ready. ``measures`` are metrics that depend on the setting, by name.

    ``trials``: first and last + 1, if not all of the instance's, for evidence that is to be pooled with that of the trials
    before. A run without any randomness needs one trial. Raises ValueError for an unknown metric.
    """
    known: Mapping[str, Metric] = {**METRICS, **(measures or {})}
    unknown = [name for name in metrics if name not in known]
    if unknown:
        raise ValueError(f"unknown metric {unknown[0]!r}; known are {', '.join(known)}")
    chosen = {name: known[name] for name in metrics}
    first, last = trials or (0, instance.trials)
    same = is_deterministic(instance)
    ready = Simulation(instance, chosen, instance.setting.steps, 1 if same else last, first, deterministic=same)
    fast = ready.updates >= WORTH_COMPILING and fast_path.applies(instance, chosen) and fast_path.compiled()
    return replace(ready, compiled=fast)


@takes_a_file
def simulate(
    experiment: Experiment,
    *,
    metric: str = "squared_gradient_norm",
    jobs: int = 1,
    cluster: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Evidence:
    """Monte Carlo evidence of the experiment itself (not of its sweep): the running average of E‖gᵏ‖², or of ``metric``.

    ``jobs`` processes share the work, or the workers of the Dask ``cluster`` with that address; the result is the same bit
    for bit. No premise is tested: of a noise that draws from a generator of its own every process has a copy. Raises
    ExperimentError if the experiment has no [problem], ValueError for an unknown metric.

    >>> import frugal_theory as ft
    >>> sgd = {"density": 0.0, "state_full": "sgdm", "state_free": "sgd", "learning_rate": 0.5}
    >>> parabola = {"problem": {"kind": "quadratic", "eigenvalues": [1.0], "start": "ones"}, "noise": {"kind": "none"}}
    >>> experiment = ft.parse({"name": "one", "algorithm": sgd, **parabola, "simulation": {"steps": 4}})
    >>> ft.simulate(experiment).mean.round(4).tolist()
    [1.0, 0.625, 0.4375, 0.332]
    """
    ready = simulation(instance_of(experiment), (metric,))
    return monte_carlo(ready, jobs=jobs, cluster=cluster, progress=progress)[metric]


def monte_carlo(
    simulation: Simulation,
    *,
    jobs: int = 1,
    cluster: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Evidence]:
    """Run one simulation: for every metric the running average with its interval.

    ``jobs`` and ``cluster`` as in :func:`run`. ``progress(done, total)`` is called as trials finish.
    """
    report = None if progress is None else (lambda _, done, total: progress(done, total))
    return next(run([simulation], jobs=jobs, cluster=cluster, progress=report))


def run(
    simulations: Sequence[Simulation],
    *,
    jobs: int = 1,
    cluster: str | None = None,
    progress: Callable[[int, int, int], None] | None = None,
) -> Iterator[dict[str, Evidence]]:
    """The evidence of every simulation, in order, as soon as it and those before it are complete.

    ``jobs`` processes of this machine, or the workers of the Dask ``cluster`` at that address, share the batches of all
    simulations. ``progress(number, done, total)`` is called as trials of simulation ``number`` finish. Raises
    :class:`~frugal_theory.evidence.workers.ClusterError` for a cluster that cannot be used.
    """
    tasks = [(simulation, batch) for simulation in simulations for batch in simulation.batches]
    results = in_order(
        Simulation.run,
        tasks,
        jobs=jobs,
        cluster=cluster,
        threads=all(simulation.lock_free for simulation in simulations),
        seconds=(simulation.seconds() for simulation in simulations),
    )
    for number, simulation in enumerate(simulations):
        confidence = simulation.instance.confidence
        merged: dict[str, Moments] = {}
        for _ in simulation.batches:
            result = next(results)
            with np.errstate(over="ignore", invalid="ignore"):
                merged = {name: merged[name].merge(found) if merged else found for name, found in result.items()}
            if progress is not None:
                progress(number, simulation.first + next(iter(merged.values())).count, simulation.trials)
        sound = not no_sixth_moment(simulation.instance.noise)
        yield {
            metric: _certain(metric, moments, confidence)
            if simulation.deterministic
            else sampled("monte_carlo", metric, moments, confidence, interval=sound or words(metric).linear)
            for metric, moments in merged.items()
        }


def batches(problem: Problem, trials: int, first: int = 0) -> list[NDArray[np.int64]]:
    """The trial numbers of every batch from ``first`` on: a function of the problem's size and these numbers only."""
    size = max(1, min(BATCH, BATCH_COORDINATES // _dimension(problem)))
    return [np.arange(begin, min(begin + size, trials)) for begin in range(first, trials, size)]


def is_deterministic(instance: Instance) -> bool:
    """Whether every trial is the same: no noise, and nothing random in the selection."""
    algorithm = instance.setting.algorithm
    fixed = algorithm.set is not None or algorithm.density in (0.0, 1.0) or algorithm.subspace in ("svd", "eigen")
    scheduled = algorithm.subspace == "blocks" and algorithm.order != "random"
    silent = not any(np.any(variance) for variance in instance.setting.variance.values())
    return silent and (fixed or scheduled)


def _values(simulation: Simulation, batch: NDArray[np.int64]) -> dict[str, Array]:
    """Every metric at every step of every trial of the batch; shape (trials, steps).

    What problems, noise and metrics are given they cannot change, but for the gradient that a noise is given, which is its own.
    """
    instance, steps, metrics = simulation.instance, simulation.steps, simulation.metrics
    problem, noise = instance.problem, instance.noise
    algorithm, alpha, runs = instance.setting.algorithm, instance.setting.alpha, instance.setting.runs
    bits = _noise_bits(instance.seed, int(batch[0]))
    if simulation.compiled:
        with nullcontext() if simulation.lock_free else one_blas_thread():
            return fast_path.measure(instance, metrics, steps, batch, bits)
    rng, state = np.random.Generator(bits), init(trials=batch, bases=instance.bases)
    x = {name: np.repeat(value[None], len(batch), axis=0) for name, value in instance.start.items()}
    values = {name: np.empty((len(batch), steps)) for name in metrics}
    with one_blas_thread():
        for k in range(steps):
            point = read_only(x)
            gradient = problem.gradient(point)
            stochastic = noise.sample(rng, problem, point, {name: g.copy() for name, g in gradient.items()})
            x, state = step(algorithm, x, stochastic, state, alpha)
            true = read_only(gradient)
            for name, metric in metrics.items():
                here = metric.at(point) if hasattr(metric, "at") else metric
                values[name][:, k] = _one_a_trial(name, here(true, state.parts, runs, k), len(batch))
    return values


def _one_a_trial(name: str, found: Array, trials: int) -> Array:
    """What a metric gave. A number for all trials together would be taken for that of every one of them."""
    if np.shape(found) != (trials,):
        raise ExperimentError(
            f"the metric {name} gives shape {np.shape(found)} for {trials} trials; one number a trial, ({trials},), is expected"
        )
    return found


def _dimension(problem: Problem) -> int:
    return sum(math.prod(shape) for shape in problem.shapes.values())


def _noise_bits(seed: int, first_trial: int) -> np.random.SFC64:
    """The stream of the batch that begins with this trial. SFC64 is NumPy's fastest source of normal numbers."""
    sequence = stream(seed, "noise")
    own = np.random.SeedSequence(entropy=sequence.entropy, spawn_key=(*sequence.spawn_key, first_trial))
    return np.random.SFC64(own)


def _certain(metric: str, moments: Moments, confidence: float) -> Evidence:
    """Evidence that nothing random went into."""
    steps, mean = np.arange(1, len(moments.mean) + 1), moments.mean
    note = "nothing in this run is random: one trial is exact"
    return Evidence("monte_carlo", steps, mean, mean, mean, metric, confidence, trials=1, notes=(note,))
