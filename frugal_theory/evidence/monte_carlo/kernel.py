"""Algorithm 2 as loops that numba compiles; :mod:`frugal_theory.evidence.monte_carlo.compiled` runs them.

NumPy draws a normal number through a function pointer. Here its generator (SFC64) and its method (the ziggurat) stand
in the loop, so that a whole step of SGDM costs less than NumPy's draw of its noise, and the numbers are the same to the
last bit. Importing this file needs numba, and takes half a second; the first call compiles for a few seconds and keeps
the result on disk where that is allowed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numba
import numpy as np
from numba import uint64
from numba.np.random._constants import fi_double, ki_double, wi_double, ziggurat_nor_inv_r, ziggurat_nor_r

from frugal_theory.algorithm.selection import GAMMA, MIX_1, MIX_2

__all__ = ["FREE", "FULL", "READINGS", "SUMS", "Step", "advance", "advance_along", "draw_units", "normals"]

Function = TypeVar("Function", bound=Callable[..., Any])

FULL = {"sgdm": 0, "adamw": 1, "lion": 2}
"""State-full rules, …"""

FREE = {"none": 0, "sgd": 1, "signsgd": 2}
"""… state-free rules, and …"""

READINGS = {"reset": 0, "decay": 1, "hold": 2}
"""… readings of the statistics off the set, by number."""

SUMS = 4
"""How many sums are taken of the gradient: of squares and of absolute values, on the set and off it."""


class Step(NamedTuple):
    """What a step is made of, beside arrays. SGDM has one β, ``beta_1``; ``shrink`` is 1 − α · weight decay."""

    full: int
    beta_1: float
    beta_2: float
    eps: float
    free: int
    scale: float
    reading: int
    alpha: float
    shrink: float


def _compiled(**options: Any) -> Callable[[Function], Function]:
    """``numba.njit``, kept on disk if there is a folder for it. A division by zero gives what NumPy's does."""

    def compiled(function: Function) -> Function:
        try:
            fast: Function = numba.njit(cache=True, error_model="numpy", **options)(function)
        except RuntimeError:  # neither the package's folder nor the user's can be written to
            fast = numba.njit(error_model="numpy", **options)(function)
        return fast

    return compiled


@_compiled(nogil=True)
def advance(
    words: Any,
    x: Any,
    statistics: Any,
    inside: Any,
    eigenvalues: Any,
    sigma: Any,
    edges: Any,
    noisy: Any,
    step: Any,
    corrections: Any,
    sums: Any,
) -> None:
    """``len(sums)`` steps on a separable quadratic with one set, in place.

    ``words``: the state of SFC64. ``x``, ``inside``: shape (trials, d). ``statistics``: those of the state-full rule, in
    its order, (1 or 3, trials, d). ``eigenvalues``, ``sigma``: (d,). ``edges``: where the parameters begin and end,
    (parameters + 1,). ``corrections``: 1 − β₁ᵏ and 1 − β₂ᵏ for k = 0, 1, …, which AdamW reads. ``sums``: (steps,
    parameters, trials, SUMS), of the gradient at every step. Noise is drawn in the order of
    :class:`frugal_theory.problems.Gaussian`: steps, parameters, trials, coordinates.
    """
    slope, scratch = np.empty(x.shape[1]), np.zeros((3, x.shape[1]))
    for k in range(len(sums)):
        for p in range(len(edges) - 1):
            part = slice(edges[p], edges[p + 1])
            g, curvature = slope[part], eigenvalues[part]
            for t in range(len(x)):
                row = x[t, part]
                for j in range(len(row)):
                    g[j] = curvature[j] * row[j]
                if noisy:
                    normals(words, scratch[0, part])
                _measure(g, inside[t, part], sums[k, p, t])
                _update(t, part, x, statistics, inside, g, sigma, scratch, step, corrections)


@_compiled(nogil=True)
def advance_along(
    words: Any,
    x: Any,
    statistics: Any,
    inside: Any,
    gradient: Any,
    stochastic: Any,
    sigma: Any,
    edges: Any,
    noisy: Any,
    step: Any,
    corrections: Any,
    sums: Any,
) -> None:
    """One step with a gradient that is given; arguments as of :func:`advance`, but for these.

    ``gradient``, ``stochastic``: the true one, which is measured, and the one that the step takes once noise is added to
    it here; shape (trials, d). ``sums``: (parameters, trials, SUMS).
    """
    scratch = np.zeros((3, x.shape[1]))
    for p in range(len(edges) - 1):
        part = slice(edges[p], edges[p + 1])
        for t in range(len(x)):
            if noisy:
                normals(words, scratch[0, part])
            _measure(gradient[t, part], inside[t, part], sums[p, t])
            _update(t, part, x, statistics, inside, stochastic[t, part], sigma, scratch, step, corrections)


