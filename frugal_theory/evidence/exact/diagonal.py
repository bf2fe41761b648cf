"""Exact expectations where coordinates decouple: (E x², E xm, E m²) of each one, O(d) a step.

f(x) = ½ Σ λ_j x_j² with independent additive noise of variance σ_j². One step maps the second moments of a coordinate
linearly, z ← Fz with z = (E x², E xm, E m², 1), by F_in in the momentum set and by F_out off it. A map of this kind is
an array of shape (3, 4, d): its last row, (0, 0, 0, 1), is left out.

A set that is drawn anew every T steps is independent of everything before, so one whole period averages to
G = p F_inᵀ + (1 − p) F_outᵀ (powers T), whatever the joint law of the coordinates: only the probability p_j counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import threadpool_limits

from frugal_theory.evidence.exact.linear import Branch, Updates

__all__ = ["clean", "redrawn", "scheduled", "settled"]

Array = NDArray[np.float64]

CHUNK = 1024
"""Coordinates that are worked on together: their tables fit a core's cache."""


def redrawn(
    eigenvalues: ArrayLike,
    variance: ArrayLike,
    start: ArrayLike,
    probability: ArrayLike,
    updates: Updates,
    *,
    steps: int,
    update_gap: int = 1,
    weights: Sequence[tuple[ArrayLike, ArrayLike]] = ((1.0, 1.0),),
) -> Array:
    """E Σ_j w_j (g_jᵏ)² for k = 1 … steps and each of the ``weights``, shape (weights, steps), exact up to rounding.

    ``eigenvalues`` λ_j, ``variance`` σ_j², ``start`` x_j¹ and ``probability`` p_j broadcast to shape (d,). Every
    ``update_gap`` steps coordinate j enters the momentum set with probability p_j, independently of the past; p_j of
    0 and 1 make a fixed set. Each of the weights is a pair that broadcasts to (d,): w_j in the set and off it. What
    grows beyond float64 becomes inf.

    The cost is that of a few passes over the coordinates a step, whatever the number of operations of the recursion:
    with about √steps rows r_i, the metric i steps later as a linear function of z, and about √steps vectors z_j, the
    moments at every √steps-th step, all values r_i·z_j are one matrix product (Shanks' baby steps and giant steps).
    """
    gap = min(update_gap, steps)
    given = [np.asarray(a, dtype=np.float64) for a in (eigenvalues, variance, start, probability)]
    given += [np.asarray(a, dtype=np.float64) for pair in weights for a in pair]
    shape = np.broadcast_shapes(*(a.shape for a in given), (1,))
    vectors = [np.broadcast_to(a, shape) for a in given]
    total = np.zeros((len(weights), steps))
    # One BLAS thread: the products are small, and no result may depend on the machine's load.
    with threadpool_limits(limits=1), np.errstate(over="ignore", invalid="ignore"):
        for first in range(0, shape[0], CHUNK):
            lam, sigma2, x, p, *w = (v[first : first + CHUNK] for v in vectors)
            maps = _map(updates.inside, lam, sigma2), _map(updates.outside, lam, sigma2)
            never, always = p == 0, p == 1  # 0 · ∞ must not arise from a branch that is never taken
            maps = np.where(never, maps[1], maps[0]), np.where(always, maps[0], maps[1])
            read_in = np.array([inside * p * lam**2 for inside in w[::2]])
            read_out = np.array([outside * (1 - p) * lam**2 for outside in w[1::2]])
            follow = _long_periods if gap**2 > steps else _short_periods
            total += follow(*maps, p, _initial(x), read_in, read_out, steps, gap)
    return clean(total)


