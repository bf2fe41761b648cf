"""Confidence intervals for the mean of skewed averages over few or many trials."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["mean_interval"]

Array = NDArray[np.float64]


def mean_interval(mean: Array, deviation: Array, skewness: Array | None, trials: int, confidence: float) -> tuple[Array, Array]:
    """The outer of two intervals for the expectation: Student's t, and Hall's with the skewness taken out.

    Squared gradient norms are skewed to the right, and the t interval then misses on the right. Hall (1992, "On the
    removal of skewness by transformation") maps the t statistic by g(T) = T + γT²/(3√n) + γ²T³/(27n) + γ/(6√n),
    which is monotone and nearly symmetric. Taking the outer ends costs a little width and never covers less than
    either. All arrays have one shape; ``deviation`` and ``skewness`` (γ) are those of a single trial.
    """
    if trials < 2:
        return np.full_like(mean, -np.inf), np.full_like(mean, np.inf)
    from scipy.stats import t

    root = np.sqrt(trials)
    quantile = float(t.ppf(0.5 + confidence / 2, trials - 1))
    error = deviation / root
    with np.errstate(invalid="ignore", over="ignore"):
        lower, upper = mean - quantile * error, mean + quantile * error
        if skewness is not None:
            lower = np.fmin(lower, mean - error * _hall(quantile, skewness, root))
            upper = np.fmax(upper, mean - error * _hall(-quantile, skewness, root))
    return lower, upper


def _hall(quantile: float, skewness: Array, root: float) -> Array:
    """g⁻¹(quantile); the identity where there is no skewness."""
    tiny = np.abs(skewness) < 1e-8
    gamma = np.where(tiny, 1.0, skewness) / root
    inverse = (np.cbrt(1 + gamma * (quantile - gamma / 6)) - 1) * 3 / gamma
    return np.where(tiny, quantile, inverse)
