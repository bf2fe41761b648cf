"""Noise as the user's code draws it: at the start, after some steps, and far away."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from frugal_theory.algorithm.selection import stream
from frugal_theory.instance import Instance
from frugal_theory.premises.flat import dimension, gradient_rows, parameters, rows
from frugal_theory.problems.problem import Noise, Problem, read_only

__all__ = ["Draws", "declared_variance", "draw", "repeats", "sizes", "tested"]

Array = NDArray[np.float64]

DRAWN_COORDINATES, LEAST_DRAWS = 2**18, 1024
"""At the start so many coordinates are drawn in all, but no fewer draws than that."""

ELSEWHERE = 4
"""The other points get the number of draws at the start divided by this, but at least half of ``LEAST_DRAWS``."""

MOST_COORDINATES = 1024
"""Of a problem with more coordinates so many are tested, spread evenly."""

STEPS = 32
"""Successive calls of the noise at one point; the draws of one call are its trials. Also the steps that are walked."""

FAR = 10.0
"""How far the far point is from the start, in standard deviations by coordinate."""

ROUNDING = 1e-9
"""Rounding of a stochastic gradient without noise, relative to the gradient."""


@dataclass(frozen=True)
class Draws:
    """Noise at one point. ``noise``: (steps, trials, d), a stochastic gradient less the gradient. ``rounding``: (d,).

    d is the number of tested coordinates, see :func:`tested`.
    """

    point: str
    noise: Array
    rounding: Array

    @property
    def flat(self) -> Array:
        """All draws, shape (steps · trials, d)."""
        return self.noise.reshape(-1, self.noise.shape[-1])

    @property
    def finite(self) -> bool:
        """Whether every draw is a number."""
        return bool(np.isfinite(self.noise).all())


def sizes(count: int, coordinates: int = DRAWN_COORDINATES) -> tuple[int, int]:
    """(steps, trials) at the start for a noise of ``count`` coordinates."""
    return STEPS, max(LEAST_DRAWS, coordinates // count) // STEPS


def tested(count: int) -> NDArray[np.int64]:
    """Which of ``count`` coordinates are tested: all, or ``MOST_COORDINATES`` spread evenly."""
    return np.unique(np.linspace(0, count - 1, min(count, MOST_COORDINATES)).astype(np.int64))


def declared_variance(instance: Instance) -> Array:
    """σ_j² of the tested coordinates, shape (tested,)."""
    every = rows(instance.problem, instance.setting.variance)
    return every[tested(every.size)]


def draw(instance: Instance, coordinates: int = DRAWN_COORDINATES) -> list[Draws]:
    """Draws at x¹, after ``STEPS`` steps of SGD with step 1/(2L) from there, and far from both; ``coordinates`` in all at x¹.

    The noise object is copied if it can be, so that drawing leaves no trace in one that keeps a state.
    """
    problem, noise = instance.problem, instance.noise
    with contextlib.suppress(Exception):
        noise = copy.deepcopy(noise)
    key = stream(instance.seed, "noise")
    rng = np.random.default_rng(np.random.SeedSequence(entropy=key.entropy, spawn_key=(*key.spawn_key, 0, 1)))
    start = rows(problem, instance.start)
    steps, trials = sizes(dimension(problem), coordinates)
    fewer = max(LEAST_DRAWS // STEPS // 2, trials // ELSEWHERE)
    points = {"x¹": (start, trials)}
    walked = _walk(problem, noise, start, rng)
    if np.isfinite(walked).all():
        points[f"x after {STEPS} steps of SGD"] = (walked, fewer)
    points["a point far away"] = (start + FAR * rng.standard_normal(start.size), fewer)
    return [_at(problem, noise, name, x, rng, steps, count) for name, (x, count) in points.items()]


def repeats(instance: Instance) -> bool:
    """Whether the noise draws the same from an equal generator. One that does not keeps a state, or draws from elsewhere."""
    problem, noise = instance.problem, instance.noise
    with contextlib.suppress(Exception):
        noise = copy.deepcopy(noise)
    x = np.repeat(rows(problem, instance.start)[None], STEPS, axis=0)
    gradient = gradient_rows(problem, x)
    one, other = (_sample(problem, noise, x, gradient, np.random.default_rng(instance.seed)) for _ in range(2))
    return np.array_equal(one, other, equal_nan=True)


def _walk(problem: Problem, noise: Noise, start: Array, rng: np.random.Generator) -> Array:
    x = start[None]
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(STEPS):
            drawn = _sample(problem, noise, x, gradient_rows(problem, x), rng)
            x = x - drawn / (2 * problem.smoothness)
    return x[0]


def _at(problem: Problem, noise: Noise, name: str, x: Array, rng: np.random.Generator, steps: int, trials: int) -> Draws:
    gradient = gradient_rows(problem, x)
    stacked, gradients = (np.repeat(v[None], trials, axis=0) for v in (x, gradient))
    chosen = tested(x.size)
    found = np.empty((steps, trials, chosen.size))
    for step in range(steps):
        found[step] = _sample(problem, noise, stacked, gradients, rng)[:, chosen] - gradient[chosen]
    scale = np.abs(gradient[chosen]) + float(np.abs(gradient).max(initial=0.0)) * 1e-3
    return Draws(name, found, ROUNDING * scale)


def _sample(problem: Problem, noise: Noise, x: Array, gradient: Array, rng: np.random.Generator) -> Array:
    """A stochastic gradient at every row of x. The gradient is a copy: a noise may write to what it is given."""
    given: Mapping[str, Array] = parameters(problem, gradient.copy())
    return rows(problem, noise.sample(rng, problem, read_only(parameters(problem, x)), dict(given)))
