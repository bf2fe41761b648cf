"""The fast path of Monte Carlo: SGDM or SGD on a set of coordinates of a separable quadratic, compiled by numba.

It is the arithmetic of :func:`frugal_theory.algorithm.step` on the same random numbers: iterates are equal to the last
bit, and a metric up to the order of its sum. Without numba (extra "fast"), or for work too small to pay for it, NumPy
does the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from frugal_theory import config
from frugal_theory.algorithm.run_lengths import RunLengths, run_lengths
from frugal_theory.algorithm.subspaces import Mask, choose_parts, unit_subspace
from frugal_theory.config import Algorithm
from frugal_theory.evidence.metrics import (
    HybridNorm,
    Metric,
    gradient_one_norm,
    squared_gradient_norm,
    weighted_squared_gradient_norm,
)
from frugal_theory.problems import Gaussian, NoNoise, Quadratic
from frugal_theory.problems.problem import Noise, Problem

if TYPE_CHECKING:
    from frugal_theory.evidence.monte_carlo import Simulation

__all__ = ["applies", "compiled", "measure"]

Array = NDArray[np.float64]

SUMMED = (squared_gradient_norm, weighted_squared_gradient_norm, gradient_one_norm)
"""Metrics, and HybridNorm, that are linear in Σ g² and Σ |g| on the set and off it."""

CHUNK = 64
"""Steps whose sums are held at a time, at most."""


def applies(problem: Problem, noise: Noise, algorithm: Algorithm, metrics: Mapping[str, Metric]) -> bool:
    """Whether the setting is one of those that are compiled."""
    runs = run_lengths(algorithm, problem.shapes)
    units = algorithm.set is not None or algorithm.subspace == "blocks" or unit_subspace(algorithm) is not None
    rules = isinstance(algorithm.state_full, config.Sgdm) and algorithm.state_free.rule in ("none", "sgd", "signsgd")
    return (
        type(problem) is Quadratic
        and problem.separable
        and type(noise) in (Gaussian, NoNoise)
        and rules
        and (units or algorithm.density in (0.0, 1.0))
        and runs is not None
        and (runs.law == "fixed" or all(np.size(share) == 1 for share in runs.share.values()))
        and all(metric in SUMMED or isinstance(metric, HybridNorm) for metric in metrics.values())
    )


@lru_cache
def compiled() -> bool:
    """Whether numba is there, and its normal numbers are NumPy's: both libraries are free to change theirs."""
    try:
        from frugal_theory.evidence.kernel import normals
    except ImportError:
        return False
    generator = np.random.SFC64(0)
    words, drawn = _words(generator), np.empty(2**16)
    normals(words, drawn)
    return np.array_equal(drawn, np.random.Generator(generator).standard_normal(len(drawn)))


def measure(
    simulation: Simulation, trials: NDArray[np.int64], start: Mapping[str, Array], bits: np.random.SFC64
) -> dict[str, Array]:
    """Every metric at every step of these trials from x¹ = ``start`` on, shape (trials, steps). ``bits`` is left as it is."""
    from frugal_theory.evidence.kernel import FREE, READINGS, SUMS, advance

    problem, noise, algorithm, steps = simulation.problem, simulation.noise, simulation.algorithm, simulation.steps
    rule, free, runs = algorithm.state_full, algorithm.state_free, run_lengths(algorithm, problem.shapes)
    assert isinstance(problem, Quadratic)  # applies() has said so
    assert isinstance(rule, config.Sgdm)
    assert runs is not None
    sizes = [value.size for value in start.values()]
    edges, words = np.cumsum([0, *sizes]), _words(bits)
    x = np.repeat(problem.partition.join(start)[None], len(trials), axis=0)
    sigma = np.ascontiguousarray(np.broadcast_to(noise.sigma if isinstance(noise, Gaussian) else 0.0, x.shape[1]))
    momentum, inside = np.zeros_like(x), np.empty(x.shape, dtype=bool)
    values = {name: np.empty((len(trials), steps)) for name in simulation.metrics}
    first = 0
    while first < steps:
        period, phase = divmod(first, algorithm.update_gap)
        if phase == 0:
            parts = choose_parts(algorithm, problem.shapes, period, {}, trials)
            for part, low, high in zip(parts.values(), edges, edges[1:], strict=False):
                assert isinstance(part, Mask)
                inside[:, low:high] = part.inside
        last = min(first + CHUNK, first - phase + algorithm.update_gap, steps)
        sums = np.empty((last - first, len(sizes), len(trials), SUMS))
        advance(
            words,
            x,
            momentum,
            inside,
            problem.eigenvalues,
            sigma,
            edges,
            isinstance(noise, Gaussian),
            rule.beta,
            simulation.learning_rate,
            1 - simulation.learning_rate * algorithm.weight_decay,
            free.lr_scale,
            FREE[free.rule],
            READINGS[algorithm.off_set_momentum],
            sums,
        )
        leak = _leak(runs, first, last)
        for name, metric in simulation.metrics.items():
            values[name][:, first:last] = np.einsum("kptq,kpq->tk", sums, _weights(metric, runs, leak))
        first = last
    return values


def _leak(runs: RunLengths, first: int, last: int) -> Array:
    """E[β^r] at these steps, shape (steps, parameters)."""
    return np.array([[leak.item() for leak in runs.leak(k).values()] for k in range(first, last)])


def _weights(metric: Metric, runs: RunLengths, leak: Array) -> Array:
    """What a metric makes of Σ g² on the set, Σ g² off it, Σ |g| on it and Σ |g| off it; shape (steps, parameters, 4)."""
    zero, one = np.zeros_like(leak), np.ones_like(leak)
    if isinstance(metric, HybridNorm):
        return np.stack((metric.phi * (1 - leak), zero, zero, metric.scale * one), axis=-1)
    if metric is weighted_squared_gradient_norm:
        return np.stack((1 - leak, runs.off_set_weight * one, zero, zero), axis=-1)
    if metric is gradient_one_norm:
        return np.stack((zero, zero, one, one), axis=-1)
    return np.stack((one, one, zero, zero), axis=-1)


def _words(generator: np.random.SFC64) -> NDArray[np.uint64]:
    """A copy of the generator's state: a, b, c and the counter."""
    return np.array(generator.state["state"]["state"], dtype=np.uint64)
