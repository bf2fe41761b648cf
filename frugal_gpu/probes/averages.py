"""Averages over all steps of a run, from what was measured at one random step of each interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Average", "average", "ratio", "running"]

Array = NDArray[np.float64]


class Average(NamedTuple):
    """An average over steps with an interval that covers it with the confidence that was asked for, about."""

    value: float
    lower: float
    upper: float


def running(
    lengths: Sequence[int], values: Sequence[float], confidence: float, noise: Sequence[float] | None = None
) -> list[Average]:
    """The average over the first intervals, for 1, 2, … of them. ``values``: one of each interval, at a step drawn uniformly.

    Σ (length/steps)·value has that average as its expectation. Its variance is that of one draw per stratum; strata are
    collapsed in pairs of neighbours (Cochran 1977, 5A.12): Σ max(w_a, w_b)² (v_a − v_b)² is too large on average by the
    difference of the pair's means, so the interval, Student's t with a degree of freedom a pair, errs on the wide side. An
    interval of a single step has nothing drawn in it: only the value's own noise is left, whose variance is at most 4vn + 4n²
    for v = ⟨g_A, g_B⟩ and the variance n of (g_A + g_B)/2, its ``noise``. Without that it is taken to be v².
    """
    from scipy.special import stdtrit

    found = []
    extra = np.asarray(values if noise is None else noise, dtype=float)
    sizes, given = np.asarray(lengths, dtype=float), np.asarray(values, dtype=float)
    for count in range(1, len(sizes) + 1):
        weight, value = sizes[:count] / sizes[:count].sum(), given[:count]
        mean = float(weight @ value)
        alone = sizes[:count] <= 1
        if np.all(alone):
            alone = np.zeros(count, dtype=bool)  # every step was measured: only the noise of the values is left
        drawn = np.flatnonzero(~alone)
        own = value**2 if noise is None else 4 * np.maximum(value, 0) * extra[:count] + 4 * extra[:count] ** 2
        variance, pairs = float(np.sum(weight[alone] ** 2 * own[alone])), len(drawn) // 2
        for first in range(pairs):
            group = drawn[2 * first : 2 * first + 2] if first < pairs - 1 else drawn[2 * first :]
            largest = float(np.max(weight[group])) ** 2
            spread = float(np.sum((value[group] - value[group].mean()) ** 2)) * len(group) / (len(group) - 1)
            variance += largest * spread
        if pairs == 0:
            found.append(Average(mean, -math.inf, math.inf))
            continue
        half = float(stdtrit(pairs, 0.5 + confidence / 2)) * math.sqrt(variance)
        found.append(Average(mean, mean - half, mean + half))
    return found


def average(
    lengths: Sequence[int], values: Sequence[float], confidence: float, noise: Sequence[float] | None = None
) -> Average:
    """The average over all of them."""
    return running(lengths, values, confidence, noise)[-1] if values else Average(math.nan, -math.inf, math.inf)


def ratio(above: Sequence[float], below: Sequence[float], confidence: float) -> Average:
    """Σ above/Σ below of n measurements with Student's t of the linearised residuals above − r·below."""
    from scipy.special import stdtrit

    a, b = np.asarray(above, dtype=float), np.asarray(below, dtype=float)
    if not len(a) or b.sum() <= 0:
        return Average(math.nan, -math.inf, math.inf)
    value = float(a.sum() / b.sum())
    if len(a) < 2:
        return Average(value, -math.inf, math.inf)
    residual = a - value * b
    error = math.sqrt(float(np.sum(residual**2)) * len(a) / (len(a) - 1)) / float(b.sum())
    half = float(stdtrit(len(a) - 1, 0.5 + confidence / 2)) * error
    return Average(value, value - half, value + half)
