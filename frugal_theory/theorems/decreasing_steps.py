"""SGDM with steps that fall. In theory no experiment has a schedule of α yet: this is a function, and no theorem to verify."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from frugal_theory.theorems.lyapunov import Lyapunov
from frugal_theory.theorems.setting import Array

__all__ = ["decreasing_steps_bound", "step_weights"]


def step_weights(steps: ArrayLike, beta: float, smoothness: float) -> Array:
    """c_k = α_kφ_k/D_k, the weight with which gradient k counts, shape of ``steps``."""
    return np.array([Lyapunov(smoothness * alpha, beta).descent / smoothness for alpha in np.atleast_1d(np.asarray(steps))])


def decreasing_steps_bound(
    steps: ArrayLike, beta: float, smoothness: float, gap: float, variance: float, share: float = 0.25
) -> Array:
    """An upper bound of Σ_{k≤K} c_k E‖gᵏ‖² / Σ_{k≤K} c_k for K = 1 … n, proved in ``docs/theory/momentum.md``. Shape (n,).

    ``steps``: α_1 ≥ α_2 ≥ … ≥ α_n > 0, α_1 ≤ (1+β)/L. ``smoothness``: L. ``gap``: Δ. ``variance``: σ². ``share``: δ in (0, 1),
    the share of the descent that pays for the falling of the steps; 0 if none falls. Raises ValueError for steps that rise or
    are too large, and for numbers of which the theorem does not speak.

    >>> decreasing_steps_bound([0.5, 0.5], 0.9, 1.0, 1.0, 0.0, share=0.0).round(3).tolist()
    [11.627, 5.813]
    """
    alphas = np.asarray(steps, dtype=float)
    if not 0 <= beta < 1:
        raise ValueError(f"beta = {beta:g}; at least 0 and less than 1 is allowed")
    for name, value in {"smoothness": smoothness, "gap": gap, "variance": variance}.items():
        if not (0 <= value < np.inf) or (name == "smoothness" and value == 0):
            least = "more than 0" if name == "smoothness" else "0 or more"
            raise ValueError(f"{name} = {value:g}; {least}, and finite, is allowed")
    if not (np.all(alphas > 0) and np.all(np.diff(alphas) <= 0) and smoothness * alphas[0] <= 1 + beta):
        raise ValueError("the steps must be positive, must not rise, and none may exceed (1 + β)/L")
    falls = beta > 0 and bool(np.any(np.diff(alphas) < 0))
    if not (0 <= share < 1) or (share == 0 and falls):
        raise ValueError(f"share = {share:g}; more than 0 and less than 1 is allowed, and 0 where no step falls or beta is 0")
    functions = [Lyapunov(smoothness * alpha, beta) for alpha in alphas]
    weights = step_weights(alphas, beta, smoothness)
    change = beta / (1 - beta) * -np.diff(alphas)
    with np.errstate(invalid="ignore", divide="ignore"):
        needed = change**2 / (4 * share * weights[1:] * alphas[:-1] * (1 - smoothness * alphas[:-1] / 2))
    needed = np.append(np.where(change > 0, needed, 0.0), 0.0)
    energy = np.maximum.accumulate(needed[::-1])[::-1]  # Θ_k, which must not rise
    kicks = np.array([function.kick for function in functions]) / smoothness + energy * alphas * (1 - beta) * (1 - beta / 2)
    noise = variance * np.concatenate([[0.0], np.cumsum(kicks)[:-1]])
    bound: Array = ((1 + energy[0]) * gap + noise) / ((1 - share) * np.cumsum(weights))
    return bound
