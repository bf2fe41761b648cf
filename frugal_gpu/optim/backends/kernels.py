"""Loops that numba compiles: a whole step of many tensors in one pass over each, in place.

A step is memory-bound, so what counts is how often a number passes between memory and the processor: gradient read,
parameter and statistics read and written, and nothing else. A row of the table describes one tensor, by addresses; a call
takes the stretch ``begin`` to ``end`` of all of them laid end to end, so that threads share the work whatever the tensors'
sizes. Importing this file needs numba; the first call of a type compiles for some seconds and keeps the result on disk where
that is allowed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numba
import numpy as np
from numba import types
from numba.extending import intrinsic

__all__ = ["COLUMNS", "COORDINATES", "FREE", "FREE_RULES", "FULL", "FULL_RULES", "LIFTED", "ROWS", "UPDATE", "Row", "advance"]

Function = TypeVar("Function", bound=Callable[..., Any])

FULL_RULES = {"sgdm": 0, "adamw": 1, "lion": 2}
"""State-full rules by number, …"""

FREE_RULES = {"none": 0, "sgd": 1, "signsgd": 2}
"""… and state-free ones."""

FULL, FREE, COLUMNS, ROWS, COORDINATES, UPDATE, LIFTED = range(7)
"""What is done with a tensor: state-full or state-free as a whole; units of it state-full; the update of a projection in its
place; a lifted update taken, with the state-free rule on the residual."""


class Row(NamedTuple):
    """One tensor: addresses (0 where there is none), sizes in elements, and ``start``, where it begins among all of them.

    ``lifted`` holds the lifted update of a LIFTED row; ``first`` its lifted projection P⁻¹P g (0 without a state-free rule).
    ``units`` is the length of a unit's stretch: the row length of a matrix, 1 of a flat tensor.
    """

    kind: int
    start: int
    numel: int
    units: int
    inside: int
    x: int
    g: int
    first: int = 0
    second: int = 0
    steps: int = 0
    members: int = 0
    lifted: int = 0


def _compiled(function: Function) -> Function:
    """``numba.njit`` that lets other threads run, kept on disk if there is a folder for it."""
    try:
        fast: Function = numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:  # neither the package's folder nor the user's can be written to
        fast = numba.njit(nogil=True, error_model="numpy")(function)
    return fast


@intrinsic  # type: ignore[untyped-decorator]
def _pointer(typing: Any, address: Any) -> Any:  # noqa: ARG001
    """An address as a pointer."""

    def made(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.voidptr(types.int64), made


@_compiled
def _array(address: Any, count: Any, like: Any) -> Any:
    """``count`` numbers of the type of ``like`` at an address."""
    return numba.carray(_pointer(address), (count,), like.dtype)


@_compiled
def _step_free(rule: Any, x: Any, g: Any, s: Any) -> None:
    """x ← κx − αu of the state-free rule; s: scalars as in ``advance``."""
    shrink, step = s[0], s[1] * s[2]
    if rule == 2:
        for i in range(x.size):
            x[i] = shrink * x[i] - step * (s.dtype.type(g[i] > 0) - s.dtype.type(g[i] < 0))
    elif rule == 1:
        for i in range(x.size):
            x[i] = shrink * x[i] - step * g[i]
    elif shrink != 1:
        for i in range(x.size):
            x[i] = shrink * x[i]


@_compiled
def _step_full(rule: Any, x: Any, g: Any, m: Any, v: Any, a: Any, b: Any, s: Any) -> None:
    """x ← κx − αu of the state-full rule; ``a`` and ``b`` are the reciprocals of the bias corrections."""
    shrink, alpha, b1, b2, eps, r1, r2 = s[0], s[1], s[3], s[4], s[5], s[6], s[7]
    if rule == 1:
        for i in range(x.size):
            m[i] = b1 * m[i] + r1 * g[i]
            v[i] = b2 * v[i] + r2 * (g[i] * g[i])
            x[i] = shrink * x[i] - alpha * (a * m[i] / (np.sqrt(b * v[i]) + eps))
    elif rule == 0:
        for i in range(x.size):
            m[i] = b1 * m[i] + r1 * g[i]
            x[i] = shrink * x[i] - alpha * m[i]
    else:
        for i in range(x.size):
            mixed = b1 * m[i] + r1 * g[i]
            m[i] = b2 * m[i] + r2 * g[i]
            x[i] = shrink * x[i] - alpha * (s.dtype.type(mixed > 0) - s.dtype.type(mixed < 0))


@_compiled
def _update(rule: Any, u: Any, m: Any, v: Any, a: Any, b: Any, s: Any) -> None:
    """The state-full update in the place of its gradient ``u``."""
    b1, b2, eps, r1, r2 = s[3], s[4], s[5], s[6], s[7]
    if rule == 1:
        for i in range(u.size):
            m[i] = b1 * m[i] + r1 * u[i]
            v[i] = b2 * v[i] + r2 * (u[i] * u[i])
            u[i] = a * m[i] / (np.sqrt(b * v[i]) + eps)
    elif rule == 0:
        for i in range(u.size):
            m[i] = b1 * m[i] + r1 * u[i]
            u[i] = m[i]
    else:
        for i in range(u.size):
            mixed = b1 * m[i] + r1 * u[i]
            m[i] = b2 * m[i] + r2 * u[i]
            u[i] = s.dtype.type(mixed > 0) - s.dtype.type(mixed < 0)


@_compiled
def _step_some(
    full: Any, free: Any, x: Any, g: Any, m: Any, v: Any, index: Any, base: Any, a: Any, b: Any, s: Any, room: Any
) -> None:
    """The state-full rule on the entries ``index − base`` of x, the state-free one on the others.

    ``m``, ``v``, ``a`` and ``b`` have a number for each entry of ``index``, and ``room`` two. The set is gathered, stepped and
    scattered, and the others' step is taken by all: those loops are vectorised, one with a branch for every entry is not.
    """
    shrink, alpha, b1, b2, eps, r1, r2 = s[0], s[1], s[3], s[4], s[5], s[6], s[7]
    xs, gs = room[0], room[1]
    for j in range(index.size):
        i = index[j] - base
        xs[j] = x[i]
        gs[j] = g[i]
    _step_free(free, x, g, s)
    if full == 1:
        for j in range(index.size):
            m[j] = b1 * m[j] + r1 * gs[j]
            v[j] = b2 * v[j] + r2 * (gs[j] * gs[j])
            xs[j] = shrink * xs[j] - alpha * (a[j] * m[j] / (np.sqrt(b[j] * v[j]) + eps))
    else:
        _step_full(full, xs[: index.size], gs[: index.size], m, v, shrink, shrink, s)
    for j in range(index.size):
        x[index[j] - base] = xs[j]


@_compiled
def _take_lifted(free: Any, x: Any, g: Any, projected: Any, lifted: Any, floor: Any, s: Any) -> None:
    """x ← κx − α(lifted + the state-free update of g − projected), a residual up to ``floor`` being rounding."""
    shrink, alpha, scale = s[0], s[1], s[2]
    zero = s.dtype.type(0)
    if free == 2:
        for i in range(x.size):
            rest = g[i] - projected[i]
            sign = s.dtype.type(rest > floor) - s.dtype.type(rest < -floor)
            x[i] = shrink * x[i] - alpha * (lifted[i] + scale * sign)
    elif free == 1:
        for i in range(x.size):
            rest = g[i] - projected[i]
            rest = zero if abs(rest) <= floor else rest
            x[i] = shrink * x[i] - alpha * (lifted[i] + scale * rest)
    else:
        for i in range(x.size):
            x[i] = shrink * x[i] - alpha * lifted[i]


@_compiled
def _reciprocal(count: Any, beta: Any, known: Any) -> Any:
    """1 / (1 − βᵏ), looked up as long as the table goes: a power for every coordinate costs more than its step."""
    k = int(count)
    return known[k] if k < known.size else -1 / np.expm1(k * np.log(beta))


@_compiled
def advance(
    table: Any,
    factors: Any,
    full: Any,
    free: Any,
    s: Any,
    ones_known: Any,
    twos_known: Any,
    betas: Any,
    begin: Any,
    end: Any,
) -> None:
    """The step of the elements ``begin`` to ``end`` of all tensors of a table laid end to end.

    ``table``: int64, a :class:`Row` a row. ``factors``: a row a tensor, the reciprocals of its bias corrections 1 − β₁ᵏ and
    1 − β₂ᵏ, and the rounding floor of a residual. ``s``: 1 − α·decay, α, the state-free factor, β₁, β₂, ε, 1 − β₁, 1 − β₂, in
    the tensors' type (a rule with one β has it as β₁). ``ones_known`` and ``twos_known``: reciprocals of 1 − βᵏ by k, for units
    that count their own steps. Those of coordinates are counted here, those of columns and rows by the caller.
    """
    counts = np.int32(0)  # the type of an index
    for row in range(table.shape[0]):
        kind, start, numel, units, inside = table[row, 0], table[row, 1], table[row, 2], table[row, 3], table[row, 4]
        if start + numel <= begin or start >= end:
            continue
        lo = max(0, -((start - begin) // units))
        hi = min(numel // units, -((start - end) // units))
        if lo >= hi:
            continue
        size = s.itemsize
        skip = lo * units
        x = _array(table[row, 5] + skip * size, (hi - lo) * units, s)
        g = _array(table[row, 6] + skip * size, (hi - lo) * units, s)
        a, b = factors[row, 0], factors[row, 1]
        if kind == 1:
            _step_free(free, x, g, s)
        elif kind == 0 or kind == 5:
            m = _array(table[row, 7] + skip * size, hi - lo, s)
            v = _array(table[row, 8] + skip * size, hi - lo, s) if table[row, 8] else m
            if kind == 0:
                _step_full(full, x, g, m, v, a, b, s)
            else:
                _update(full, x, m, v, a, b, s)
        elif kind == 6:
            lifted = _array(table[row, 11] + skip * size, hi - lo, s)
            projected = _array(table[row, 7] + skip * size, hi - lo, s) if table[row, 7] else lifted
            _take_lifted(free, x, g, projected, lifted, factors[row, 2], s)
        else:
            index = numba.carray(_pointer(table[row, 10]), (inside,), np.int32)
            steps = _array(table[row, 9], inside if table[row, 9] else 0, s)
            if kind == 2:  # columns: a unit of work is a row, with all columns of the set in it
                ones = np.empty(inside, s.dtype)
                twos = np.empty(inside, s.dtype)
                for j in range(steps.size):
                    ones[j] = _reciprocal(steps[j], betas[0], ones_known)
                    twos[j] = _reciprocal(steps[j], betas[1], twos_known)
                room = np.empty((2, inside), s.dtype)
                for i in range(lo, hi):
                    at = (i - lo) * units
                    m = _array(table[row, 7] + i * inside * size, inside, s)
                    v = _array(table[row, 8] + i * inside * size, inside, s) if table[row, 8] else m
                    _step_some(full, free, x[at : at + units], g[at : at + units], m, v, index, counts, ones, twos, s, room)
            else:
                p = np.searchsorted(index, lo)
                q = np.searchsorted(index, hi)
                if kind == 3:  # rows
                    for i in range(lo, hi):
                        at = (i - lo) * units
                        xs, gs = x[at : at + units], g[at : at + units]
                        if p < q and index[p] == i:
                            if steps.size:
                                a = s.dtype.type(_reciprocal(steps[p], betas[0], ones_known))
                                b = s.dtype.type(_reciprocal(steps[p], betas[1], twos_known))
                            m = _array(table[row, 7] + p * units * size, units, s)
                            v = _array(table[row, 8] + p * units * size, units, s) if table[row, 8] else m
                            _step_full(full, xs, gs, m, v, a, b, s)
                            p += 1
                        else:
                            _step_free(free, xs, gs, s)
                else:  # coordinates, some thousands at a time: what is done twice is then still in the cache
                    while lo < hi:
                        until = min(hi, lo + 4096)
                        stop = p + np.searchsorted(index[p:q], until)
                        ones = np.empty(stop - p, s.dtype)
                        twos = np.empty(stop - p, s.dtype)
                        room = np.empty((2, stop - p), s.dtype)
                        if steps.size:
                            for j in range(p, stop):
                                steps[j] += s.dtype.type(1)
                                ones[j - p] = _reciprocal(steps[j], betas[0], ones_known)
                                twos[j - p] = _reciprocal(steps[j], betas[1], twos_known)
                        xs = _array(table[row, 5] + lo * size, until - lo, s)
                        gs = _array(table[row, 6] + lo * size, until - lo, s)
                        m = _array(table[row, 7] + p * size, stop - p, s)
                        v = _array(table[row, 8] + p * size, stop - p, s) if table[row, 8] else m
                        _step_some(full, free, xs, gs, m, v, index[p:stop], lo, ones, twos, s, room)
                        lo, p = until, stop
