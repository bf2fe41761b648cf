"""Monte Carlo evidence: the algorithm run many times, side by side, with statistics streamed.

Trials come in batches of a size that depends on the problem alone. A batch draws its noise from its own stream and
its subspaces by trial number, and batches are merged in order. So the result is the same bit for bit whichever way
the work is cut up, and memory grows with a batch × steps, not with trials × steps × dimension.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from frugal_theory.algorithm.run_lengths import RunLengths, run_lengths
from frugal_theory.algorithm.selection import stream
from frugal_theory.algorithm.step import init, step
from frugal_theory.config import Algorithm
from frugal_theory.evidence.evidence import Evidence
from frugal_theory.evidence.metrics import METRICS, Metric
from frugal_theory.problems.problem import Noise, Problem

__all__ = ["batches", "is_deterministic", "monte_carlo"]

Array = NDArray[np.float64]

BATCH = 32
"""Trials that run side by side, and …"""

BATCH_COORDINATES = 2**17
"""… the number of coordinates, over all of them, that still fits a core's cache."""


@dataclass(frozen=True)
class Moments:
    """Number, mean and central power sums Σ(q−q̄)², Σ(q−q̄)³ of per-trial running averages; arrays of shape (steps,)."""

    count: int
    mean: Array
    second: Array
    third: Array

    @classmethod
    def of(cls, averages: Array) -> Moments:
        """Moments over the first axis of ``averages``, shape (trials, steps)."""
        mean = averages.mean(axis=0)
        centred = averages - mean
        return cls(len(averages), mean, np.sum(centred**2, axis=0), np.sum(centred**3, axis=0))

    def merge(self, other: Moments) -> Moments:
        """Moments of both samples together (Pébay 2008, equations 2.1, 3.1)."""
        n_a, n_b = self.count, other.count
        n = n_a + n_b
        delta = other.mean - self.mean
        mean = self.mean + delta * (n_b / n)
        second = self.second + other.second + delta**2 * (n_a * n_b / n)
        third = (
            self.third
            + other.third
            + delta**3 * (n_a * n_b * (n_a - n_b) / n**2)
            + 3 * delta * (n_a * other.second - n_b * self.second) / n
        )
        return Moments(n, mean, second, third)


def monte_carlo(
    problem: Problem,
    noise: Noise,
    algorithm: Algorithm,
    *,
    learning_rate: float,
    steps: int,
    trials: int,
    seed: int = 0,
    metrics: Sequence[str] = ("squared_gradient_norm",),
    measures: Mapping[str, Metric] | None = None,
    confidence: float = 0.99,
    jobs: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Evidence]:
    """Run ``trials`` trials of ``steps`` steps and return, for every metric, the running average with its interval.

    ``jobs`` processes share the batches; ``progress(done, total)`` is called as trials finish. A run without any
    randomness needs one trial, and has no interval. ``measures`` are metrics that depend on the setting, by name. Raises
    ValueError for an unknown metric.
    """
    known: Mapping[str, Metric] = {**METRICS, **(measures or {})}
    unknown = [name for name in metrics if name not in known]
    if unknown:
        raise ValueError(f"unknown metric {unknown[0]!r}; known are {', '.join(known)}")
    chosen = {name: known[name] for name in metrics}
    exact = is_deterministic(problem, noise, algorithm)
    trials = 1 if exact else trials
    work = batches(problem, trials)

    def run(batch: NDArray[np.int64]) -> dict[str, Moments]:
        return _run_batch(problem, noise, algorithm, learning_rate, steps, seed, chosen, batch)

    merged: dict[str, Moments] = {}
    done = 0
    for result in _in_order(run, work, jobs):
        with np.errstate(over="ignore", invalid="ignore"):  # a run that diverges is a result, not an error
            merged = {name: merged[name].merge(result[name]) if merged else result[name] for name in metrics}
        done = min(merged[metrics[0]].count, trials)
        if progress is not None:
            progress(done, trials)
    return {name: _evidence(name, moments, exact, confidence) for name, moments in merged.items()}


