"""Tests of P3, P4 and P5 on noise that was drawn: each has a level, keeps it for any law it is documented for, and knows
what it would have found.

Noise is what a stochastic gradient is off the gradient. All tests are by coordinate, with the level shared by all
comparisons (Bonferroni). They never divide by a sample deviation alone: a coordinate whose rare large values have not
come up yet looks constant, and would seem certain to be biased.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["MARGIN", "POWER", "Finding", "contradicted_variance", "dependence", "excess_variance", "nonzero_mean"]

Array = NDArray[np.float64]

POWER = 0.95
"""What a violation of the stated size is found with."""

MARGIN = 1.96
"""Standard errors above the critical value that the stated size lies: it would be 1.645 were all statistics normal."""

EXCEEDED = (4.0, 8.0, 16.0, 32.0)
"""Multiples t of σ_j at which exceedances are counted: Chebyshev's inequality allows a share 1/t² of them."""

CONSTANT = 1e-9
"""A coordinate whose deviation is below this share of its largest value did not change: what is left is rounding."""

LAGS = (1, 2, 3)
"""Steps apart at which noise is held against noise."""


@dataclass(frozen=True)
class Finding:
    """What one test says. ``statistic`` is refused above ``critical``; ``detectable`` is the size of violation that it
    finds with probability ``POWER``, in the unit that its test names."""

    statistic: float
    critical: float
    detectable: float
    where: int = -1

    @property
    def refused(self) -> bool:
        """Whether the premise is refused. A statistic that is not a number is no excuse."""
        return not self.statistic <= self.critical


def nonzero_mean(noise: Array, declared: Array, rounding: Array, level: float) -> Finding:
    """P3: is the mean of some coordinate off zero? ``noise`` (n, d); σ_j² as ``declared`` and ``rounding`` (d,).

    |mean_j| √n / max(s_j, σ_j) against Student's t quantile. s_j alone is too small while a rare large value has not come
    up, and then σ_j holds; a mean that is high through such values has a large s_j. So skewed, sparse and heavy-tailed
    noise keep the level. Detectable: |bias_j| in units of max(s_j, σ_j).
    """
    from scipy.special import stdtrit

    n, d = noise.shape
    mean, variance = noise.mean(axis=0), noise.var(axis=0, ddof=1)
    error = np.sqrt(np.maximum(variance, np.where(np.isfinite(declared), declared, 0.0)) / n)
    statistic = _over(np.maximum(np.abs(mean) - rounding, 0.0), error)
    critical = float(stdtrit(n - 1, 1 - level / (2 * d)))
    return _largest(statistic, critical, (critical + MARGIN) / math.sqrt(n))


def excess_variance(noise: Array, declared: Array, rounding: Array, level: float) -> Finding:
    """P4: is E ξ_j² above σ_j² for some coordinate, or Σ ξ_j² above Σσ_j² in the mean? Arguments as in :func:`nonzero_mean`.

    With y = ξ², (ȳ − σ²) / (s_y/√n + (3 log(1/δ)/n) σ² / t_δ) against t_δ. Large y raise s_y with ȳ, so that the upper
    tail is light whatever moments y has. The term in 1/n is that of empirical Bernstein inequalities (Maurer & Pontil
    2009) for values of y below its mean that have not come up. Detectable: the factor by which the variance of a
    coordinate of Gaussian noise is too large.
    """
    from scipy.special import stdtrit

    n, d = noise.shape
    squares = np.maximum(np.abs(noise) - rounding, 0.0) ** 2
    mean, deviation = squares.mean(axis=0), squares.std(axis=0, ddof=1)
    total = squares.sum(axis=1)
    finite = bool(np.isfinite(declared).all())
    mean = np.append(mean, total.mean() if finite else 0.0)
    deviation = np.append(deviation, total.std(ddof=1) if finite else 0.0)
    allowed = np.append(declared, declared.sum())
    single = level / (d + 1)
    critical = float(stdtrit(n - 1, 1 - single))
    unseen = 3 * math.log(1 / single) / n
    known = np.where(np.isfinite(allowed), allowed, 0.0)
    excess = np.where(np.isfinite(allowed), np.maximum(mean - known * (1 + 1e-9), 0.0), 0.0)
    statistic = _over(excess, deviation / math.sqrt(n) + unseen * known / critical)
    width = (critical + MARGIN) * math.sqrt(2 / n)
    detectable = (1 + unseen) / (1 - width) if width < 1 else math.inf
    return _largest(statistic, critical, detectable)


