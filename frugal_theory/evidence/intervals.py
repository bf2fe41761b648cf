"""Confidence intervals for the mean of skewed averages over few or many trials."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from frugal_theory.evidence.few_trials import REFERENCE_SKEWNESS, TRIALS, critical_value, enough

__all__ = ["mean_interval"]

Array = NDArray[np.float64]

TOO_SKEWED = 1.25 * REFERENCE_SKEWNESS
"""A sample skewness of about 3.5, which χ²_1 itself passes in about 4 % of samples of 128."""


def mean_interval(mean: Array, deviation: Array, skewness: Array | None, trials: int, confidence: float) -> tuple[Array, Array]:
    """The widest of three intervals for the expectation, and none at all where the sample is too skewed to say.

    - Student's t. Squared gradient norms are skewed to the right, and it then misses on the right.
    - Hall's (1992, "On the removal of skewness by transformation"): the t statistic mapped by g(T) = T + γT²/(3√n) +
      γ²T³/(27n) + γ/(6√n), which is monotone and nearly symmetric. It needs trials enough to estimate γ.
    - With fewer trials than :func:`~frugal_theory.evidence.few_trials.enough`, the t statistic with the critical value
      of χ²_1, the most skewed law of ‖g‖² on a quadratic with Gaussian noise.

    An end is infinite on the side of a sample skewness that χ²_1 hardly shows (more than 3.5, or √n/4 for many trials),
    and both are for fewer than 3 trials, where γ = ∞ says that a trial has no skewness, and where γ is not a number. All
    arrays have one shape; ``deviation`` and ``skewness`` (γ) are those of a single trial.
    """
    if trials < TRIALS[0]:
        return np.full_like(mean, -np.inf), np.full_like(mean, np.inf)
    from scipy.special import stdtrit  # Student's t: scipy.stats takes a second to import

    root = np.sqrt(trials)
    quantile = float(stdtrit(trials - 1, 0.5 + confidence / 2))
    widest = quantile if enough(trials, confidence) else max(quantile, critical_value(trials, 1 - confidence))
    error = deviation / root
    with np.errstate(invalid="ignore", over="ignore"):
        lower, upper = mean - widest * error, mean + widest * error
        if skewness is not None:
            lower = np.fmin(lower, mean - error * _hall(quantile, skewness, root))
            upper = np.fmax(upper, mean - error * _hall(-quantile, skewness, root))
            limit = max(TOO_SKEWED, root / 4)
            unknown = np.isposinf(skewness) | np.isnan(skewness)
            lower = np.where((skewness < -limit) | unknown, -np.inf, lower)
            upper = np.where((skewness > limit) | unknown, np.inf, upper)
    return lower, upper


def _hall(quantile: float, skewness: Array, root: float) -> Array:
    """g⁻¹(quantile); the identity where there is no skewness."""
    tiny = np.abs(skewness) < 1e-8
    gamma = np.where(tiny, 1.0, skewness) / root
    inverse = (np.cbrt(1 + gamma * (quantile - gamma / 6)) - 1) * 3 / gamma
    return np.where(tiny, quantile, inverse)
