"""The contract of a problem (:class:`frugal_theory.problems.problem.Problem`)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frugal_theory.instance import starting_point
from frugal_theory.premises.flat import dimension, gradient_rows, parameters, rows
from frugal_theory.premises.search import RATIO_SLACK, search
from frugal_theory.problems.problem import FiniteSum, Problem
from frugal_theory.testing.contract import close, copied, require, require_shapes, require_unchanged

__all__ = ["check_problem"]

Array = NDArray[np.float64]

STEP = 6e-6
"""The step of central differences, relative to 1 + ‖x‖: the cube root of the rounding unit."""

DIFFERENCE = 1e-5
"""What central differences may be off, relative to the gradient: their truncation is about the square of ``STEP``."""

DERIVATIVES = 256
"""So many partial derivatives are compared at a point, spread evenly over the coordinates."""

POINTS = (0.0, 0.1, 1.0, 10.0)
"""Distances from the start, in standard deviations by coordinate, of the points where f is evaluated."""


def check_problem(problem: Any, seed: int = 0) -> None:
    """Raise ContractError unless the problem keeps its contract, naming what is wrong.

    Names and shapes; a start that the generator alone decides; value and gradient of trials side by side equal those of
    one by one, and nothing is changed in place; the gradient is the derivative of the value; no two points contradict L,
    and no point f*; ``coordinate_smoothness``, if there is one, bounds f by its diagonal; ``samples``,
    ``batch_gradient`` and ``sample_variance``, if there are, belong to f.
    """
    _attributes(problem)
    start = _start(problem, seed)
    rng = np.random.default_rng(seed)
    points = np.array([start + scale * rng.standard_normal(start.size) for scale in POINTS])
    _trial_axes(problem, points)
    _derivative(problem, points)
    _constants(problem, seed)
    if hasattr(problem, "coordinate_smoothness"):
        _coordinate_smoothness(problem, points, rng)
    if hasattr(problem, "samples"):
        _finite_sum(problem, points)


def _attributes(problem: Any) -> None:
    missing = [name for name in ("shapes", "smoothness", "infimum", "start", "value", "gradient") if not hasattr(problem, name)]
    require(not missing, f"the problem has no {', '.join(missing)}")
    require(isinstance(problem.shapes, Mapping) and len(problem.shapes) > 0, "shapes is not a mapping with a parameter in it")
    for name, shape in problem.shapes.items():
        sizes = isinstance(shape, tuple) and all(isinstance(n, (int, np.integer)) and n >= 1 for n in shape)
        require(isinstance(name, str) and sizes, f"shapes has {name!r}: {shape!r}; a name and a tuple of whole numbers ≥ 1")
    require(
        math.isfinite(problem.smoothness) and problem.smoothness > 0, f"smoothness = {problem.smoothness}: not a number > 0"
    )
    require(math.isfinite(problem.infimum), f"infimum = {problem.infimum}: not a finite number (a lower bound of f will do)")


def _start(problem: Problem, seed: int) -> Array:
    first, second = (problem.start(np.random.default_rng(seed)) for _ in range(2))
    require_shapes("start(rng)", first, problem.shapes)
    one, other = rows(problem, first), rows(problem, second)
    require(np.array_equal(one, other), "start(rng) gives two points for the same generator; draw from rng alone")
    require(bool(np.isfinite(one).all()), "start(rng) is not finite")
    return one


def _trial_axes(problem: Problem, points: Array) -> None:
    batch = parameters(problem, points.reshape(2, 2, -1))
    before = copied(batch)
    values, gradients = problem.value(batch), problem.gradient(batch)
    require_unchanged("value or gradient", before, batch)
    require(np.shape(values) == (2, 2), f"value has shape {np.shape(values)} for trial axes (2, 2); those axes are expected")
    require_shapes("gradient", gradients, problem.shapes, (2, 2))
    side_by_side = rows(problem, gradients).reshape(len(points), -1)
    for row, vector in enumerate(points):
        alone = parameters(problem, vector)
        value, gradient = problem.value(alone), problem.gradient(alone)
        require(np.shape(value) == (), f"value has shape {np.shape(value)} without trial axes; () is expected")
        require_shapes("gradient", gradient, problem.shapes)
        require(
            close(value, np.ravel(values)[row]), f"value of trials side by side is {np.ravel(values)[row]}, and {value} alone"
        )
        require(close(rows(problem, gradient), side_by_side[row]), "gradient of trials side by side differs from that alone")


def _derivative(problem: Problem, points: Array) -> None:
    chosen = np.unique(np.linspace(0, dimension(problem) - 1, DERIVATIVES).astype(int))
    names = [(name, index) for name, shape in problem.shapes.items() for index in np.ndindex(*shape)]
    for x in points:
        half = STEP * (1 + float(np.linalg.norm(x)) / math.sqrt(x.size))
        steps = half * np.eye(x.size)[chosen]
        above, below = (np.asarray(problem.value(parameters(problem, x + sign * steps))) for sign in (1, -1))
        measured = (above - below) / (2 * half)
        gradient = gradient_rows(problem, x)
        rounding = 32 * np.finfo(float).eps * float(np.abs(above).max()) / half
        allowed = DIFFERENCE * (float(np.abs(gradient).max()) + problem.smoothness * half) + rounding
        off = np.abs(measured - gradient[chosen])
        worst = int(np.argmax(off))
        name, index = names[chosen[worst]]
        require(
            bool(off[worst] <= allowed),
            f"gradient is not the derivative of value: ∂f/∂{name}{list(index)} is {measured[worst]:.6g} by differences, "
            f"gradient says {gradient[chosen[worst]]:.6g}",
        )


def _constants(problem: Problem, seed: int) -> None:
    found = search(problem, problem.smoothness, starting_point(problem, seed), seed)
    require(
        found.ratio <= problem.smoothness * (1 + RATIO_SLACK),
        f"smoothness = {problem.smoothness:.6g} is too small: two points have gradient ratio {found.ratio:.6g}",
    )
    require(
        found.lowest >= problem.infimum - found.rounding,
        f"infimum = {problem.infimum:.6g} is no lower bound: a point has value {found.lowest:.6g}",
    )


def _coordinate_smoothness(problem: Any, points: Array, rng: np.random.Generator) -> None:
    diagonal = problem.coordinate_smoothness()
    require_shapes("coordinate_smoothness()", diagonal, problem.shapes)
    curvature = rows(problem, diagonal)
    for x in points:
        directions = np.vstack([rng.standard_normal((16, x.size)), np.eye(x.size)[: 4 * DERIVATIVES]])
        value, gradient = float(problem.value(parameters(problem, x))), gradient_rows(problem, x)
        rest = np.asarray(problem.value(parameters(problem, x + directions))) - value - directions @ gradient
        allowed = 0.5 * directions**2 @ curvature
        slack = 64 * np.finfo(float).eps * (abs(value) + np.abs(directions @ gradient) + allowed) + 1e-15
        require(
            bool(np.all(np.abs(rest) <= allowed * (1 + RATIO_SLACK) + slack)),
            "coordinate_smoothness is too small: |f(y) − f(x) − ⟨∇f(x), y − x⟩| exceeds ½ Σ L_j (y_j − x_j)²",
        )


def _finite_sum(problem: Any, points: Array) -> None:
    require(
        isinstance(problem, FiniteSum),
        "a problem with samples needs batch_gradient(x, batch) and sample_variance() beside them",
    )
    declared = rows(problem, problem.sample_variance())
    require(bool(np.all(declared >= 0)), "sample_variance() is negative somewhere")
    every = np.arange(problem.samples)[:, None]
    for x in points:
        stacked = parameters(problem, np.repeat(x[None], problem.samples, axis=0))
        found = problem.batch_gradient(stacked, every)
        require_shapes("batch_gradient", found, problem.shapes, (problem.samples,))
        each = rows(problem, found)
        whole = gradient_rows(problem, x)
        require(
            close(each.mean(axis=0), whole, float(np.abs(each).max())),
            "the mean of batch_gradient over all samples is not the gradient",
        )
        pair = rows(problem, problem.batch_gradient(parameters(problem, x), np.array([0, problem.samples - 1])))
        require(
            close(pair, (each[0] + each[-1]) / 2, float(np.abs(each).max())),
            "batch_gradient of two samples is not the mean of theirs",
        )
        excess = each.var(axis=0) - declared * (1 + RATIO_SLACK) - RATIO_SLACK * float(np.abs(each).max()) ** 2
        require(bool(np.all(excess <= 0)), "sample_variance() is below the variance of ∂_j f_i over the samples at some point")
