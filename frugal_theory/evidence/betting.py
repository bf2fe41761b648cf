"""What trials say of an expectation, for every law: bets on non-negative numbers, and limits that they give.

A bet that does not win on average under a hypothesis multiplies its stake by more than 1/δ, ever, with probability at most δ
(Ville 1939). So a hypothesis on which a stake has grown so much is refused at level δ, at whatever number of trials that
happens and whoever decides to go on: looks cost nothing. Here x₁, x₂, … are one number of each trial, independent, alike and
not negative; b > 0 is a bound, and y = x/b.

- *E x ≤ b* is refused by Π (1 + λ(yᵢ − 1)), 0 ≤ λ ≤ 1, whatever the law (Waudby-Smith & Ramdas 2024). Stakes are spread over
  λ, and over horizons, and what they have grown to is averaged: the average of such bets is one.
- *E x ≥ b* can be refused only if something is known of how large x may be: a rare large value that no trial has seen would
  make any sample look too small. What is known here is V ≥ E x². With c = max(1, V/b²), 0 < t ≤ 1/(√c − 1) and ν between the
  roots of 4cν² − 4(1+t)ν + t² = 0 the stake is Π q(min(yᵢ, t/(2ν))), q(y) = 1 + t(1 − y) + ν(y² − c), which is never negative.
  If E x = m ≥ b then x' = xb/m ≤ x has mean b and E x'² ≤ V, so E q(x'/b) ≤ 1, and as q(min(·, t/(2ν))) falls, so is
  E q(min(y, t/(2ν))) ≤ 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["above", "below", "growth_above", "growth_below", "lower_limit", "upper_limit"]

Array = NDArray[np.float64]

STAKES = np.geomspace(2e-3, 1.0, 20)
"""λ of the bets against E x ≤ b: the best one is about the relative excess over the relative second moment."""

PLACES = np.repeat(np.linspace(0, 1, 5), 2)
"""Bets against E x ≥ b: where t lies between ½/c and the largest that is allowed, evenly in log t; each is there twice, …"""

CAREFUL = np.tile([False, True], 5)
"""… with the least ν, which loses everything to a value of t/(2ν), and with t²/2, which keeps about half of it."""

LARGEST = 32.0
"""t is never more than this."""

MOST = 1e100
"""A square mean that is larger, in units of b², says nothing."""

DOUBLINGS = 60
"""Halvings of the interval in which a limit is looked for."""


def growth_above(ratios: Array) -> Array:
    """log(1 + λ(y − 1)) for every λ of :data:`STAKES`: shape (stakes, *ratios.shape)."""
    with np.errstate(divide="ignore"):
        return np.log1p(np.expand_dims(STAKES, tuple(range(1, 1 + ratios.ndim))) * (ratios - 1))


def growth_below(ratios: Array, square: Array) -> Array:
    """log q(min(y, t/(2ν))) for every bet: shape (bets, trials, horizons), of ``ratios`` (trials, horizons).

    ``square``: c, shape (horizons,); where it is above :data:`MOST`, or no number, nothing grows.
    """
    known = square < MOST
    c = np.where(known, np.maximum(square, 1.0), 4.0)
    with np.errstate(divide="ignore"):
        most = np.minimum(1 / (np.sqrt(c) - 1), LARGEST)
    least = np.minimum(0.5 / c, most)
    t = least * (most / least) ** PLACES[:, None]
    nu = t**2 / (2 * ((1 + t) + np.sqrt(np.maximum((1 + t) ** 2 - c * t**2, 0.0))))  # the smaller root, without cancellation
    larger = ((1 + t) + np.sqrt(np.maximum((1 + t) ** 2 - c * t**2, 0.0))) / (2 * c)
    nu = np.where(CAREFUL[:, None], np.minimum(np.maximum(nu, t**2 / 2), larger), nu)
    y = np.minimum(ratios, (t / (2 * nu))[:, None, :])
    with np.errstate(divide="ignore"):
        won = np.log(np.maximum(1 + t[:, None] * (1 - y) + nu[:, None] * (y**2 - c), 0.0))
    return np.where(known, won, 0.0)


def above(values: Array, bound: Array, weight: Array) -> tuple[float, int]:
    """The logarithm of what the stake against "E x ≤ b at every horizon" has grown to, and the horizon that won most.

    ``values``: (trials, horizons). ``bound``: b > 0, (horizons,). ``weight``: the share of the stake of every horizon, adding
    up to 1.
    """
    total = growth_above(values / bound).sum(axis=1)
    by_horizon = np.logaddexp.reduce(total - np.log(len(STAKES)), axis=0) + np.log(weight)
    return float(np.logaddexp.reduce(by_horizon)), int(np.argmax(by_horizon))


def below(values: Array, bound: Array, square: Array) -> Array:
    """The logarithm of what the stake against "E x ≥ b" has grown to, for every horizon by itself, shape (horizons,).

    ``square``: V, an upper bound of E x², (horizons,); inf where none is known.
    """
    total = growth_below(values / bound, square / bound**2).sum(axis=1)
    return np.asarray(np.logaddexp.reduce(total - np.log(len(PLACES)), axis=0))


def lower_limit(values: Array, level: float) -> float:
    """The largest b such that "E x ≤ b" is refused at this level by ``values``, shape (trials,); 0 if none is."""
    mean = float(np.mean(values))
    if not mean > 0:
        return 0.0
    wanted = -np.log(level)

    def refused(b: float) -> bool:
        return above(values[:, None], np.array([b]), np.ones(1))[0] >= wanted

    return _edge(refused, 0.0, mean)


def upper_limit(values: Array, level: float, square: float) -> float:
    """The least b such that "E x ≥ b" is refused at this level, given E x² ≤ ``square``: at most √square, inf without one."""
    if not np.isfinite(square):
        return np.inf
    most = float(np.sqrt(square))
    wanted = -np.log(level)

    def refused(b: float) -> bool:
        return bool(below(values[:, None], np.array([b]), np.array([square]))[0] >= wanted)

    least = float(np.mean(values))
    if not least < most or not refused(most):
        return most
    return _edge(refused, most, least)


def _edge(refused: object, inside: float, outside: float) -> float:
    """Between a number that is refused and one that is not: the last one that is."""
    assert callable(refused)
    for _ in range(DOUBLINGS):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if refused(middle) else (inside, middle)
        if abs(outside - inside) <= 1e-6 * max(abs(outside), abs(inside)):
            break
    return inside
