"""Algorithm 2 on a separable quadratic as loops that numba compiles; :mod:`frugal_theory.evidence.separable` runs them.

NumPy draws a normal number through a function pointer. Here its generator (SFC64) and its method (the ziggurat) stand
in the loop, so that a whole step costs less than NumPy's draw of its noise, and the numbers are the same to the last
bit. Importing this file needs numba, and takes half a second; the first call compiles for a few seconds and keeps the
result on disk where that is allowed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np
from numba import uint64
from numba.np.random._constants import fi_double, ki_double, wi_double, ziggurat_nor_inv_r, ziggurat_nor_r

__all__ = ["FREE", "READINGS", "SUMS", "advance", "normals"]

Function = TypeVar("Function", bound=Callable[..., Any])

FREE = {"none": 0, "sgd": 1, "signsgd": 2}
"""State-free rules, and …"""

READINGS = {"reset": 0, "decay": 1, "hold": 2}
"""… readings of the momentum off the set, by number."""

SUMS = 4
"""How many sums are taken of the gradient: of squares and of absolute values, on the set and off it."""


def _compiled(**options: Any) -> Callable[[Function], Function]:
    """``numba.njit``, kept on disk if there is a folder for it."""

    def compiled(function: Function) -> Function:
        try:
            fast: Function = numba.njit(cache=True, **options)(function)
        except RuntimeError:  # neither the package's folder nor the user's can be written to
            fast = numba.njit(**options)(function)
        return fast

    return compiled


@_compiled(nogil=True)
def advance(
    words: Any,
    x: Any,
    momentum: Any,
    inside: Any,
    eigenvalues: Any,
    sigma: Any,
    edges: Any,
    noisy: Any,
    beta: Any,
    alpha: Any,
    shrink: Any,
    scale: Any,
    free: Any,
    reading: Any,
    sums: Any,
) -> None:
    """``len(sums)`` steps with one momentum set, in place.

    ``words``: the state of SFC64. ``x``, ``momentum``, ``inside``: shape (trials, d). ``eigenvalues``, ``sigma``: (d,).
    ``edges``: where the parameters begin and end, (parameters + 1,). ``shrink``: 1 − α · weight decay. ``sums``:
    (steps, parameters, trials, SUMS), of the gradient at every step. Noise is drawn in the order of
    :class:`frugal_theory.problems.Gaussian`: steps, parameters, trials, coordinates.
    """
    draw = np.zeros(x.shape[1])
    for k in range(len(sums)):
        for p in range(len(edges) - 1):
            part = slice(edges[p], edges[p + 1])
            xi = draw[part]
            for t in range(len(x)):
                if noisy:
                    normals(words, xi)
                _measure(x[t, part], inside[t, part], eigenvalues[part], sums[k, p, t])
                _update(
                    x[t, part],
                    momentum[t, part],
                    inside[t, part],
                    eigenvalues[part],
                    sigma[part],
                    xi,
                    beta,
                    alpha,
                    shrink,
                    scale,
                    free,
                    reading,
                )


@_compiled()
def _update(
    x: Any,
    momentum: Any,
    inside: Any,
    eigenvalues: Any,
    sigma: Any,
    xi: Any,
    beta: Any,
    alpha: Any,
    shrink: Any,
    scale: Any,
    free: Any,
    reading: Any,
) -> None:
    """One step of one trial: the arithmetic of :func:`frugal_theory.algorithm.step`, rounding for rounding."""
    for j in range(len(x)):
        g = sigma[j] * xi[j] + eigenvalues[j] * x[j]
        on = np.float64(inside[j])
        g_free = g * (1 - on)
        m = beta * momentum[j] + (1 - beta) * (g * on)
        if free == 2:
            u_free = scale * (np.float64(g_free > 0) - np.float64(g_free < 0))
        elif free == 1:
            u_free = scale * g_free
        else:
            u_free = 0.0
        x[j] = shrink * x[j] - alpha * (m * on + u_free)
        if reading == 0:
            momentum[j] = m * on
        elif reading == 1:
            momentum[j] = m
        else:
            momentum[j] = m if inside[j] else momentum[j]


@_compiled(fastmath={"reassoc", "nsz"})
def _measure(x: Any, inside: Any, eigenvalues: Any, sums: Any) -> None:
    """Σ g² on the set and off it, then Σ |g|. The order of summation is the compiler's: it adds several terms at once."""
    squares_on = squares_off = sizes_on = sizes_off = 0.0
    for j in range(len(x)):
        g = eigenvalues[j] * x[j]
        on = np.float64(inside[j])
        squares_on += g * g * on
        squares_off += g * g * (1 - on)
        sizes_on += abs(g) * on
        sizes_off += abs(g) * (1 - on)
    sums[0], sums[1], sums[2], sums[3] = squares_on, squares_off, sizes_on, sizes_off


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
