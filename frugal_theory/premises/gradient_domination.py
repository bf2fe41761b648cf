"""PL, ‖∇f‖² ≥ 2μ(f − f*): refused by a point whose gradient is too small for what another point shows f can still fall."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from frugal_theory.algorithm.selection import stream
from frugal_theory.premises.flat import gradient_rows, parameters, rows
from frugal_theory.premises.grounds import Grounds, PremiseTest
from frugal_theory.premises.premise import Premise
from frugal_theory.premises.search import DISTANCE, points
from frugal_theory.problems.problem import Problem

__all__ = ["GRADIENT_DOMINATION", "least_domination"]

Array = NDArray[np.float64]

RANDOM = 64
"""Random points around the start that are looked at, at distances from 10⁻³ to 10²."""

KRYLOV = 128
"""Dimension of the Krylov space in which the flattest direction is looked for; all of it where there are fewer coordinates."""

ALONG = np.geomspace(1e-2, 1e2, 9)
"""How far along the flattest direction, both ways, in units of 1 + ‖x‖."""

SLACK = 1e-9
"""Relative rounding of ‖∇f‖²/(2(f − f*)), beside that of f itself."""


def _dominated(test: PremiseTest, grounds: Grounds) -> Premise:
    instance = grounds.instance
    declared, smoothness = instance.setting.constants.strong_convexity, instance.setting.smoothness
    if declared is None or not declared.value > 0:
        return test.found(False, "the problem declares no μ > 0 (attribute strong_convexity)")
    if grounds.search is None:
        return test.found(False, f"the declared L = {smoothness:g} is not a positive number")
    mu = declared.value
    start = rows(instance.problem, instance.start)
    least = least_domination(instance.problem, smoothness, start, instance.seed, grounds.search.lowest, grounds.search.rounding)
    if not least >= mu * (1 - SLACK):
        how = f"at a point ‖∇f‖² is 2 · {least:.4g} times what f falls from there to another, below the declared μ = {mu:.4g}"
        return test.found(False, how, 0.0)
    how = f"μ = {mu:.4g} as derived; least ‖∇f‖²/(2(f − lowest value found)) {least:.4g}"
    return test.found(True, how, 0.0, "a search: what it does not find may exist")


def least_domination(
    problem: Problem, smoothness: float, start: Array, seed: int, lowest: float = np.inf, rounding: float = 0.0
) -> float:
    """The least ‖∇f(x)‖²/(2(f(x) − f(y))) of any points that are looked at: near and far, on the way down, and along the
    flattest direction at the lowest of them. ``start``: x¹, shape (d,). f is lower than ``lowest`` + ``rounding`` somewhere.
    """
    rng = np.random.default_rng(np.random.SeedSequence(entropy=stream(seed, "problem").entropy, spawn_key=(0, 2)))
    around = start + np.geomspace(1e-3, 1e2, RANDOM)[:, None] * rng.standard_normal((RANDOM, start.size))
    looked = np.vstack([points(problem, start, smoothness, rng), around])
    values = _values(problem, looked)
    if not np.isfinite(values).any():
        return np.nan
    bottom = looked[int(np.nanargmin(values))]
    flattest = _flattest(problem, bottom, rng.standard_normal(start.size))
    reach = np.concatenate([-ALONG, ALONG])[:, None] * (1 + float(np.linalg.norm(bottom)))
    along = bottom + reach * flattest
    looked, values = np.vstack([looked, along]), np.concatenate([values, _values(problem, along)])
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        squares = np.sum(gradient_rows(problem, looked) ** 2, axis=1)
        fall = values - min(float(np.nanmin(values)), lowest) - rounding
        ratio = np.where(fall > 0, squares / (2 * fall), np.inf)
    return float(np.nanmin(ratio))


def _values(problem: Problem, looked: Array) -> Array:
    with np.errstate(over="ignore", invalid="ignore"):
        values = np.ravel(problem.value(parameters(problem, looked)))
    return np.where(np.isfinite(values), values, np.nan)


def _flattest(problem: Problem, x: Array, direction: Array) -> Array:
    """A unit vector along which the Hessian at x is least: Lanczos on gradient differences, with full orthogonalisation."""
    size = min(x.size, KRYLOV)
    half = DISTANCE * (1 + float(np.linalg.norm(x)))
    basis, images = np.zeros((size, x.size)), np.zeros((size, x.size))
    vector = direction / np.linalg.norm(direction)
    for k in range(size):
        basis[k] = vector
        above, below = gradient_rows(problem, np.array([x + half * vector, x - half * vector]))
        images[k] = (above - below) / (2 * half)
        if not np.isfinite(images[k]).all():
            return basis[0]
        rest = images[k]
        for _ in range(2):
            rest = rest - basis[: k + 1].T @ (basis[: k + 1] @ rest)
        length = float(np.linalg.norm(rest))
        if length <= 1e-12 * float(np.linalg.norm(images[k])) + 1e-300:
            basis, images = basis[: k + 1], images[: k + 1]
            break
        vector = rest / length
    projected = basis @ images.T
    weights = np.linalg.eigh((projected + projected.T) / 2)[1][:, 0]
    found: Array = weights @ basis
    return found


GRADIENT_DOMINATION = PremiseTest("PL", "‖∇f‖² ≥ 2μ(f − f*)", _dominated, of_algorithm=False, of_every_theorem=False)
"""The Polyak–Łojasiewicz condition, which μ-strong convexity implies."""
