"""P4 against heavy tails: does the noise have a variance at all?

No finite sample can tell; what can be tested is the tail index α of the largest values that came up, P(|ξ| > t) ≈ t^−α,
whose variance is finite for α > 2.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from frugal_theory.premises.moments import MARGIN, Finding

__all__ = ["DEPTHS", "heavier_than_student", "heavy_tail"]

Array = NDArray[np.float64]

DEPTHS = (0.02, 0.005)
"""Shares of the draws that count as the tail. It must look heavy at every depth: mixtures look so at one of them."""

LAYERS = 4096
"""Parts of a tail over which its mean excess is averaged."""

LEAST_TAIL = 5
"""At least so many values a coordinate."""

JUMP = 1e-3
"""A coordinate whose tail has a gap that a power law has with less than this probability is left out: it is sparse."""

LEAST_KEPT = 0.5
"""With a smaller share of coordinates left the test abstains."""


def heavy_tail(noise: Array, level: float) -> Finding:
    """Hill's (1975) estimate of 1/α, pooled over coordinates: is its lower confidence limit above ½? ``noise``: (n, d).

    Each coordinate has its own threshold, so scales do not matter. Confidence comes from the n independent draws as
    clusters, so coordinates may depend on each other in any way. The statistic is the lower limit, the smaller of the two
    depths; it is 0 where the test abstains. Detectable: the index α below which it refuses with probability ``POWER``,
    if all coordinates have it and are independent (0 if there are too few draws for any).
    """
    size = np.abs(noise).T
    size = size[size.max(axis=1, initial=0.0) > 0]
    if not len(size):
        return Finding(0.0, 0.5, 0.0)
    limits, errors = zip(*(_lower_limit(size, depth, level) for depth in DEPTHS), strict=True)
    widest = max(errors)  # the relative width of the interval plus the power's own margin
    detectable = 2 * (1 - widest) if widest < 1 else 0.0
    return Finding(min(limits), 0.5, detectable)


def heavier_than_student(noise: Array, degrees: float, level: float) -> Finding:
    """Are tails heavier than those of Student's t with so many degrees of freedom? Arguments as in :func:`heavy_tail`.

    Hill's estimate of 1/α against what it is of Student's t itself, at the same depth: there a tail still looks heavier than
    its index says. The statistic is the ratio of the lower limit to that, the smaller of both depths.
    """
    size = np.abs(noise).T
    size = size[size.max(axis=1, initial=0.0) > 0]
    if not len(size):
        return Finding(0.0, 1.0, 0.0)
    found = [_lower_limit(size, depth, level) for depth in DEPTHS]
    ratios = [limit / _student_excess(degrees, depth) for (limit, _), depth in zip(found, DEPTHS, strict=True)]
    widest = max(error for _, error in found)
    return Finding(min(ratios), 1.0, degrees * (1 - widest) if widest < 1 else 0.0)


def _student_excess(degrees: float, depth: float) -> float:
    """E[log(|t|/q)] beyond the quantile q that |t| exceeds with probability ``depth``."""
    from scipy.special import stdtrit

    shares = depth * (np.arange(LAYERS) + 0.5) / LAYERS
    return float(np.mean(np.log(-stdtrit(degrees, shares / 2) / -stdtrit(degrees, depth / 2))))


def _lower_limit(size: Array, depth: float, level: float) -> tuple[float, float]:
    """The lower confidence limit of 1/α from the largest values of every row, and (quantile + ``MARGIN``)·(relative error)."""
    from scipy.special import stdtrit

    n = size.shape[1]
    kept = max(LEAST_TAIL, round(depth * n))
    if n < 2 * kept:
        return 0.0, math.inf
    at = np.argpartition(size, n - kept - 1, axis=1)[:, n - kept - 1 :]
    values = np.take_along_axis(size, at, axis=1)
    threshold = values[:, :1]  # argpartition puts the (kept + 1)-th largest first
    with np.errstate(divide="ignore", invalid="ignore"):
        excess = np.where(threshold > 0, np.log(values[:, 1:] / threshold), 0.0)
    whole = (threshold[:, 0] > 0) & ~_sparse(excess)
    if whole.mean() < LEAST_KEPT:
        return 0.0, math.inf
    excess, draw = excess[whole], at[whole, 1:]
    counts = np.bincount(draw.ravel(), minlength=n).astype(float)
    sums = np.bincount(draw.ravel(), weights=excess.ravel(), minlength=n)
    total = counts.sum()
    index = float(sums.sum() / total)
    error = math.sqrt(float(np.sum((sums - index * counts) ** 2))) / total
    clusters = float(total**2 / np.sum(counts**2))
    if clusters <= 2 or index <= 0:
        return 0.0, math.inf
    quantile = float(stdtrit(clusters - 1, 1 - level))
    return index - quantile * error, (quantile + MARGIN) / math.sqrt(clusters)


def _sparse(excess: Array) -> NDArray[np.bool_]:
    """Rows with one gap that is too large among the normalised spacings i (log x_(i) − log x_(i+1)), which a power law
    makes independent and exponential: their largest share exceeds c with probability at most k(1 − c)^(k−1)."""
    count = excess.shape[1]
    ordered = np.sort(excess, axis=1)[:, ::-1]
    spacings = np.arange(1, count + 1) * -np.diff(ordered, axis=1, append=0.0)
    sums = spacings.sum(axis=1)
    allowed = 1 - (JUMP / count) ** (1 / (count - 1))
    result: NDArray[np.bool_] = (sums <= 0) | (spacings.max(axis=1) > allowed * sums)
    return result