def settled(eigenvalues: Array, variance: Array, probability: Array, updates: Updates, *, update_gap: int = 1) -> Array:
    """lim E (g_jᵏ)² averaged over a period, shape (d,): what coordinate j settles at. Arguments as in :func:`redrawn`, (d,).

    The fixed point of the map of a whole period, read at every step of one. inf where the moments grow.
    """
    inside, outside = _map(updates.inside, eigenvalues, variance), _map(updates.outside, eigenvalues, variance)
    alone = _map(replace(updates.outside, e=0.0), eigenvalues, variance)  # momentum that nothing enters stays zero
    never, always = probability == 0, probability == 1
    inside, outside = np.where(never, alone, inside), np.where(never, alone, np.where(always, inside, outside))
    period = probability * _power(inside, update_gap) + (1 - probability) * _power(outside, update_gap)
    linear, constant = np.moveaxis(period[:, :3], -1, 0), period[:, 3].T
    moving = eigenvalues != 0  # a coordinate without curvature has no gradient, and nothing to settle at
    stable = np.abs(np.linalg.eigvals(linear)).max(axis=-1) < 1
    known = moving & stable
    z = np.zeros((4, eigenvalues.size))
    z[3] = 1.0
    z[:3, known] = np.linalg.solve(np.eye(3) - linear[known], constant[known][..., None])[..., 0].T
    total, within, beside = np.zeros(eigenvalues.size), z, z
    for _ in range(update_gap):
        total += probability * within[0] + (1 - probability) * beside[0]
        within, beside = _apply(inside, within), _apply(outside, beside)
    return np.where(moving & ~stable, np.inf, np.maximum(eigenvalues**2 * total / update_gap, 0.0))


