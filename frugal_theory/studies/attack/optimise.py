"""The optimisers of every attack: a global search, then a simplex from the best point."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["OPTIMIZERS", "polish", "search"]

Array = NDArray[np.float64]

OPTIMIZERS = ("differential-evolution", "dual-annealing")

SHARE_OF_POLISHING = 0.25
"""Of the evaluations: for Nelder and Mead's simplex, from the best point of the global search."""


def search(
    objective: Callable[[Array], float],
    size: int,
    optimizer: str,
    evaluations: int,
    seed: int,
    points: Array | None = None,
) -> None:
    """The global part of the search for the least value over [0, 1]ⁿ, with its share of the evaluations.

    ``points``: the first population of differential evolution, shape (population, n); drawn if there are none.
    """
    from scipy.optimize import differential_evolution, dual_annealing

    bounds, budget = [(0.0, 1.0)] * size, max(1, round((1 - SHARE_OF_POLISHING) * evaluations))
    if optimizer == "dual-annealing":
        dual_annealing(objective, bounds, maxfun=budget, rng=seed, no_local_search=True)
        return
    if points is None:
        points = np.random.default_rng(seed).random((max(5, min(10 * size, budget // 20)), size))
        points[0] = 0.5
    population = len(points)
    generations = max(0, budget // population - 1)
    differential_evolution(objective, bounds, init=points, maxiter=generations, tol=0, polish=False, rng=seed)


def polish(objective: Callable[[Array], float], start: Array, evaluations: int) -> None:
    """Nelder and Mead's simplex from the best point, as far as evaluations are left."""
    from scipy.optimize import minimize

    if evaluations > len(start):
        bounds = [(0.0, 1.0)] * len(start)
        options = {"maxfev": evaluations, "xatol": 1e-6, "fatol": 1e-12, "adaptive": True}
        minimize(objective, start, method="Nelder-Mead", bounds=bounds, options=options)
