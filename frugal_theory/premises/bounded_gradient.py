"""Stochastic gradients are bounded by coordinate, almost surely: refused by any draw beyond the declared bound."""

from __future__ import annotations

import contextlib
import copy

import numpy as np
from numpy.typing import NDArray

from frugal_theory.algorithm.selection import stream
from frugal_theory.algorithm.step import init, step
from frugal_theory.premises.flat import rows
from frugal_theory.premises.grounds import Grounds, PremiseTest
from frugal_theory.premises.premise import Premise

__all__ = ["BOUNDED_GRADIENT"]

Array = NDArray[np.float64]

COORDINATES = 2**16
"""Numbers drawn at each point, but no fewer than ``TRIALS`` gradients."""

TRIALS, STEPS = 32, 64
"""Runs of the algorithm itself that are followed, and for how many steps, and gradients drawn at once elsewhere."""

FAR = (10.0, 1000.0)
"""Standard deviations from x¹, by coordinate, of the far points."""

ROUNDING = 1e-9
"""A bound that is attained may be passed by so much of it."""


def _bounded(test: PremiseTest, grounds: Grounds) -> Premise:
    bound = grounds.instance.setting.gradient_bound
    if bound is None:
        return test.found(False, f"no bound of the gradients is known: {grounds.noise} declares none for this problem")
    limit = rows(grounds.instance.problem, {name: np.asarray(value, dtype=float) for name, value in bound.items()})
    if not np.all(np.isfinite(limit) & (limit >= 0)):
        return test.found(False, "the declared bound of the gradients is not made of finite numbers ≥ 0")
    largest, drawn = 0.0, 0
    for where, found in _draws(grounds):
        beyond = ~(np.abs(found) <= limit * (1 + ROUNDING))
        if np.any(beyond):
            at = int(np.argmax(beyond.any(axis=0)))
            value = float(found[beyond[:, at], at][0])
            how = f"a gradient drawn {where} has {value:.4g} in coordinate {at}, beyond its declared bound {limit[at]:.4g}"
            return test.found(False, how, 0.0)
        largest = max(largest, float(np.max(np.abs(found) / np.where(limit > 0, limit, 1.0), initial=0.0)))
        drawn += len(found)
    how = f"R between {limit.min():.3g} and {limit.max():.3g} as declared; {drawn} gradients reach {100 * largest:.3g} % of it"
    return test.found(True, how, 0.0, "a search: what was not drawn may exist")


def _draws(grounds: Grounds) -> list[tuple[str, Array]]:
    """Where stochastic gradients were drawn, in words, and the gradients, shape (draws, d): at x¹, far away, along runs."""
    instance = grounds.instance
    problem, noise, algorithm = instance.problem, instance.noise, instance.setting.algorithm
    with contextlib.suppress(Exception):
        noise = copy.deepcopy(noise)
    key = stream(instance.seed, "noise")
    rng = np.random.default_rng(np.random.SeedSequence(entropy=key.entropy, spawn_key=(*key.spawn_key, 0, 3)))
    size = sum(int(np.prod(shape)) for shape in problem.shapes.values())
    calls = -(-COORDINATES // (size * TRIALS))
    start = {name: np.repeat(value[None], TRIALS, axis=0) for name, value in instance.start.items()}

    def around(far: float) -> Array:
        found = []
        for _ in range(calls):
            x = {name: value + far * rng.standard_normal(value.shape) for name, value in start.items()}
            gradient = {name: g.copy() for name, g in problem.gradient(x).items()}
            found.append(rows(problem, noise.sample(rng, problem, x, gradient)))
        return np.concatenate(found)

    found = [("at x¹", around(0.0))]
    found += [(f"{far:g} standard deviations from x¹", around(far)) for far in FAR]
    x = start
    state = init(trials=np.arange(TRIALS), bases=instance.bases)
    alpha = instance.setting.learning_rate or 1 / instance.setting.smoothness
    with np.errstate(over="ignore", invalid="ignore"):
        for k in range(min(STEPS, instance.setting.steps)):
            gradient = problem.gradient(x)
            drawn = noise.sample(rng, problem, x, {name: g.copy() for name, g in gradient.items()})
            found.append((f"at step {k + 1} of a run", rows(problem, drawn)))
            x, state = step(algorithm, x, drawn, state, alpha)
    return found


BOUNDED_GRADIENT = PremiseTest(
    "bounded", "every coordinate of the stochastic gradient is bounded almost surely", _bounded, of_every_theorem=False
)