def contradicted_variance(noise: Array, declared: Array, level: float) -> Finding:
    """P4 without any assumption: does some |ξ_j| exceed tσ_j more often than Chebyshev's inequality allows?

    The number of exceedances is at most binomial (n, 1/t²), exactly, for every law with E ξ_j² ≤ σ_j². This is what finds
    infinite variance beside a declared σ_j that is not much above the noise's scale. The statistic is −log₁₀ of the
    smallest p-value; detectable: the share of draws beyond 8σ_j, where 1/64 is allowed.
    """
    from scipy.special import bdtrc

    n, d = noise.shape
    usable = np.isfinite(declared) & (declared > 0)
    critical = -math.log10(level / (d * len(EXCEEDED)))
    allowed = 1 / 64
    detectable = allowed + (math.sqrt(2 * math.log(10) * critical) + MARGIN) * math.sqrt(allowed / n)
    worst = np.zeros(d)
    size = np.abs(noise) / np.sqrt(np.where(usable, declared, 1.0))
    for multiple in EXCEEDED:
        count = np.where(usable, (size > multiple).sum(axis=0), 0)
        p_value = np.where(count > 0, bdtrc(np.maximum(count, 1) - 1, n, multiple**-2), 1.0)
        worst = np.maximum(worst, -np.log10(np.maximum(p_value, 1e-300)))
    return _largest(worst, critical, detectable)


def dependence(noise: Array, rounding: Array, level: float) -> Finding:
    """P5: is noise correlated with that of another step, or of another trial? ``noise``: (steps, trials, d), at a
    fixed point; what is below ``rounding`` (d,) is taken for 0.

    For every lag along the steps, and for neighbouring trials: Σ ab over pairs, by coordinate for ξ and for sign ξ, and for
    the inner products of whole draws, against the normal quantile. a and b are centred by their mean over all draws. The
    divisor is the larger of √Σ(ab)² and its expectation for independent draws: a product of two rare values that has not come
    up yet hides from the first. Detectable: the correlation at one lag, by coordinate.
    """
    from scipy.special import ndtri

    steps, trials, d = noise.shape
    noise = np.where(np.abs(noise) > rounding, noise, 0.0)
    lags = [lag for lag in LAGS if lag < steps]
    comparisons = (len(lags) + (trials > 1)) * (2 * d + 1)
    critical = float(-ndtri(level / (2 * comparisons)))
    detectable = (critical + MARGIN) / math.sqrt((steps - 1) * trials)
    worst, where = 0.0, -1
    for values in (noise, np.sign(noise)):
        centred = values - values.mean(axis=(0, 1))
        second = np.einsum("smd,smd->d", centred, centred) / (steps * trials)
        second[second <= (CONSTANT * np.abs(values).max(axis=(0, 1))) ** 2] = 0.0
        scaled = centred * np.where(second > 0, 1 / np.sqrt(np.where(second > 0, second, 1.0)), 0.0)
        pairs = [(scaled[:-lag], scaled[lag:]) for lag in lags]
        pairs += [(scaled[:, :-1], scaled[:, 1:])] if trials > 1 else []
        for one, other in pairs:
            by_coordinate = _correlation(one, other)
            if by_coordinate.max(initial=0.0) > worst:
                worst, where = float(by_coordinate.max()), int(by_coordinate.argmax())
        if values is noise and d > 1:
            apart = _inner(scaled, np.roll(scaled, (steps // 2, trials // 2), axis=(0, 1)))
            spread = max(float(np.mean(apart**2)), float(np.sum(second > 0)))  # E⟨a, b⟩² = Σ C_jl² ≥ Σ C_jj²
            for one, other in pairs:
                inner = _inner(one, other)
                divisor = math.sqrt(max(float(np.sum(inner**2)), inner.size * spread))
                together = abs(float(inner.sum())) / divisor if divisor > 0 else 0.0
                if together > worst:
                    worst, where = together, d
    return Finding(worst, critical, detectable, where)


def _correlation(one: Array, other: Array) -> Array:
    """|Σ ab| / max(√Σ(ab)², √N) by coordinate, for a, b of mean square 1; shape (d,)."""
    product = one * other
    squared = np.einsum("smd,smd->d", product, product)
    result: Array = np.abs(product.sum(axis=(0, 1))) / np.sqrt(np.maximum(squared, one.shape[0] * one.shape[1]))
    return result


def _inner(one: Array, other: Array) -> Array:
    """Inner products of draws, shape (steps, trials)."""
    result: Array = np.einsum("smd,smd->sm", one, other)
    return result


def _over(excess: Array, error: Array) -> Array:
    """excess / error, where 0/0 is 0 and a positive excess without any error is infinite."""
    result: Array = np.where(excess > 0, excess / np.where(error > 0, error, 1e-300), 0.0)
    return result


def _largest(statistic: Array, critical: float, detectable: float) -> Finding:
    where = int(np.argmax(statistic))
    return Finding(float(statistic[where]), critical, detectable, where)
