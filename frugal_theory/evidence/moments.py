"""Streaming statistics of trials: moments that merge, and the evidence that they give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from frugal_theory.evidence.evidence import Evidence, Source
from frugal_theory.evidence.horizons import judged

__all__ = ["Moments", "pooled", "sampled"]

Array = NDArray[np.float64]


NO_INTERVAL = "the noise has no sixth moment, so no interval is valid"

ROUNDING = 1e-13
"""Trials that differ by less than this share of their mean, a few hundred roundings, do not differ: whether such a deviation is
zero depends on the processor's BLAS kernel, and its skewness is that of rounding."""


@dataclass(frozen=True)
class Moments:
    """Number, mean and central power sums Σ(q−q̄)², Σ(q−q̄)³ of per-trial running averages; arrays of shape (steps,).

    ``values``: the averages themselves at the :func:`~frugal_theory.evidence.horizons.judged` horizons, (count, horizons).
    """

    count: int
    mean: Array
    second: Array
    third: Array
    values: Array

    @classmethod
    def of(cls, averages: Array) -> Moments:
        """Moments over the first axis of ``averages``, shape (trials, steps)."""
        mean = averages.mean(axis=0)
        centred = averages - mean
        values = averages[:, judged(averages.shape[1]) - 1]
        return cls(len(averages), mean, np.sum(centred**2, axis=0), np.sum(centred**3, axis=0), values)

    @classmethod
    def behind(cls, evidence: Evidence) -> Moments:
        """The moments that ``evidence`` was made of. Raises ValueError if it has no statistics of trials."""
        if evidence.deviation is None or evidence.skewness is None or evidence.values is None:
            raise ValueError("evidence without a deviation is not an average of trials")
        n = evidence.trials
        second = evidence.deviation**2 * (n - 1)
        return cls(n, evidence.mean, second, evidence.skewness * n * (second / n) ** 1.5, evidence.values)

    def merge(self, other: Moments) -> Moments:
        """Moments of both samples together (Pébay 2008, equations 2.1, 3.1)."""
        n_a, n_b = self.count, other.count
        n = n_a + n_b
        delta = other.mean - self.mean
        mean = self.mean + delta * (n_b / n)
        second = self.second + other.second + delta**2 * (n_a * n_b / n)
        third = (
            self.third
            + other.third
            + delta**3 * (n_a * n_b * (n_a - n_b) / n**2)
            + 3 * delta * (n_a * other.second - n_b * self.second) / n
        )
        return Moments(n, mean, second, third, np.concatenate([self.values, other.values]))


def sampled(
    source: Source, metric: str, moments: Moments, confidence: float, notes: Sequence[str] = (), *, interval: bool = True
) -> Evidence:
    """Evidence that is an average of trials, with its interval at every step.

    Without ``interval`` (trials that have no third moment) both ends are at infinity wherever trials differ, however many.
    """
    n, mean = moments.count, moments.mean
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        deviation = np.sqrt(moments.second / max(n - 1, 1))
        deviation = np.where(deviation <= ROUNDING * np.abs(mean), 0.0, deviation)
        scale = np.where(deviation > 0, moments.second / n, 0.0) ** 1.5
        skewness = np.where(scale > 0, moments.third / n / np.where(scale > 0, scale, 1.0), 0.0)
    if not interval:
        skewness, notes = np.where(deviation > 0, np.inf, skewness), (*notes, NO_INTERVAL)
    steps = np.arange(1, len(mean) + 1)
    blank = Evidence(source, steps, mean, mean, mean, metric, confidence, n, deviation, skewness, tuple(notes))
    lower, upper = blank.interval(confidence)
    return replace(blank, lower=lower, upper=upper, values=moments.values)


def pooled(first: Evidence, second: Evidence) -> Evidence:
    """The evidence of both samples of trials together. Raises ValueError if one is not an average of trials."""
    with np.errstate(invalid="ignore", over="ignore"):
        moments = Moments.behind(first).merge(Moments.behind(second))
    return sampled(first.source, first.metric, moments, first.confidence, first.notes)
