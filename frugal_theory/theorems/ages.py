"""Ages: how long a coordinate has been in the set, in law, and expected sums over all its runs.

The age of a coordinate in the set is the number of steps since it entered, that step included; where state is thrown away
when a coordinate leaves, a rule's bias corrections and averages are functions of it.
"""

from __future__ import annotations

import numpy as np

from frugal_theory.algorithm.run_lengths import RunLengths
from frugal_theory.theorems.setting import Array

__all__ = ["expected_over_ages", "flat_share", "scheduled_ages"]


def expected_over_ages(values: Array, share: float | Array, law: str, gap: int) -> Array:
    """E[v(age); in the set] at the steps k = 1 … K of one coordinate, shape (K,).

    ``values``: v at the ages 1 … K. ``share``: for the laws "fixed" and "redrawn" the probability p to be in the set; for a
    scheduled set the coordinate's ages at the K steps, 0 off the set. A unit that is drawn anew every ``gap`` steps has, in
    period n (from 0) at phase h = 1 … gap, the age mT + h with probability p^{m+1}(1 − p) for m < n, and p^{n+1} for m = n.

    >>> expected_over_ages(np.array([1.0, 10.0, 100.0]), 0.5, "redrawn", 1).tolist()
    [0.5, 2.75, 14.0]
    """
    steps = len(values)
    if law == "scheduled":
        age = np.asarray(share, dtype=np.int64)
        return np.where(age > 0, values[np.maximum(age, 1) - 1], 0.0)
    p = float(share)
    if law == "fixed":
        return values * p  # p is 0 or 1
    periods = -(-steps // gap)
    table: Array = np.zeros(periods * gap)
    table[:steps] = values
    table = table.reshape(periods, gap)
    survived = p ** np.arange(1.0, periods + 1)[:, None]
    left = np.cumsum(survived * (1 - p) * table, axis=0)
    before = np.vstack([np.zeros((1, gap)), left[:-1]])
    found: Array = (before + survived * table).ravel()[:steps]
    return found


def scheduled_ages(runs: RunLengths, steps: int) -> Array:
    """The age of every coordinate at the steps 1 … ``steps`` of a scheduled set, shape (coordinates, steps), 0 off the set."""
    gap = runs.algorithm.update_gap
    inside = np.stack([flat_share(runs, period) > 0 for period in range(-(-steps // gap))])
    ages = np.zeros((steps, inside.shape[1]))
    for k in range(steps):
        ages[k] = np.where(inside[k // gap], (ages[k - 1] if k else 0) + 1, 0)
    return ages.T


def flat_share(runs: RunLengths, period: int = 0) -> Array:
    """The probability of every coordinate to be in the set in a period, all parameters in order, shape (coordinates,)."""
    share = runs.probability(period)
    return np.concatenate([np.broadcast_to(share[name], shape).ravel() for name, shape in runs.shapes.items()])
