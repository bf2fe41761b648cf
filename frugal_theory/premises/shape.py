"""Tests of the law of a coordinate: is it symmetric, and does it have one mode? Both are exact for every sample size.

The grid on which values are counted comes from every other draw, and the draws between them are counted, so that the grid is
independent of what it is used on.
"""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from frugal_theory.premises.moments import MARGIN, Finding

__all__ = ["asymmetric", "two_modes"]

Array = NDArray[np.float64]

SIZES = (0.0, 0.25, 0.5, 0.75, 0.9, 0.97)
"""Values are sorted into layers by size, from these quantiles of |ξ_j| to the next: a symmetric law has fair signs in each."""

ENDS = (
    *((0.25, 1.0), (0.5, 0.999), (0.5, 1.001), (0.75, 1.0), (0.9, 0.999), (0.9, 1.001)),
    *((0.98, 0.6), (0.98, 0.999), (0.98, 1.001), (0.998, 0.6), (0.998, 0.999), (0.998, 1.001)),
)
"""Where an interval may end, beside at 0: quantiles of |ξ_j| and factors of them. Values that are all alike lie between two."""


def asymmetric(noise: Array, rounding: Array, level: float) -> Finding:
    """Is ξ_j for some coordinate not symmetric about 0? ``noise`` (n, d); ``rounding`` (d,).

    Given its size a symmetric value has either sign with probability ½, so of m values in a layer the signs sum to s with
    P(|s| ≥ t√m) ≤ 2 exp(−t²/2) (Hoeffding), whatever the law. The statistic is |s|/√m. Detectable: by how much the share of
    one sign differs from ½ in a coordinate.
    """
    kept = np.where(np.abs(noise) > rounding, noise, 0.0)
    grid, counted = np.abs(kept[::2]), kept[1::2]
    n, d = counted.shape
    critical = math.sqrt(2 * math.log(2 * d * (len(SIZES) + 1) / level))
    size, sign = np.abs(counted), np.sign(counted)
    edges = np.quantile(grid, SIZES[1:], axis=0)
    layer = (size[None] > edges[:, None, :]).sum(axis=0)
    statistic = _signs(sign, np.ones_like(sign, dtype=bool))
    for number in range(len(SIZES)):
        statistic = np.maximum(statistic, _signs(sign, layer == number))
    where = int(np.argmax(statistic))
    return Finding(float(statistic[where]), critical, (critical + MARGIN) / (2 * math.sqrt(n)), where)


def two_modes(noise: Array, rounding: Array, level: float) -> Finding:
    """Does the density of |ξ_j| rise anywhere, for some coordinate? Arguments as in :func:`asymmetric`.

    If it does not, of the N values in (u, t] at least Binomial(N, (s−u)/(t−u)) lie in (u, s], and in [0, s] for u = 0, where
    values may be exactly 0. The statistic is −log₁₀ of the smallest p-value, exact; detectable: the share of all values that
    must be missing from the lower half of where the others are.
    """
    from scipy.special import bdtr

    size = np.where(np.abs(noise) > rounding, np.abs(noise), 0.0)
    grid, counted = size[::2], size[1::2]
    n, d = counted.shape
    quantiles, factors = np.array(ENDS).T
    points = np.sort(np.vstack([np.zeros((1, d)), np.quantile(grid, quantiles, axis=0) * factors[:, None]]), axis=0)
    below = np.array([(counted <= point).sum(axis=0) for point in points])
    below[0] = 0  # what is exactly 0 lies in the first interval
    triples = list(combinations(range(len(points)), 3))
    critical = -math.log10(level / (len(triples) * d))
    worst = np.zeros(d)
    for i, j, k in triples:
        width = points[k] - points[i]
        share = np.where(width > 0, (points[j] - points[i]) / np.where(width > 0, width, 1.0), 0.0)
        usable = (share > 0) & (share < 1)
        inside, all_ = below[j] - below[i], below[k] - below[i]
        p_value = np.where(usable & (all_ > 0), bdtr(inside, np.maximum(all_, 1), np.clip(share, 1e-300, 1 - 1e-16)), 1.0)
        worst = np.maximum(worst, -np.log10(np.maximum(p_value, 1e-300)))
    where = int(np.argmax(worst))
    missing = (math.sqrt(2 * math.log(10) * critical) + MARGIN) * 0.5 / math.sqrt(n)
    return Finding(float(worst[where]), critical, missing, where)


def _signs(sign: Array, chosen: NDArray[np.bool_]) -> Array:
    """|Σ sign| / √m over the m chosen values that are not 0, by coordinate."""
    count = (chosen & (sign != 0)).sum(axis=0)
    result: Array = np.abs((sign * chosen).sum(axis=0)) / np.sqrt(np.maximum(count, 1))
    return result
