"""P6 by rerunning: the algorithm's own selection, twice with the same seeds and different gradients.

An oblivious selection cannot tell the two runs apart, so a single set that differs refuses the premise: no error level is
needed. Whatever a selection reads (the gradient that it is given, or a variable that the noise has left somewhere), it
reads in both runs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from frugal_theory.algorithm.selection import stream
from frugal_theory.algorithm.step import init, step
from frugal_theory.algorithm.subspaces import Basis, Part, choose_parts
from frugal_theory.config import Algorithm
from frugal_theory.instance import Instance
from frugal_theory.premises.flat import dimension

__all__ = ["first_difference", "selection_bias"]

Array = NDArray[np.float64]

PERIODS = 4
"""Periods that the two runs go through."""

BIAS_COORDINATES = 2**14
"""Coordinates of gradient, over all draws, from which the bias of a selection is measured."""


def first_difference(instance: Instance, learning_rate: float) -> int | None:
    """The first period in which two runs with the same selection and different noise have different sets; None if none.

    The update gap is 1 here: selection is a function of the period's number, not of its length. In the second run a
    normal vector of the gradient's size is added to every stochastic gradient, so that selection by the gradient is seen
    without any noise too. The noise itself is called, not a copy: something else may be reading from it.
    """
    short = instance.setting.algorithm.model_copy(update={"update_gap": 1})
    one, other = (_sets(instance, short, learning_rate, run) for run in (0, 1))
    for period, (parts, others) in enumerate(zip(one, other, strict=True)):
        if any(not _same(parts[name], others[name]) for name in parts):
            return period
    return None


def selection_bias(instance: Instance) -> tuple[float, float] | None:
    """How much E⟨∇f, P(g̃)g̃⟩ at x¹ differs from E⟨∇f, P(g̃′)g̃⟩ with an independent g̃′ to select by, relative to ‖∇f‖²,
    and its standard error. P(·) is the projection onto the selected subspace. None where ∇f is 0."""
    problem, noise, algorithm = instance.problem, instance.noise, instance.setting.algorithm
    rng = _generator(instance.seed, 2)
    count = max(16, min(512, BIAS_COORDINATES // dimension(problem)))
    x = {name: np.repeat(value[None], count, axis=0) for name, value in instance.start.items()}
    gradient = problem.gradient(x)
    applied, selecting = (noise.sample(rng, problem, x, {name: g.copy() for name, g in gradient.items()}) for _ in range(2))

    def along(chosen_by: Mapping[str, Array]) -> Array:
        parts = choose_parts(algorithm, problem.shapes, 0, chosen_by, np.arange(count), instance.bases)
        products = np.zeros(count)
        for name, part in parts.items():
            step_ = part.lift(part.project(applied[name]))
            products += np.sum((gradient[name] * step_).reshape(count, -1), axis=1)
        return products

    difference = along(applied) - along(selecting)
    square = float(sum(np.sum(g[0] ** 2) for g in gradient.values()))
    if square == 0:
        return None
    return float(difference.mean()) / square, float(difference.std(ddof=1)) / math.sqrt(count) / square


def _sets(instance: Instance, algorithm: Algorithm, learning_rate: float, run: int) -> list[Mapping[str, Part]]:
    problem, noise, rng = instance.problem, instance.noise, _generator(instance.seed, run)
    x = {name: value[None] for name, value in instance.start.items()}
    state = init(trials=np.zeros(1, dtype=np.int64), bases=instance.bases)
    found: list[Mapping[str, Part]] = []
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(PERIODS):
            gradient = problem.gradient(x)
            size = {name: 1 + float(np.abs(g).max(initial=0.0)) for name, g in gradient.items()}
            drawn = noise.sample(rng, problem, x, {name: g.copy() for name, g in gradient.items()})
            seen = {name: g + run * size[name] * rng.standard_normal(g.shape) for name, g in drawn.items()}
            _, state = step(algorithm, x, seen, state, learning_rate)
            x = {name: value - learning_rate * drawn[name] for name, value in x.items()}
            found.append(dict(state.parts))
    return found


def _same(one: Part, other: Part) -> bool:
    if isinstance(one, Basis) and isinstance(other, Basis):
        return np.array_equal(one.columns, other.columns)
    if isinstance(one, Basis) or isinstance(other, Basis):
        return False
    return np.array_equal(one.inside, other.inside)


def _generator(seed: int, run: int) -> np.random.Generator:
    key = stream(seed, "noise")
    return np.random.default_rng(np.random.SeedSequence(entropy=key.entropy, spawn_key=(*key.spawn_key, 0, 2, run)))
