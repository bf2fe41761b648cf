"""The fast path of Monte Carlo: a set of coordinates, with a problem and a noise of this package, compiled by numba.

It is the arithmetic of :func:`frugal_theory.algorithm.step` on the same random numbers: iterates are equal to the last
bit, and a metric up to the order of its sum. On a separable quadratic with Gaussian noise, or none, whole periods are
compiled; elsewhere NumPy gives the gradient, and noise of another kind, and the rest of a step is compiled. Without numba
(extra "fast"), or for work too small to pay for it, NumPy does the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from frugal_theory.algorithm.rules import AdamW, Lion, Sgdm
from frugal_theory.algorithm.rules.adamw import bias_corrections
from frugal_theory.algorithm.run_lengths import RunLengths
from frugal_theory.algorithm.selection import selection_key, threshold, trial_keys
from frugal_theory.algorithm.step import freezes
from frugal_theory.algorithm.subspaces import COORDINATES, Mask, choose_parts, unit_subspace
from frugal_theory.config import Algorithm
from frugal_theory.config.registry import SUBSPACES
from frugal_theory.instance import Instance
from frugal_theory.metrics import (
    HybridNorm,
    Metric,
    gradient_one_norm,
    squared_gradient_norm,
    weighted_squared_gradient_norm,
)
from frugal_theory.problems import Gaussian, Logistic, Matrix, Minibatch, Nonconvex, NoNoise, Quadratic, StudentT
from frugal_theory.problems.problem import Noise, Problem

__all__ = ["Trials", "applies", "compiled", "elementwise", "measure"]

Array = NDArray[np.float64]

STATISTICS: dict[type, int] = {Sgdm: 1, AdamW: 3, Lion: 1}
"""State-full rules that are compiled, and how many statistics each has."""

CHUNK = 64
"""Steps whose sums are held at a time, at most."""


def applies(instance: Instance, metrics: Mapping[str, Metric]) -> bool:
    """Whether the instance is one of those that are compiled."""
    algorithm, runs = instance.setting.algorithm, instance.setting.runs
    units = algorithm.set is not None or SUBSPACES[algorithm.subspace].whole or unit_subspace(algorithm) is not None
    known = (
        type(instance.problem) in (Quadratic, Matrix, Logistic, Nonconvex)
        and type(instance.noise) in (Gaussian, NoNoise, StudentT, Minibatch)
        and type(algorithm.state_full) in STATISTICS
        and algorithm.state_free.rule in ("none", "sgd", "signsgd")
        and (units or algorithm.density in (0.0, 1.0))
        and not (algorithm.weight_decay and freezes(algorithm))
        and all(_summed(metric) for metric in metrics.values())
    )
    if not known or runs is None:
        return False
    return runs.law == "fixed" or all(np.size(share) == 1 for share in runs.share.values())


def elementwise(problem: Problem, noise: Noise) -> TypeGuard[Quadratic]:
    """Whether a gradient's coordinate depends on that of x alone, and its noise is drawn here: nothing is left to NumPy."""
    return isinstance(problem, Quadratic) and problem.separable and isinstance(noise, Gaussian | NoNoise)


@lru_cache
def compiled() -> bool:
    """Whether numba is there, and its normal numbers are NumPy's: both libraries are free to change theirs."""
    try:
        from frugal_theory.evidence.monte_carlo.kernel import normals
    except ImportError:
        return False
    generator = np.random.SFC64(0)
    words, drawn = _words(generator), np.empty(2**16)
    normals(words, drawn)
    return np.array_equal(drawn, np.random.Generator(generator).standard_normal(len(drawn)))


def measure(
    instance: Instance, metrics: Mapping[str, Metric], steps: int, trials: NDArray[np.int64], bits: np.random.SFC64
) -> dict[str, Array]:
    """Every metric at every one of ``steps`` steps of these trials, shape (trials, steps)."""
    from frugal_theory.evidence.monte_carlo.kernel import SUMS

    algorithm, runs = instance.setting.algorithm, instance.setting.runs
    assert runs is not None  # applies() has said so
    cycle = steps if runs.law == "scheduled" else min(steps, algorithm.update_gap)
    leaks = _leak(runs, cycle)
    state = Trials(instance, steps, trials, bits)
    values = {name: np.empty((len(trials), steps)) for name in metrics}
    for first in range(0, steps, CHUNK):
        last = min(first + CHUNK, steps)
        sums = np.empty((last - first, len(instance.start), len(trials), SUMS))
        k = first
        while k < last:
            period, phase = divmod(k, algorithm.update_gap)
            if phase == 0:
                state.choose(period)
            until = min(k - phase + algorithm.update_gap, last)
            state.advance(sums[k - first : until - first])
            k = until
        leak = leaks[np.arange(first, last) % cycle]
        for name, metric in metrics.items():
            values[name][:, first:last] = np.einsum("kptq,kpq->tk", sums, _weights(metric, runs, leak))
    return values


