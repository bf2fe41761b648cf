"""Tests of noise whose coordinates are said to be uncorrelated: pairs of them, the direction of most noise, and a basis.

A basis turns correlations that are too small to be seen in any pair into a variance that is d times too large, if all pairs
have them. So directions are tested, too: of each draw what the noise has there beyond Σ v_j²ξ_j², whose mean is 0 whatever
the variances are.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from frugal_theory.premises.moments import CONSTANT, MARGIN, Finding

__all__ = ["directed", "off_zero", "paired"]

Array = NDArray[np.float64]

DIRECTIONS = 3
"""Leading directions of half of the draws that the other half is tested in."""


def paired(noise: Array, rounding: Array, level: float) -> Finding:
    """Is the noise of some two coordinates correlated? ``noise`` (n, d), of one point or of many; ``rounding`` (d,).

    |Σ ab| / max(√Σ(ab)², √n) over the draws, for a, b centred and of mean square 1, against the normal quantile. The divisor
    is its expectation for independent a and b where a product of two rare values has not come up. Detectable: a correlation.
    """
    from scipy.special import ndtri

    scaled = _scaled(noise, rounding)
    n, d = scaled.shape
    if d < 2:
        return Finding(0.0, math.inf, math.inf)
    critical = float(-ndtri(level / (d * (d - 1))))
    together = np.abs(scaled.T @ scaled)
    statistic = together / np.sqrt(np.maximum((scaled**2).T @ scaled**2, n))
    np.fill_diagonal(statistic, 0.0)
    where = int(np.argmax(statistic))
    return Finding(float(statistic.flat[where]), critical, (critical + MARGIN) / math.sqrt(n), where)


def directed(noise: Array, rounding: Array, level: float) -> Finding:
    """Is there more noise in some direction than uncorrelated coordinates have? Arguments as in :func:`paired`.

    The directions are the leading ones of every other draw; the draws between them are tested. Detectable: by how many times
    the variance in such a direction is too large, for Gaussian noise and a direction that half of the draws show.
    """
    scaled = _scaled(noise, rounding)
    n, d = scaled.shape
    if d < 2 or n < 4:
        return Finding(0.0, math.inf, math.inf)
    leading = _leading(scaled[::2])
    other = scaled[1::2]
    count, single = len(other), level / leading.shape[1]
    beyond = (other @ leading) ** 2 - other**2 @ leading**2
    found = [off_zero(column, 1.0, single, upward=True) for column in beyond.T]
    most = max(found, key=lambda finding: finding.statistic)
    width = (most.critical + MARGIN) * math.sqrt(2 / count)
    return Finding(most.statistic, most.critical, 1 / (1 - width) if width < 1 else math.inf)


def off_zero(values: Array, scale: float, level: float, *, upward: bool = False) -> Finding:
    """Is the mean of the ``values``, shape (n,), off 0 (or above it)? Values below their mean that have not come up may be of
    the size ``scale``: the term in 1/n of empirical Bernstein inequalities, as in the test of the variance.

    Detectable: the mean, in units of the values' deviation.
    """
    from scipy.special import stdtrit

    n = len(values)
    single = level if upward else level / 2
    critical = float(stdtrit(n - 1, 1 - single))
    mean = float(values.mean())
    excess = max(mean, 0.0) if upward else abs(mean)
    error = float(values.std(ddof=1)) / math.sqrt(n) + 3 * math.log(1 / single) / n * scale / critical
    statistic = excess / error if error > 0 else 0.0 if excess == 0 else math.inf
    return Finding(statistic, critical, (critical + MARGIN) / math.sqrt(n))


def _scaled(noise: Array, rounding: Array) -> Array:
    """The noise centred, each coordinate of mean square 1, or 0 where nothing but rounding is."""
    noise = np.where(np.abs(noise) > rounding, noise, 0.0)
    centred = noise - noise.mean(axis=0)
    second = np.einsum("nd,nd->d", centred, centred) / len(centred)
    second[second <= (CONSTANT * np.abs(noise).max(axis=0, initial=0.0)) ** 2] = 0.0
    result: Array = centred * np.where(second > 0, 1 / np.sqrt(np.where(second > 0, second, 1.0)), 0.0)
    return result


def _leading(draws: Array) -> Array:
    """The leading right singular vectors, shape (d, at most ``DIRECTIONS``)."""
    n, d = draws.shape
    if n < d:
        values, left = np.linalg.eigh(draws @ draws.T)
        kept = [k for k in range(n - 1, max(-1, n - 1 - DIRECTIONS), -1) if values[k] > 0]
        vectors = draws.T @ left[:, kept] / np.sqrt(values[kept]) if kept else np.eye(d)[:, :1]
    else:
        vectors = np.linalg.eigh(draws.T @ draws)[1][:, ::-1][:, :DIRECTIONS]
    result: Array = np.ascontiguousarray(vectors)
    return result
