"""Exact expectations where coordinates decouple: (E x², E xm, E m²) of each one, O(d) a step.

f(x) = ½ Σ λ_j x_j² with independent additive noise of variance σ_j². One step maps the second moments of a coordinate
linearly, z ← Fz with z = (E x², E xm, E m², 1), by F_in in the momentum set and by F_out off it. A map of this kind is
an array of shape (3, 4, d): its last row, (0, 0, 0, 1), is left out.

A set that is drawn anew every T steps is independent of everything before, so one whole period averages to
G = p F_inᵀ + (1 − p) F_outᵀ (powers T), whatever the joint law of the coordinates: only the probability p_j counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import threadpool_limits

from frugal_theory.evidence.linear import Branch, Updates

__all__ = ["clean", "redrawn", "scheduled"]

Array = NDArray[np.float64]

CHUNK = 1024
"""Coordinates that are worked on together: their tables fit a core's cache."""

PHASES = 64
"""Steps of a period that are tabulated together."""


def redrawn(
    eigenvalues: ArrayLike,
    variance: ArrayLike,
    start: ArrayLike,
    probability: ArrayLike,
    updates: Updates,
    *,
    steps: int,
    update_gap: int = 1,
    weight_inside: ArrayLike = 1.0,
    weight_outside: ArrayLike = 1.0,
) -> Array:
    """E Σ_j W_j (g_jᵏ)² for k = 1 … steps, shape (steps,), exact up to rounding.

    ``eigenvalues`` λ_j, ``variance`` σ_j², ``start`` x_j¹ and ``probability`` p_j broadcast to shape (d,). Every
    ``update_gap`` steps coordinate j enters the momentum set with probability p_j, independently of the past; p_j of
    0 and 1 make a fixed set. W_j is ``weight_inside`` in the set, which broadcasts to (update_gap, d), by the step
    within the period, and ``weight_outside``, of shape (d,), off it. What grows beyond float64 becomes inf.

    The cost is far below one pass over the coordinates a step. With about √steps rows r_i, the metric after i steps as
    a linear function of z, and about √steps vectors z_j, the moments at every √steps-th step, all values
    r_i·z_j = E‖g‖² at step i + j√steps are one matrix product (Shanks' baby steps and giant steps).
    """
    gap = min(update_gap, steps)
    shape = np.broadcast_shapes(*(np.shape(a) for a in (eigenvalues, variance, start, probability)), (1,))
    vectors = [np.broadcast_to(np.asarray(a, dtype=np.float64), shape) for a in (eigenvalues, variance, start, probability)]
    inside = np.broadcast_to(np.asarray(weight_inside, dtype=np.float64), (update_gap, *shape))[:gap]
    outside = np.broadcast_to(np.asarray(weight_outside, dtype=np.float64), shape)
    total = np.zeros(steps)
    # One BLAS thread: the products are small, and no result may depend on the machine's load.
    with threadpool_limits(limits=1), np.errstate(over="ignore", invalid="ignore"):
        for first in range(0, shape[0], CHUNK):
            here = slice(first, first + CHUNK)
            lam, sigma2, x, p = (v[here] for v in vectors)
            total += _chunk(lam, sigma2, x, p, updates, steps, gap, inside[:, here], outside[here])
    return clean(total)


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


def _chunk(
    eigenvalues: Array,
    variance: Array,
    start: Array,
    probability: Array,
    updates: Updates,
    steps: int,
    gap: int,
    weight_inside: Array,
    weight_outside: Array,
) -> Array:
    """:func:`redrawn` for coordinates that fit the cache."""
    step_in, step_out = (_map(branch, eigenvalues, variance) for branch in (updates.inside, updates.outside))
    never, always = probability == 0, probability == 1  # 0 · ∞ must not arise from a branch that is never taken
    step_in, step_out = np.where(never, step_out, step_in), np.where(always, step_in, step_out)
    period = probability * _power(step_in, gap) + (1 - probability) * _power(step_out, gap)

    periods = max(1, round(np.sqrt(steps) / gap))
    span = periods * gap
    giant = _power(period, periods)
    z = np.empty((-(-steps // span), 4, start.size))
    z[0] = _initial(start)
    for j in range(1, len(z)):
        z[j] = _apply(giant, z[j - 1])

    values = np.empty((len(z), periods, gap))
    row_in = np.zeros((4, start.size))
    row_in[0] = eigenvalues**2
    row_out = row_in.copy()
    for first in range(0, gap, PHASES):
        last = min(first + PHASES, gap)
        rows = np.empty((periods, last - first, 4, start.size))
        for t in range(first, last):
            rows[0, t - first] = (weight_inside[t] * probability) * row_in + (weight_outside * (1 - probability)) * row_out
            row_in, row_out = _compose(row_in, step_in), _compose(row_out, step_out)
        for i in range(1, periods):
            rows[i] = _compose(rows[i - 1], period)
        product = z.reshape(len(z), -1) @ rows.reshape(periods * (last - first), -1).T
        values[:, :, first:last] = product.reshape(len(z), periods, -1)
    return values.reshape(-1)[:steps]


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