class Trials:
    """A batch under way: x, the rule's statistics, the set and the state of the noise, all parameters side by side."""

    def __init__(self, instance: Instance, steps: int, trials: NDArray[np.int64], bits: np.random.SFC64) -> None:
        setting, start, noise = instance.setting, instance.start, instance.noise
        self.problem, self.algorithm, self.trials = instance.problem, setting.algorithm, trials
        self.edges, self.words = np.cumsum([0, *(value.size for value in start.values())]), _words(bits)
        self.x = np.repeat(np.concatenate([value.ravel() for value in start.values()])[None], len(trials), axis=0)
        self.views = {name: self.x[:, a:b].reshape(-1, *value.shape) for (name, value), (a, b) in self._pieces(start)}
        self.inside = np.empty(self.x.shape, dtype=bool)
        self.statistics = np.zeros((STATISTICS[type(self.algorithm.state_full)], *self.x.shape))
        self.noise, self.rng = noise, np.random.Generator(bits)  # for noise that is not drawn in the kernel
        self.sigma = np.array(np.broadcast_to(noise.sigma if isinstance(noise, Gaussian) else 0.0, self.x.shape[1]))
        self.noisy = isinstance(noise, Gaussian)
        self.step, self.corrections = _step(self.algorithm, setting.alpha, steps)

    def choose(self, period: int) -> None:
        """The set of a new period."""
        from frugal_theory.evidence.monte_carlo.kernel import draw_units

        algorithm, shapes = self.algorithm, self.problem.shapes
        drawn = algorithm.set is None and unit_subspace(algorithm) is COORDINATES and 0 < algorithm.density < 1
        parts = {} if drawn else choose_parts(algorithm, shapes, period, {}, self.trials)
        for (name, shape), (low, high) in self._pieces(shapes):
            if drawn:
                keys = trial_keys(selection_key(algorithm.seed or 0, name, period), self.trials)
                draw_units(keys[:, 0], threshold(algorithm.density), low, high, self.inside)
            else:
                part = parts[name]
                assert isinstance(part, Mask)
                whole = np.broadcast_to(part.inside, (len(self.trials), *shape))
                self.inside[:, low:high] = whole.reshape(len(self.trials), -1)

    def advance(self, sums: Array) -> None:
        """As many steps as there are ``sums``, shape (steps, parameters, trials, SUMS)."""
        from frugal_theory.evidence.monte_carlo.kernel import advance, advance_along

        before = (self.words, self.x, self.statistics, self.inside)
        after = (self.sigma, self.edges, self.noisy, self.step, self.corrections)
        if elementwise(self.problem, self.noise):
            advance(*before, self.problem.eigenvalues, *after, sums)
            return
        for own in sums:
            gradient = self.problem.gradient(self.views)
            true = stochastic = self._joined(gradient)
            if not self.noisy:
                stochastic = self._joined(self.noise.sample(self.rng, self.problem, self.views, gradient))
            advance_along(*before, true, stochastic, *after, own)

    def _joined(self, gradient: Mapping[str, Array]) -> Array:
        """All parameters side by side, shape (trials, d)."""
        flat = [value.reshape(len(self.trials), -1) for value in gradient.values()]
        return np.ascontiguousarray(flat[0] if len(flat) == 1 else np.concatenate(flat, axis=1))

    def _pieces(self, named: Mapping[str, Any]) -> Any:
        """The items of ``named``, by parameter, each with the parameter's first coordinate and that after its last."""
        return zip(named.items(), zip(self.edges, self.edges[1:], strict=False), strict=True)


def _step(algorithm: Algorithm, learning_rate: float, steps: int) -> tuple[Any, Array]:
    """The kernel's Step, and AdamW's bias corrections for as many steps, shape (2, steps + 1)."""
    from frugal_theory.evidence.monte_carlo.kernel import FREE, FULL, READINGS, Step

    rule, free = algorithm.state_full, algorithm.state_free
    betas = (rule.beta, 0.0) if isinstance(rule, Sgdm) else rule.betas
    adamw = isinstance(rule, AdamW)
    step = Step(
        full=FULL[rule.rule],
        beta_1=float(betas[0]),
        beta_2=float(betas[1]),
        eps=float(rule.eps) if isinstance(rule, AdamW) else 0.0,
        free=FREE[free.rule],
        scale=float(free.lr_scale),
        reading=READINGS[algorithm.off_set_momentum],
        alpha=float(learning_rate),
        shrink=float(1 - learning_rate * algorithm.weight_decay),
    )
    return step, np.array([bias_corrections(beta, steps if adamw else 0) for beta in betas])


def _summed(metric: Metric) -> bool:
    """Whether the metric is linear in Σ g² and Σ |g| on the set and off it: see _weights."""
    if isinstance(metric, HybridNorm):
        return metric.deviation is None
    return metric in (squared_gradient_norm, weighted_squared_gradient_norm, gradient_one_norm)


def _leak(runs: RunLengths, steps: int) -> Array:
    """E[β^r] at the first steps, shape (steps, parameters)."""
    return np.array([[leak.item() for leak in runs.leak(k).values()] for k in range(steps)])


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
