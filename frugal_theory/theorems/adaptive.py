"""What Adam's updates add up to: the sums behind the theorems on adaptive rules (``docs/theory/adaptive.md``)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from frugal_theory.algorithm.rules import AdamW
from frugal_theory.theorems.ages import expected_over_ages, flat_share, scheduled_ages
from frugal_theory.theorems.averages import known_law
from frugal_theory.theorems.setting import Array, Arrays, Setting

__all__ = ["Sums", "adam_sums", "flat", "growth", "harmonic", "largest_below", "largest_mixed"]

NEGLIGIBLE = 1e-18
"""Geometric sums over lags end where their terms fall below this share of the first."""


@dataclass(frozen=True)
class Sums:
    """Expected sums over all steps up to k = 1 … K and all coordinates in the set; arrays of shape (K,).

    ``updates``: of u_j². ``curved``: of L_j u_j². ``lagged``: of the same with every gradient weighed by its lag. ``noise``
    and ``spread``: N and S of the theorem.
    """

    updates: Array
    curved: Array
    lagged: Array
    noise: Array
    spread: Array


def growth(beta: float, ratio: float, lengths: Array) -> Array:
    """Y(r) ≥ Σ_{t≤r} y_t for y_t = g̃_t²/Σ_{s≤t} β^{t−s}(g̃_s² + ε²) and |g̃_s| ≤ R: what r steps of one run can add up to.

    With X_t = Σ_{s≤t} β^{t−s}(g̃_s² + ε²): y_1 ≤ 1 and y_t ≤ 1 − βX_{t−1}/X_t. The r − 1 ratios X_{t−1}/X_t have the product
    X_1/X_r ≥ 1/Q, Q = ``ratio`` · (1 − β^r)/(1 − β) with ``ratio`` = (R² + ε²)/ε², and a mean of at least Q^{−1/(r−1)}. So
    Y(r) = 1 + (r−1)(1 − βQ^{−1/(r−1)}). ``lengths``: values of r ≥ 1.

    >>> growth(0.5, 4.0, np.array([1.0, 2.0, 3.0])).round(3).tolist()
    [1.0, 1.917, 2.622]
    """
    r = np.asarray(lengths, dtype=float)
    largest = ratio * (1 - beta**r) / (1 - beta)
    steps = np.maximum(r - 1, 1.0)
    return np.where(r > 1, 1 + (r - 1) * (1 - beta * largest ** (-1 / steps)), 1.0)


def adam_sums(setting: Setting, steps: int) -> Sums:
    """The sums for Adam on the set of the setting, up to k = 1 … ``steps``. Raises ValueError without a bound of gradients."""
    rule, runs = setting.algorithm.state_full, known_law(setting)
    assert isinstance(rule, AdamW)
    (first, second), eps, limits = rule.betas, rule.eps, setting.gradient_bound
    if limits is None:
        raise ValueError("this bound needs a bound of the gradients")
    limit, variance = flat(limits), flat(setting.variance)
    curvature = flat(setting.coordinate_smoothness)
    share = scheduled_ages(runs, steps) if runs.law == "scheduled" else flat_share(runs)[:, None]
    found = {name: np.zeros(steps) for name in ("updates", "curved", "lagged", "noise", "spread")}
    keys = np.column_stack([limit, share])
    _, kinds, of = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    for kind, j in enumerate(kinds):
        if limit[j] == 0:
            continue  # its gradient is 0, and it never moves
        alike = of.ravel() == kind
        count = float(alike.sum())
        member = share[j] if runs.law == "scheduled" else float(share[j, 0])

        def total(by_run: Array, member: float | Array = member) -> Array:
            added = np.diff(by_run, prepend=0.0)
            return np.cumsum(expected_over_ages(added, member, runs.law, setting.algorithm.update_gap))

        run = _of_a_run(first, second, (limit[j] ** 2 + eps**2) / eps**2, steps)
        updates = total(run.updates)
        found["updates"] += count * updates
        found["curved"] += float(curvature[alike].sum()) * updates
        found["lagged"] += count * total(run.lagged)
        found["noise"] += count * float(limit[j]) * total(run.noise)
        found["spread"] += float(variance[alike].sum()) / float(limit[j]) * total(run.spread)
    return Sums(**found)


def flat(arrays: Arrays) -> Array:
    """All parameters' numbers in order, shape (coordinates,)."""
    return np.concatenate([np.asarray(value, dtype=float).ravel() for value in arrays.values()])