# --- one step of one trial: the arithmetic of frugal_theory.algorithm.step, rounding for rounding ------------


@_compiled()
def _update(
    t: Any,
    part: Any,
    x: Any,
    statistics: Any,
    inside: Any,
    gradient: Any,
    sigma: Any,
    scratch: Any,
    step: Any,
    corrections: Any,
) -> None:
    """One step of one parameter of trial ``t``, by the rule that ``step`` names. ``scratch``: ξ and two rows more, (3, d)."""
    xi = scratch[0, part]
    if step.full == 0:
        _sgdm(x[t, part], statistics[0, t, part], inside[t, part], gradient, sigma[part], xi, step)
    elif step.full == 1:
        count, first, second = statistics[2, t, part], scratch[1, part], scratch[2, part]
        for j in range(len(count)):  # by itself, because a loop that looks up cannot do several coordinates at once
            first[j] = corrections[0, np.int64(count[j]) + 1]
            second[j] = corrections[1, np.int64(count[j]) + 1]
        mean, square = statistics[0, t, part], statistics[1, t, part]
        _adamw(x[t, part], mean, square, count, inside[t, part], gradient, sigma[part], xi, first, second, step)
    else:
        _lion(x[t, part], statistics[0, t, part], inside[t, part], gradient, sigma[part], xi, step)


@_compiled()
def _sgdm(x: Any, momentum: Any, inside: Any, gradient: Any, sigma: Any, xi: Any, step: Any) -> None:
    beta = step.beta_1
    for j in range(len(x)):
        g = sigma[j] * xi[j] + gradient[j]
        on = np.float64(inside[j])
        m = beta * momentum[j] + (1 - beta) * (g * on)
        x[j] = step.shrink * x[j] - step.alpha * (m * on + _free(g * (1 - on), step))
        momentum[j] = _read(m, momentum[j], inside[j], step)


@_compiled()
def _adamw(
    x: Any,
    mean: Any,
    square: Any,
    count: Any,
    inside: Any,
    gradient: Any,
    sigma: Any,
    xi: Any,
    correction_1: Any,
    correction_2: Any,
    step: Any,
) -> None:
    beta_1, beta_2 = step.beta_1, step.beta_2
    for j in range(len(x)):
        g = sigma[j] * xi[j] + gradient[j]
        on = np.float64(inside[j])
        g_full = g * on
        m = beta_1 * mean[j] + (1 - beta_1) * g_full
        v = beta_2 * square[j] + (1 - beta_2) * (g_full * g_full)
        u = m / correction_1[j] / (np.sqrt(v / correction_2[j]) + step.eps)
        x[j] = step.shrink * x[j] - step.alpha * (u * on + _free(g * (1 - on), step))
        mean[j] = _read(m, mean[j], inside[j], step)
        square[j] = _read(v, square[j], inside[j], step)
        count[j] = _read(count[j] + 1, count[j], inside[j], step)


@_compiled()
def _lion(x: Any, mean: Any, inside: Any, gradient: Any, sigma: Any, xi: Any, step: Any) -> None:
    beta_1, beta_2 = step.beta_1, step.beta_2
    for j in range(len(x)):
        g = sigma[j] * xi[j] + gradient[j]
        on = np.float64(inside[j])
        g_full = g * on
        u = _sign(beta_1 * mean[j] + (1 - beta_1) * g_full)
        x[j] = step.shrink * x[j] - step.alpha * (u * on + _free(g * (1 - on), step))
        mean[j] = _read(beta_2 * mean[j] + (1 - beta_2) * g_full, mean[j], inside[j], step)


@_compiled()
def _free(residual: Any, step: Any) -> Any:
    """The state-free update."""
    if step.free == 2:
        return step.scale * _sign(residual)
    if step.free == 1:
        return step.scale * residual
    return 0.0


@_compiled()
def _sign(value: Any) -> Any:
    """-1, 0 or 1; nan for nan."""
    sign = np.float64(value > 0) - np.float64(value < 0)
    return sign if value == value else value


@_compiled()
def _read(new: Any, old: Any, inside: Any, step: Any) -> Any:
    """A statistic after the step: forgotten off the set, decayed there with g = 0, or frozen."""
    if step.reading == 0:
        return new * np.float64(inside)
    if step.reading == 1:
        return new
    return new if inside else old


