"""Between the rates of SGD and of SGDM: momentum on the leading eigen-directions of a quadratic, in closed form.

``docs/theory/interpolation.md``, section "Interpolating between the rates of SGD and SGDM", has the proof.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["BestRate", "asymptotic_rate", "best_rate"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class BestRate:
    """The least asymptotic rate r (‖xᵏ‖ shrinks like rᵏ) over all (α, β), and an (α, β) that has it."""

    rate: float
    alpha: float
    beta: float

    @property
    def speed(self) -> float:
        """1 − r."""
        return 1 - self.rate


def asymptotic_rate(eigenvalues: ArrayLike, k: int, alpha: float, beta: float) -> float:
    """The spectral radius of one noise-free step with momentum on the top k eigen-directions and SGD on the others.

    max over i > k of |1 − αλ_i| and over i ≤ k of the spectral radius of [[1 − α(1−β)λ_i, −αβ], [(1−β)λ_i, β]].
    ``eigenvalues``: positive, in any order.
    """
    values = _descending(eigenvalues, k)
    top, rest = values[:k], values[k:]
    half_trace = (1 + beta - alpha * (1 - beta) * top) / 2  # of the 2 × 2 matrix, whose determinant is β
    real = np.abs(half_trace) + np.sqrt(np.maximum(half_trace**2 - beta, 0))
    radii = np.where(half_trace**2 < beta, np.sqrt(beta), real)
    return float(np.max(np.concatenate([radii, np.abs(1 - alpha * rest)])))


def best_rate(eigenvalues: ArrayLike, k: int) -> BestRate:
    """The least rate over α > 0 and 0 ≤ β < 1; with κ = λ_1/λ_d and δ the positive root of κδ² = 2 − δ it is

    1 − r = min( 2/(λ_{k+1}/λ_d + 1),  δ,  2/(√(λ_1/λ_k) + 1) )   for 0 < k < d,

    the first alone for k = 0 (gradient descent) and the last alone for k = d (heavy ball). β = r².
    """
    values = _descending(eigenvalues, k)
    largest, least = values[0], values[-1]
    speeds = []
    if k < len(values):
        speeds.append(2 / (values[k] / least + 1))
    if k > 0:
        speeds.append(2 / (np.sqrt(largest / values[k - 1]) + 1))
    if 0 < k < len(values):
        inverse = least / largest
        speeds.append(4 * inverse / (inverse + np.sqrt(inverse**2 + 8 * inverse)))  # the root of κδ² = 2 − δ, no cancellation
    speed = float(min(speeds))
    rate = 1 - speed
    slowest = speed / least if k < len(values) else 0.0
    slowest_on_set = speed / ((1 + rate) * values[k - 1]) if k > 0 else 0.0
    return BestRate(rate, float(max(slowest, slowest_on_set)), rate**2 if k > 0 else 0.0)


def _descending(eigenvalues: ArrayLike, k: int) -> Array:
    values = np.sort(np.asarray(eigenvalues, dtype=float))[::-1]
    if values.ndim != 1 or values.size == 0 or not values[-1] > 0:
        raise ValueError(f"eigenvalues has shape {values.shape}; a vector of positive numbers is allowed")
    if not 0 <= k <= values.size:
        raise ValueError(f"k = {k}; 0 to {values.size}, the number of eigenvalues, is allowed")
    return values
