"""P1 and P2 by search: pairs of points whose gradient ratio exceeds L, points whose value is below f*.

Every number that can refuse a premise comes from points that can be evaluated again, so nothing true is refused except
by rounding, which ``RATIO_SLACK`` allows for. A search that finds nothing proves nothing; where L is an eigenvalue of
the Hessian along the way, it finds it to within a per cent (docs/premises.md).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from frugal_theory.algorithm.selection import stream
from frugal_theory.config.one_line import ExperimentError
from frugal_theory.premises.flat import gradient_rows, parameters, rows
from frugal_theory.problems.problem import Problem, read_only

__all__ = ["RATIO_SLACK", "Search", "largest_gradient_ratio", "points", "search", "steepest"]

Array = NDArray[np.float64]

PAIRS = 64
"""Random pairs of points that L is held against."""

RATIO_SLACK = 1e-9
"""Relative rounding allowed to a gradient ratio: cancellation in ∇f(x) − ∇f(y) at nearby points."""

VALUE_SLACK = 1e-12
"""Rounding of a value of f, relative to the largest value of the search."""

DISTANCE = 1e-3
"""Half the distance of the pairs that measure curvature, as a share of 1 + ‖x‖."""

SHORT = 1e-3
"""How far f is followed from a point, in |⟨∇f, v⟩|/L: its curvature may then change half this share of what ∇f says of it."""

SLOPE_SLACK, PLACE_SLACK = 1e-9, 1e-12
"""Rounding of a value of f when it is followed, relative to the largest of all (near an optimum it may be a difference of
numbers that are large against it, like 1 − cos x), and of the points where it is evaluated, relative to ‖x‖."""

DESCENT = (4, 20, 100)
"""Steps of accelerated descent after which curvature is measured: from the start towards the optimum."""

ITERATIONS, CLIMBS, CANDIDATES = 12, 6, 8
"""Power iterations at every point; then rounds of local ascent, each with so many candidates around the best point."""

LANCZOS_SPACE = 20
"""Dimension of the Krylov space of the Lanczos estimate."""


@dataclass(frozen=True)
class Search:
    """What the search found: ``ratio``, the largest gradient ratio of any pair; ``lanczos``, the estimate of |λ|_max of the
    Hessian at the steepest point (nan without one); ``lowest``, the least value of f seen, and ``rounding``, what it may be
    off. ``slopes``: what f changes by per unit of length, and what the gradient says, where no L-smooth f has both; None if
    there is no such point."""

    ratio: float
    lanczos: float
    lowest: float
    rounding: float
    slopes: tuple[float, float] | None = None


def largest_gradient_ratio(problem: Problem, start: Mapping[str, Array], seed: int = 0, pairs: int = PAIRS) -> float:
    """The largest ‖∇f(x) − ∇f(y)‖ / ‖x − y‖ over random pairs at distances from 10⁻³ to 10² around ``start``."""
    rng = np.random.default_rng(stream(seed, "problem"))
    centre = rows(problem, start)
    scales = np.geomspace(1e-3, 1e2, pairs)[:, None]
    x = centre + scales * rng.standard_normal((pairs, centre.size))
    y = x + scales * rng.standard_normal((pairs, centre.size))
    difference = gradient_rows(problem, x) - gradient_rows(problem, y)
    return float(np.max(_norms(difference) / _norms(x - y)))


def search(problem: Problem, smoothness: float, start: Mapping[str, Array], seed: int = 0) -> Search:
    """Random pairs, then power iteration at points between the start, the optimum and far away, then local ascent.

    ``smoothness`` sets the step of the descent only. The pair of every measurement is x ± h v, with v turned towards the
    steepest direction by power iteration on gradient differences.
    """
    rng = np.random.default_rng(np.random.SeedSequence(entropy=stream(seed, "problem").entropy, spawn_key=(0, 1)))
    places = points(problem, rows(problem, start), smoothness, rng)
    x, direction, found = steepest(problem, places, rng.standard_normal(places.shape), ITERATIONS)
    for round_ in range(CLIMBS):
        scale = (1 + np.linalg.norm(x)) / math.sqrt(x.size) * 0.5**round_
        around = x + scale * rng.standard_normal((CANDIDATES, x.size))
        turned = direction + 0.1 * rng.standard_normal(around.shape) / math.sqrt(x.size)
        candidate, its_direction, its_ratio = steepest(problem, around, turned, 3)
        if its_ratio > found:
            x, direction, found = candidate, its_direction, its_ratio
    lanczos, vector = _lanczos(problem, x, direction)
    if vector is not None:
        found = max(found, float(_stretch(problem, x[None], vector[None])[1][0]))
    values = _values(problem, np.vstack([places, x]))
    values = values[np.isfinite(values)]
    lowest, highest = (float(values.min()), float(np.abs(values).max())) if values.size else (math.nan, 0.0)
    ratio = max(found, largest_gradient_ratio(problem, start, seed))
    return Search(ratio, lanczos, lowest, VALUE_SLACK * highest, _slopes(problem, smoothness, places, rng))


def _values(problem: Problem, x: Array) -> Array:
    """f at every row. Raises ExperimentError, one line, where that is not one number a row."""
    with np.errstate(over="ignore", invalid="ignore"):
        found = np.asarray(problem.value(read_only(parameters(problem, x))), dtype=float)
    if found.shape != (len(x),):
        raise ExperimentError(f"the problem's value has shape {found.shape} for {len(x)} trials; ({len(x)},) is expected")
    return found


def _slopes(problem: Problem, smoothness: float, places: Array, rng: np.random.Generator) -> tuple[float, float] | None:
    """Where the gradient is not the derivative of f: (f(x + hv) − f(x − hv))/2h and ⟨∇f(x), v⟩ at the worst such point.

    If f is L-smooth they differ by at most Lh/2. v is the gradient's direction, and one at random, h short against ⟨∇f, v⟩/L.
    """
    gradient = gradient_rows(problem, places)
    x, gradient, v = (
        np.vstack(rows_) for rows_ in ((places, places), (gradient, gradient), (gradient, rng.standard_normal(places.shape)))
    )
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        v = v / _norms(v)[:, None]
        said = np.einsum("ij,ij->i", gradient, v)
        h = SHORT * np.abs(said) / smoothness
        usable = np.isfinite(said) & (h > 0)
        x, gradient, v, said, h = x[usable], gradient[usable], v[usable], said[usable], h[usable]
        above, below = (_values(problem, x + sign * h[:, None] * v) for sign in (1, -1))
        moved = (above - below) / (2 * h)
        highest = np.nanmax(np.abs([above, below]), initial=0.0)
        rounding = 2 * SLOPE_SLACK * highest + PLACE_SLACK * _norms(x) * _norms(gradient)
        excess = np.abs(moved - said) - smoothness * h / 2 - rounding / h
    excess = np.where(np.isfinite(excess), excess, -np.inf)
    worst = int(np.argmax(excess)) if excess.size else -1
    return (float(moved[worst]), float(said[worst])) if excess.size and excess[worst] > 0 else None


def points(problem: Problem, start: Array, smoothness: float, rng: np.random.Generator) -> Array:
    """Start, towards the optimum (Nesterov's method with step 1/L), between the two, the origin, and far away; (points, d)."""
    x, ahead, path = start, start, [start]
    for step in range(1, DESCENT[-1] + 1):
        new = ahead - gradient_rows(problem, ahead) / smoothness
        if not np.isfinite(new).all():
            break
        x, ahead = new, new + step / (step + 3) * (new - x)
        if step in DESCENT:
            path.append(x)
    far = [start + scale * rng.standard_normal(start.size) for scale in (3.0, 30.0)]
    return np.array([*path, (start + path[-1]) / 2, np.zeros_like(start), *far])


def _stretch(problem: Problem, x: Array, direction: Array) -> tuple[Array, Array]:
    """Unit vectors along ∇f(x + hv) − ∇f(x − hv), and its length over 2h, row by row, for unit v along ``direction``."""
    unit = direction / _norms(direction)[:, None]
    half = DISTANCE * (1 + _norms(x))[:, None]
    above, below = x + half * unit, x - half * unit
    difference = gradient_rows(problem, above) - gradient_rows(problem, below)
    length = _norms(difference)
    with np.errstate(invalid="ignore", divide="ignore"):
        turned = np.where(length[:, None] > 0, difference / length[:, None], unit)
    return turned, length / _norms(above - below)


def steepest(problem: Problem, x: Array, direction: Array, iterations: int) -> tuple[Array, Array, float]:
    """Power iteration at every row of x side by side; the steepest row, its direction and its largest gradient ratio."""
    best = np.zeros(len(x))
    for _ in range(iterations):
        turned, ratio = _stretch(problem, x, direction)
        direction = np.where(np.isfinite(turned).all(axis=1, keepdims=True), turned, direction)
        best = np.fmax(best, ratio)
    row = int(np.argmax(best))
    return x[row], direction[row], float(best[row])


def _lanczos(problem: Problem, x: Array, direction: Array) -> tuple[float, Array | None]:
    """|λ|_max of the Hessian at x and its eigenvector by Lanczos on gradient differences; (nan, None) if that fails."""
    if x.size < 3:
        return math.nan, None
    from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh

    half = DISTANCE * (1 + float(np.linalg.norm(x)))

    def product(vector: Array) -> Array:
        vector = vector.ravel()
        scale = half / max(float(np.linalg.norm(vector)), 1e-300)
        both = gradient_rows(problem, np.array([x + scale * vector, x - scale * vector]))
        result: Array = (both[0] - both[1]) / (2 * scale)
        return result

    operator = LinearOperator((x.size, x.size), matvec=product, dtype=np.float64)
    try:
        values, vectors = eigsh(operator, k=1, which="LM", v0=direction, ncv=min(x.size, LANCZOS_SPACE), maxiter=5, tol=1e-3)
    except (ArpackError, ValueError, np.linalg.LinAlgError):
        return math.nan, None
    return float(abs(values[0])), vectors[:, 0]


def _norms(vectors: Array) -> Array:
    with np.errstate(over="ignore", invalid="ignore"):
        return np.sqrt(np.einsum("...i,...i->...", vectors, vectors))