def scheduled(
    eigenvalues: Array,
    variance: Array,
    start: Array,
    members: Callable[[int], NDArray[np.bool_]],
    updates: Updates,
    *,
    steps: int,
    update_gap: int = 1,
) -> Iterator[Array]:
    """E (g_jᵏ)² for k = 1 … steps, each of shape (d,), along a known sequence of momentum sets.

    ``members(period)``, booleans of shape (d,), is the momentum set of one period of ``update_gap`` steps. The arrays
    have shape (d,).
    """
    maps = _map(updates.inside, eigenvalues, variance), _map(updates.outside, eigenvalues, variance)
    z = _initial(start)
    with np.errstate(over="ignore", invalid="ignore"):
        for k in range(steps):
            if k % update_gap == 0:
                step = np.where(members(k // update_gap), *maps)
            yield np.maximum(eigenvalues**2 * z[0], 0.0)
            z = _apply(step, z)


def clean(values: Array) -> Array:
    """Expectations of squares over the steps (the last axis): never negative by rounding, inf beyond float64's range."""
    return np.where(np.logical_or.accumulate(~np.isfinite(values), axis=-1), np.inf, np.maximum(values, 0.0))


def _short_periods(
    step_in: Array, step_out: Array, p: Array, z: Array, read_in: Array, read_out: Array, steps: int, gap: int
) -> Array:
    """:func:`redrawn` in the cache, shape (weights, steps), for periods below √steps: a giant step is some periods.

    ``step_in`` and ``step_out`` are maps, ``z`` the moments at the start, ``read_in`` and ``read_out``, shape
    (weights, d), the factors of E x² in the set and off it.
    """
    periods = max(1, round(np.sqrt(steps) / gap))
    period = p * _power(step_in, gap) + (1 - p) * _power(step_out, gap)
    rows = np.empty((periods, gap, *_rows(read_in).shape))
    inside, outside = _rows(read_in), _rows(read_out)
    for t in range(gap):
        rows[0, t] = inside + outside
        inside, outside = _compose(inside, step_in), _compose(outside, step_out)
    for i in range(1, periods):
        rows[i] = _compose(rows[i - 1], period)
    giant, moments = _power(period, periods), [z]
    for _ in range(1, -(-steps // (periods * gap))):
        moments.append(_apply(giant, moments[-1]))
    return _products(np.array(moments), rows.reshape(periods * gap, len(read_in), -1))[:, :steps]


def _long_periods(
    step_in: Array, step_out: Array, p: Array, z: Array, read_in: Array, read_out: Array, steps: int, gap: int
) -> Array:
    """As :func:`_short_periods`, for periods above √steps: giant steps inside a period, in the set and off it apart."""
    baby = max(1, round(np.sqrt(steps)))
    giants = -(-gap // baby)
    inside, outside = _rows(read_in), _rows(read_out)
    rows = np.empty((baby, 2, *inside.shape))
    for t in range(baby):
        rows[t] = inside, outside
        inside, outside = _compose(inside, step_in), _compose(outside, step_out)
    period = p * _power(step_in, gap) + (1 - p) * _power(step_out, gap)
    giant_in, giant_out = _power(step_in, baby), _power(step_out, baby)
    moments = np.empty((-(-steps // gap), giants, 2, *z.shape))
    for of_period in moments:
        of_period[0] = z
        for i in range(1, giants):
            of_period[i] = _apply(giant_in, of_period[i - 1, 0]), _apply(giant_out, of_period[i - 1, 1])
        z = _apply(period, z)
    rows = np.moveaxis(rows, 1, 2).reshape(baby, len(read_in), -1)
    values = _products(moments.reshape(len(moments) * giants, -1), rows)
    return values.reshape(len(values), len(moments), -1)[:, :, :gap].reshape(len(values), -1)[:, :steps]


def _rows(factors: Array) -> Array:
    """The factors of E x² as rows, shape (weights, 4, d), that read the moments (E x², E xm, E m², 1)."""
    rows = np.zeros((len(factors), 4, factors.shape[-1]))
    rows[:, 0] = factors
    return rows


def _products(moments: Array, rows: Array) -> Array:
    """r_i·z_j at step i + j·(number of rows), shape (weights, steps), from (giant, …) and (baby, weights, …)."""
    baby, weights = rows.shape[:2]
    product = moments.reshape(len(moments), -1) @ rows.reshape(baby * weights, -1).T
    return np.moveaxis(product.reshape(-1, baby, weights), -1, 0).reshape(weights, -1)


def _map(branch: Branch, eigenvalues: Array, variance: Array) -> Array:
    """One step of a branch on (E x², E xm, E m², 1), shape (3, 4, d): with g̃ = λx + noise, (x, m) ← A(x, m) + n·noise."""
    b = branch
    xx, xm, mx, mm = b.shrink + b.c * eigenvalues, b.a, b.f * eigenvalues, b.e
    rows = (
        (xx * xx, 2 * xx * xm, xm * xm, b.c * b.c * variance),
        (xx * mx, xx * mm + xm * mx, xm * mm, b.c * b.f * variance),
        (mx * mx, 2 * mx * mm, mm * mm, b.f * b.f * variance),
    )
    return np.array([[np.broadcast_to(entry, eigenvalues.shape) for entry in row] for row in rows])


def _initial(start: Array) -> Array:
    """(x², 0, 0, 1), shape (4, d): m starts at zero."""
    z = np.zeros((4, start.size))
    z[0], z[3] = start**2, 1.0
    return z


def _apply(step: Array, z: Array) -> Array:
    """Fz, shape (4, d)."""
    result = np.empty_like(z)
    result[:3] = step[:, 0] * z[0] + step[:, 1] * z[1] + step[:, 2] * z[2] + step[:, 3]
    result[3] = 1.0
    return result


def _compose(rows: Array, step: Array) -> Array:
    """Rows (…, 4, d) times a map: what they read after one more step, as a function of z before it."""
    result = rows[..., :1, :] * step[0] + rows[..., 1:2, :] * step[1] + rows[..., 2:3, :] * step[2]
    result[..., 3, :] += rows[..., 3, :]
    return result


def _power(step: Array, exponent: int) -> Array:
    """The map applied ``exponent`` >= 1 times, by repeated squaring."""
    result: Array | None = None
    while True:
        if exponent % 2:
            result = step if result is None else _compose(result, step)
        exponent //= 2
        if not exponent:
            assert result is not None  # the highest bit of the exponent is set
            return result
        step = _compose(step, step)