def batches(problem: Problem, trials: int) -> list[NDArray[np.int64]]:
    """The trial numbers of every batch: a function of the problem's size and the number of trials only."""
    dimension = sum(math.prod(shape) for shape in problem.shapes.values())
    size = max(1, min(BATCH, BATCH_COORDINATES // dimension))
    return [np.arange(first, min(first + size, trials)) for first in range(0, trials, size)]


def is_deterministic(problem: Problem, noise: Noise, algorithm: Algorithm) -> bool:
    """Whether every trial is the same: no noise, and nothing random in the selection."""
    fixed = algorithm.set is not None or algorithm.density in (0.0, 1.0) or algorithm.subspace in ("svd", "eigen")
    scheduled = algorithm.subspace == "blocks" and algorithm.order != "random"
    silent = not any(np.any(variance) for variance in noise.variance(problem).values())
    return silent and (fixed or scheduled)


def _in_order(
    run: Callable[[NDArray[np.int64]], dict[str, Moments]], work: Sequence[NDArray[np.int64]], jobs: int
) -> Iterator[dict[str, Moments]]:
    if jobs == 1 or len(work) == 1:
        yield from map(run, work)
        return
    from joblib import Parallel, delayed

    from frugal_theory.extending import carry

    elsewhere = delayed(carry(run))
    yield from Parallel(n_jobs=jobs, return_as="generator")(elsewhere(batch) for batch in work)


def _run_batch(
    problem: Problem,
    noise: Noise,
    algorithm: Algorithm,
    learning_rate: float,
    steps: int,
    seed: int,
    metrics: Mapping[str, Metric],
    batch: NDArray[np.int64],
) -> dict[str, Moments]:
    """Moments of the running averages of one batch. One BLAS thread, so that no result depends on the machine's load."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1), np.errstate(over="ignore", invalid="ignore"):
        averages = _averages(problem, noise, algorithm, learning_rate, steps, seed, metrics, batch)
        return {name: Moments.of(values) for name, values in averages.items()}


def _averages(
    problem: Problem,
    noise: Noise,
    algorithm: Algorithm,
    learning_rate: float,
    steps: int,
    seed: int,
    metrics: Mapping[str, Metric],
    batch: NDArray[np.int64],
) -> dict[str, Array]:
    """Running averages (1/k) Σ_{i≤k} of every metric for every trial of the batch; shape (trials, steps)."""
    start = problem.start(np.random.default_rng(stream(seed, "start")))
    x = {name: np.repeat(value[None], len(batch), axis=0) for name, value in start.items()}
    rng = _noise_generator(seed, int(batch[0]))
    bases: Mapping[str, Array] | None = getattr(problem, "bases", None) if algorithm.subspace == "eigen" else None
    runs: RunLengths | None = run_lengths(algorithm, problem.shapes, bases)
    state = init(trials=batch, bases=bases)
    values = {name: np.empty((len(batch), steps)) for name in metrics}
    for k in range(steps):
        gradient = problem.gradient(x)
        stochastic = noise.sample(rng, problem, x, gradient)
        x, state = step(algorithm, x, stochastic, state, learning_rate)
        for name, metric in metrics.items():
            values[name][:, k] = metric(gradient, state.parts, runs, k)
    counts = np.arange(1, steps + 1)
    return {name: np.cumsum(value, axis=1) / counts for name, value in values.items()}


def _noise_generator(seed: int, first_trial: int) -> np.random.Generator:
    """The stream of the batch that begins with this trial. SFC64 is NumPy's fastest source of normal numbers."""
    sequence = stream(seed, "noise")
    own = np.random.SeedSequence(entropy=sequence.entropy, spawn_key=(*sequence.spawn_key, first_trial))
    return np.random.Generator(np.random.SFC64(own))


def _evidence(metric: str, moments: Moments, exact: bool, confidence: float) -> Evidence:
    steps, n = np.arange(1, len(moments.mean) + 1), moments.count
    if exact:
        note = "nothing in this run is random: one trial is exact"
        mean = moments.mean
        return Evidence("monte_carlo", steps, mean, mean, mean, metric, confidence, trials=1, notes=(note,))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        deviation = np.sqrt(moments.second / max(n - 1, 1))
        scale = (moments.second / n) ** 1.5
        skewness = np.where(scale > 0, moments.third / n / np.where(scale > 0, scale, 1.0), 0.0)
    evidence = Evidence(
        "monte_carlo", steps, moments.mean, moments.mean, moments.mean, metric, confidence, n, deviation, skewness
    )
    lower, upper = evidence.interval(confidence)
    return Evidence("monte_carlo", steps, moments.mean, lower, upper, metric, confidence, n, deviation, skewness)