@_compiled(fastmath={"reassoc", "nsz"})
def _measure(gradient: Any, inside: Any, sums: Any) -> None:
    """Σ g² on the set and off it, then Σ |g|. The order of summation is the compiler's: it adds several terms at once."""
    squares_on = squares_off = sizes_on = sizes_off = 0.0
    for j in range(len(gradient)):
        g = gradient[j]
        on = np.float64(inside[j])
        squares_on += g * g * on
        squares_off += g * g * (1 - on)
        sizes_on += abs(g) * on
        sizes_off += abs(g) * (1 - on)
    sums[0], sums[1], sums[2], sums[3] = squares_on, squares_off, sizes_on, sizes_off


# --- selection ------------------------------------------------------------------------------------------------


@_compiled(nogil=True)
def draw_units(keys: Any, threshold: Any, first: Any, last: Any, inside: Any) -> None:
    """:func:`frugal_theory.algorithm.selection.independent_units` into the columns ``first`` … ``last`` − 1 of ``inside``.

    ``keys``: one a trial, int64. ``threshold``: the probability as a place among the int64 numbers. The integers are the
    reference's.
    """
    for t in range(len(keys)):
        for j in range(first, last):
            bits = uint64(keys[t]) + uint64(j - first + 1) * uint64(GAMMA)
            bits = (bits ^ (bits >> uint64(30))) * uint64(MIX_1)
            bits = (bits ^ (bits >> uint64(27))) * uint64(MIX_2)
            inside[t, j] = np.int64(bits ^ (bits >> uint64(31))) < threshold


# --- NumPy's standard_normal for SFC64 -------------------------------------------------------------------


@_compiled()
def normals(words: Any, out: Any) -> None:
    """Fill ``out`` with what ``Generator(SFC64).standard_normal`` would, and move the state on as far.

    The state is held in local variables, hence in registers, except for the one number in a hundred that is not
    settled by its layer of the ziggurat.
    """
    a, b, c, counter = words[0], words[1], words[2], words[3]
    for j in range(len(out)):
        bits, a, b, c, counter = _next(a, b, c, counter)
        layer, place, x = _point(bits)
        if place >= np.int64(ki_double[layer]):
            words[0], words[1], words[2], words[3] = a, b, c, counter
            x = _edge(words, layer, place, x)
            a, b, c, counter = words[0], words[1], words[2], words[3]
        out[j] = x
    words[0], words[1], words[2], words[3] = a, b, c, counter


@_compiled(inline="always")
def _next(a: Any, b: Any, c: Any, counter: Any) -> Any:
    """64 random bits, and the state after them (SFC64, Doty-Humphrey 2018)."""
    bits = a + b + counter
    turned = (c << uint64(24)) | (c >> uint64(40))
    return bits, b ^ (b >> uint64(11)), c + (c << uint64(3)), turned + bits, counter + uint64(1)


@_compiled(inline="always")
def _point(bits: Any) -> Any:
    """The ziggurat's layer, the place in it as 52 bits, and the number there."""
    layer = np.int64(bits & uint64(0xFF))
    place = np.int64((bits >> uint64(9)) & uint64(0xFFFFFFFFFFFFF))
    x = place * wi_double[layer]
    return layer, place, -x if bits & uint64(0x100) else x


@_compiled()
def _edge(words: Any, layer: Any, place: Any, x: Any) -> Any:
    """A number from beyond the rectangle of a layer: its edge, the tail, or a fresh one (Marsaglia & Tsang 2000)."""
    while place >= np.int64(ki_double[layer]):
        if layer == 0:
            while True:
                beyond = -ziggurat_nor_inv_r * np.log1p(-_uniform(words))
                y = -np.log1p(-_uniform(words))
                if y + y > beyond * beyond:
                    return -(ziggurat_nor_r + beyond) if (place >> 8) & 1 else ziggurat_nor_r + beyond
        low, high = fi_double[layer], fi_double[layer - 1]
        if (high - low) * _uniform(words) + low < np.exp(-0.5 * x * x):
            return x
        bits, words[0], words[1], words[2], words[3] = _next(words[0], words[1], words[2], words[3])
        layer, place, x = _point(bits)
    return x


@_compiled()
def _uniform(words: Any) -> Any:
    """A number in [0, 1) from the upper 53 of the next 64 bits."""
    bits, words[0], words[1], words[2], words[3] = _next(words[0], words[1], words[2], words[3])
    return np.int64(bits >> uint64(11)) * 2.0**-53