def largest_below(constant: Array, root: Array, map_: Callable[[Array], Array]) -> Array:
    """A bound of every H ≤ ``map_``(H), for a concave increasing map_ with map_(H) ≤ ``constant`` + ``root`` √H.

    That quadratic inequality gives the first bound; a bound put into map_ gives the next, which is no larger.
    """
    bound: Array = ((root + np.sqrt(root**2 + 4 * constant)) / 2) ** 2
    for _ in range(64):
        bound = np.minimum(bound, map_(bound))
    return bound


def largest_mixed(constant: Array, noise: Array, spread: Array) -> Array:
    """A bound of every H ≤ A + √(N·HS/(H+S)), for A, N and S ≥ 0."""
    return largest_below(constant, np.sqrt(noise), lambda h: constant + np.sqrt(noise * harmonic(h, spread)))


def harmonic(h: Array, spread: Array) -> Array:
    """HS/(H+S); 0 where S is."""
    mixed: Array = np.divide(h * spread, h + spread, out=np.zeros_like(h), where=spread > 0)
    return mixed


@lru_cache(maxsize=512)
def _of_a_run(first: float, second: float, ratio: float, steps: int) -> Sums:
    """The same sums for one coordinate with R = 1 in a run of 1 … ``steps`` steps (``spread`` with σ = 1)."""
    r = np.arange(1.0, steps + 1)
    grown = growth(second, ratio, r)
    whole = 1 - second**r
    inverse, rooted = whole / (1 - second), np.sqrt(whole) / (1 - second)

    def weighed(lags: str, scale: Array) -> Array:
        mean, early = _lags(first, second, lags, steps)
        return np.minimum(scale * (mean * grown + early), mean * np.cumsum(scale))

    updates = weighed("plain", inverse)
    weight = (1 - first) * first ** np.arange(steps)
    past = np.cumsum(weight / np.sqrt(1 - second ** (np.arange(steps) + 1.0))) / (1 - first**r)
    spread = np.cumsum(np.sqrt(whole) * past)
    return Sums(updates, updates, weighed("lagged", inverse), weighed("rooted", rooted), spread)


@lru_cache(maxsize=64)
def _lags(first: float, second: float, lags: str, steps: int) -> tuple[float, Array]:
    """Σ_s (1−β₁)β₁^s f(s), and Σ_{i≤r} Σ_s (1−β₁)β₁^s f(s) β₁^{i+s}/(1−β₁^{i+s}) for r = 1 … ``steps``, shape (steps,).

    ``lags``: f(s) is β₂^{−s} ("plain"), sβ₂^{−s} ("lagged") or √(1−β₂^{s+1}) β₂^{−s} ("rooted"). The second is what bias
    correction adds to the weights of the first gradients of a run.
    """
    if first == 0:  # the lag is 0
        return {"plain": 1.0, "lagged": 0.0, "rooted": np.sqrt(1 - second)}[lags], np.zeros(steps)
    ratio = first / second
    s = np.arange(2 * int(np.ceil(np.log(NEGLIGIBLE) / np.log(ratio))) + 2, dtype=float)
    factors: dict[str, Array] = {"plain": np.ones_like(s), "lagged": s, "rooted": np.sqrt(1 - second ** (s + 1))}
    weights = (1 - first) * ratio**s * factors[lags]
    early = np.zeros(steps)
    for i in range(1, steps + 1):
        decay = first ** (i + s)
        early[i - 1] = np.sum(weights * decay / (1 - decay))
        if early[i - 1] < NEGLIGIBLE * early[0]:
            break
    return float(weights.sum()), np.cumsum(early)
