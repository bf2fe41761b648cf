"""Coordinate-wise smoothness: a diagonal D between which and −D the Hessian lies everywhere."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from frugal_theory.problems.problem import Problem

__all__ = ["coordinate_smoothness", "dominating_diagonal"]

Array = NDArray[np.float64]


def coordinate_smoothness(problem: Problem) -> Mapping[str, Array]:
    """L_j by parameter and coordinate: −D ⪯ ∇²f ⪯ D with D = diag(L_j).

    What the problem's method ``coordinate_smoothness`` says, if it has one; L for every coordinate otherwise, which is
    always valid. It implies f(y) ≤ f(x) + ⟨∇f(x), y − x⟩ + ½ Σ L_j(y_j − x_j)².
    """
    declared = getattr(problem, "coordinate_smoothness", None)
    if declared is not None:
        found: Mapping[str, Array] = declared()
        return found
    return {name: np.full(shape, problem.smoothness) for name, shape in problem.shapes.items()}


def dominating_diagonal(matrix: Array) -> Array:
    """The diagonal, shape (d,), of a D ⪰ ±A for a symmetric A, shape (d, d).

    D − A and D + A are positive semi-definite for the absolute row sums D_j = Σ_i |A_ji| (Gershgorin), and for
    D_j = ‖A‖. Of the two, the one with the smaller trace. A diagonal A ⪰ 0 is its own.
    """
    rows: Array = np.abs(matrix).sum(axis=1)
    norm = float(np.linalg.norm(matrix, 2))
    return rows if rows.sum() <= norm * len(rows) else np.full(len(rows), norm)
