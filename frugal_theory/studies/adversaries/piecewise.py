"""Functions with a piecewise linear gradient: every worst case of a first-order method in one dimension is one of them.

A function of one variable that fits finitely many points, slopes and values and is L-smooth can be taken piecewise quadratic
with second derivatives ±L. What a search over them needs is that everything a theorem asks for is known exactly: L, f*, f(x¹).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from frugal_theory.problems.partition import Partition

__all__ = ["Curve", "Folded", "Piecewise"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """φ with φ(0) = 0 and φ′ the broken line through (``knots``, ``heights``), 0 among the knots; linear beyond them.

    ``curvatures``: φ″ between the knots. ``tails``: φ″ left and right of all of them. Bounded below: φ′ ≤ 0 at the first knot,
    φ′ ≥ 0 at the last, and no tail is negative. :meth:`walked` makes it so.
    """

    knots: Array
    heights: Array
    curvatures: Array
    tails: tuple[float, float]

    @classmethod
    def walked(
        cls,
        height: float,
        left: Sequence[tuple[float, float]],
        right: Sequence[tuple[float, float]],
        tails: tuple[float, float],
        steepest: float,
    ) -> Curve:
        """From φ′(0) = ``height``, (length, φ″) of the pieces to the left, outwards, and to the right.

        Where φ would fall for ever beyond the last piece, φ′ goes back to 0 with φ″ = ``steepest`` and stays there.
        """
        sides = []
        for sign, pieces, tail in ((-1.0, left, tails[0]), (1.0, right, tails[1])):
            places, values, bends, at, value = [], [], [], 0.0, height
            for length, curvature in pieces:
                at, value = at + sign * length, value + sign * length * curvature
                places.append(at)
                values.append(value)
                bends.append(curvature)
            end = max(0.0, tail)
            if sign * value < 0:
                places.append(at + abs(value) / steepest * sign)
                values.append(0.0)
                bends.append(steepest)
                end = 0.0
            sides.append((places, values, bends, end))
        (lefts, low, before, first), (rights, high, after, last) = sides
        heights = np.array([*low[::-1], height, *high])
        return cls(np.array([*lefts[::-1], 0.0, *rights]), heights, np.array([*before[::-1], *after]), (first, last))

    @cached_property
    def _curvatures(self) -> Array:
        """φ″ from left to right, the tails too."""
        return np.array([self.tails[0], *self.curvatures, self.tails[1]])

    @cached_property
    def _values(self) -> Array:
        """φ at the knots."""
        area = np.diff(self.knots) * (self.heights[1:] + self.heights[:-1]) / 2
        values = np.concatenate([[0.0], np.cumsum(area)])
        found: Array = values - values[int(np.flatnonzero(self.knots == 0)[0])]
        return found

    def value(self, y: Array) -> Array:
        """φ(y), elementwise."""
        knot, away, curvature = self._piece(y)
        found: Array = self._values[knot] + away * (self.heights[knot] + away * curvature / 2)
        return found

    def derivative(self, y: Array) -> Array:
        """φ′(y), elementwise."""
        knot, away, curvature = self._piece(y)
        found: Array = self.heights[knot] + away * curvature
        return found

    def _piece(self, y: Array) -> tuple[NDArray[np.intp], Array, Array]:
        """The knot left of y, or the first, how far y is from it, and φ″ on the way (no quotient: L is exact)."""
        piece = np.searchsorted(self.knots, y, side="right")
        knot = np.maximum(piece - 1, 0)
        return knot, y - self.knots[knot], self._curvatures[piece]

    @property
    def steepest(self) -> float:
        """max |φ″|."""
        return float(np.max(np.abs(self._curvatures)))

    @property
    def flattest(self) -> float:
        """min φ″."""
        return float(np.min(self._curvatures))

    @property
    def largest_slope(self) -> float:
        """max |φ′|; inf if a tail is steep."""
        return float("inf") if any(self.tails) else float(np.max(np.abs(self.heights)))

    @property
    def infimum(self) -> float:
        """inf φ: at a knot, or where φ′ passes 0 between two."""
        turning = np.flatnonzero((self.heights[:-1] < 0) & (self.heights[1:] > 0))
        curvature = self.curvatures[turning]
        inside = self._values[:-1][turning] - self.heights[:-1][turning] ** 2 / (2 * curvature)
        return float(np.min(np.concatenate([self._values, inside])))


class Folded:
    """A vector as one matrix, row by row, in place of :class:`~frugal_theory.problems.partition.Partition`."""

    def __init__(self, rows: int, columns: int) -> None:
        self.shapes: Mapping[str, tuple[int, ...]] = {"x": (rows, columns)}

    def join(self, x: Mapping[str, Array]) -> Array:
        """The vector, shape (..., rows · columns)."""
        matrix = np.asarray(x["x"])
        return matrix.reshape(*matrix.shape[:-2], -1)

    def split(self, vector: Array) -> dict[str, Array]:
        """The matrix, shape (..., rows, columns)."""
        return {"x": vector.reshape(*vector.shape[:-1], *self.shapes["x"])}


class Piecewise:
    """f(x) = Σ_i φ_i(⟨v_i, x⟩) from x¹ = 0, v_i the columns of an orthogonal V.

    ∇²f = V diag(φ_i″) Vᵀ wherever it is, so L = max |φ_i″| exactly, f* = Σ inf φ_i exactly, and the v_i are eigenvectors
    everywhere. ``smoothness``: L, or a number above it. ``rotation``: V, the identity if None. ``blocks``: parameters that x is
    cut into, or the shape (rows, columns) of the matrix that it is folded to.
    """

    def __init__(
        self,
        curves: Sequence[Curve],
        smoothness: Sequence[float],
        rotation: Array | None = None,
        blocks: int | tuple[int, int] = 1,
    ) -> None:
        self.curves, self.rotation = tuple(curves), rotation
        self.partition = Folded(*blocks) if isinstance(blocks, tuple) else Partition(len(curves), blocks)
        self.shapes: Mapping[str, tuple[int, ...]] = self.partition.shapes
        self.by_curve = np.array(smoothness, dtype=float)
        self.smoothness = float(np.max(self.by_curve))
        self.infimum = float(sum(curve.infimum for curve in curves))

    @property
    def strong_convexity(self) -> float | None:
        """μ = min φ_i″ if that is positive."""
        least = min(curve.flattest for curve in self.curves)
        return least if least > 0 else None

    @property
    def largest_gradient(self) -> Array:
        """A bound of |∂_j f| by coordinate, shape (d,)."""
        slopes = np.array([curve.largest_slope for curve in self.curves])
        return slopes if self.rotation is None else np.asarray(np.abs(self.rotation) @ slopes)

    @property
    def bases(self) -> dict[str, Array]:
        """V by parameter: what subspace "eigen" selects from."""
        return {"x": np.eye(len(self.curves)) if self.rotation is None else self.rotation}

    def coordinate_smoothness(self) -> Mapping[str, Array]:
        """L_j: the curves' own if f is separable, L otherwise."""
        separable = self.rotation is None
        return self.partition.split(self.by_curve if separable else np.full(len(self.curves), self.smoothness))

    def start(self, rng: np.random.Generator) -> dict[str, Array]:  # noqa: ARG002
        """0."""
        return self.partition.split(np.zeros(len(self.curves)))

    def value(self, x: Mapping[str, Array]) -> Array:
        """f(x), of the shape of the trial axes."""
        y = self._along(self.partition.join(x))
        return np.asarray(sum(curve.value(y[..., i]) for i, curve in enumerate(self.curves)))

    def gradient(self, x: Mapping[str, Array]) -> dict[str, Array]:
        """V (φ_i′), by block."""
        y = self._along(self.partition.join(x))
        slopes = np.stack([curve.derivative(y[..., i]) for i, curve in enumerate(self.curves)], axis=-1)
        return self.partition.split(slopes if self.rotation is None else slopes @ self.rotation.T)

    def _along(self, x: Array) -> Array:
        return x if self.rotation is None else x @ self.rotation
