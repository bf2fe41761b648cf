"""Subspaces: the linear map P onto the state-full part of each parameter, and its right inverse.

Two kinds. A :class:`Mask` is spanned by coordinates (coordinates, blocks, columns, rows, randk); its state-full part
is the gradient with zeros off the set. A :class:`Basis` is spanned by the orthonormal columns of Q (random, svd,
eigen); its state-full part is QᵀG or GQ, on the shorter side of the matrix. Every array may carry leading trial axes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frugal_theory.algorithm.selection import (
    budget,
    circle,
    independent_units,
    leading,
    normals,
    selection_key,
    subset,
    trial_keys,
)
from frugal_theory.config import MATRIX_SUBSPACES, Algorithm

__all__ = ["Basis", "Mask", "Part", "choose_parts", "orthonormal", "principal"]

Array = NDArray[np.float64]
Shapes = Mapping[str, tuple[int, ...]]

ROUNDING = 32
"""A residual below this many units in the last place of the gradient's largest entry is rounding, and is set to 0.

Without this the sign rule turns the rounding noise of QQᵀG − G into full steps wherever the gradient lies in the subspace.
"""


@dataclass(frozen=True)
class Mask:
    """The coordinates in the set: booleans that broadcast against the gradient."""

    inside: NDArray[np.bool_]

    def project(self, gradient: Array) -> Array:
        """P g, with zeros off the set."""
        return gradient * self.inside

    def lift(self, update: Array) -> Array:
        """P⁻¹ u."""
        return update * self.inside

    def residual(self, gradient: Array) -> Array:
        """g − P⁻¹P g: exactly zero on the set."""
        return gradient * ~self.inside


@dataclass(frozen=True)
class Basis:
    """Orthonormal columns Q, shape (..., n, r), acting from the left (QᵀG), the right (GQ) or on a vector (gQ)."""

    columns: Array
    side: str

    def project(self, gradient: Array) -> Array:
        """P g: shape (..., r, n) from the left, (..., m, r) from the right, (..., r) for a vector."""
        if self.side == "left":
            return np.swapaxes(self.columns, -1, -2) @ gradient
        if self.side == "right":
            return gradient @ self.columns
        return (gradient[..., None, :] @ self.columns)[..., 0, :]

    def lift(self, update: Array) -> Array:
        """P⁻¹ u = Pᵀu."""
        if self.side == "left":
            return self.columns @ update
        if self.side == "right":
            return update @ np.swapaxes(self.columns, -1, -2)
        return (update[..., None, :] @ np.swapaxes(self.columns, -1, -2))[..., 0, :]

    def residual(self, gradient: Array) -> Array:
        """g − PᵀP g, with rounding noise removed (see ``ROUNDING``)."""
        rest = gradient - self.lift(self.project(gradient))
        axes = -1 if self.side == "vector" else (-2, -1)
        floor = ROUNDING * np.finfo(rest.dtype).eps * np.abs(gradient).max(axis=axes, keepdims=True)
        return np.where(np.abs(rest) <= floor, 0.0, rest)

    def turn(self, old: Basis, statistic: Array, square: bool) -> Array:
        """Statistics of the old basis in the coordinates of this one: Rm with R = QᵀQ_old, (R∘R)v for second moments."""
        rotation = np.swapaxes(self.columns, -1, -2) @ old.columns
        if square:
            rotation = rotation**2
        if self.side == "left":
            return rotation @ statistic
        if self.side == "right":
            return statistic @ np.swapaxes(rotation, -1, -2)
        return (statistic[..., None, :] @ np.swapaxes(rotation, -1, -2))[..., 0, :]


Part = Mask | Basis


def choose_parts(
    algorithm: Algorithm,
    shapes: Shapes,
    period: int,
    gradients: Mapping[str, Array],
    trials: NDArray[np.int64] | None = None,
    bases: Mapping[str, Array] | None = None,
) -> dict[str, Part]:
    """The state-full part of every parameter in one period.

    ``shapes`` are those of one trial. ``trials`` holds the trials' numbers, one draw each; None draws once.
    ``gradients`` is read by svd only, ``bases`` (eigenvectors as columns, leading ones first) by eigen only. A vector
    under a matrix subspace (columns, rows, svd) is state-full as a whole.
    """

    def key(name: str) -> Any:
        value = selection_key(algorithm.seed or 0, name, period)
        return value if trials is None else trial_keys(value, trials)

    def mask(inside: NDArray[np.bool_], shape: tuple[int, ...]) -> Mask:
        leading_axes = inside.shape[:-1]
        return Mask(inside.reshape(*leading_axes, *shape))

    density, kind = algorithm.density, algorithm.subspace
    if algorithm.set is not None:
        total = sum(math.prod(shape) for shape in shapes.values())
        member = np.zeros(total, dtype=bool)
        member[list(algorithm.set)] = True
        ends = np.cumsum([math.prod(shape) for shape in shapes.values()])[:-1]
        return {name: mask(part, shape) for (name, shape), part in zip(shapes.items(), np.split(member, ends), strict=True)}
    if density in (0.0, 1.0):
        return {name: Mask(np.asarray(density == 1.0)) for name in shapes}
    if kind == "blocks":
        sizes = np.array([math.prod(shape) for shape in shapes.values()], dtype=np.int64)
        active = circle(key("blocks"), period, sizes, density, algorithm.order)
        return {name: mask(active[..., i : i + 1], (1,) * len(shape)) for i, (name, shape) in enumerate(shapes.items())}

    parts: dict[str, Part] = {}
    for name, shape in shapes.items():
        size = math.prod(shape)
        if len(shape) < 2 and kind in MATRIX_SUBSPACES:
            parts[name] = Mask(np.asarray(True))
        elif kind == "coordinates" and algorithm.sampling == "independent":
            parts[name] = mask(independent_units(key(name), np.arange(size, dtype=np.int64), density), shape)
        elif kind in ("coordinates", "randk"):
            parts[name] = mask(_members(key(name), size, density), shape)
        elif kind == "columns":
            parts[name] = mask(_members(key(name), shape[-1], density), (1,) * (len(shape) - 1) + shape[-1:])
        elif kind == "rows":
            parts[name] = mask(_members(key(name), shape[0], density), shape[:1] + (1,) * (len(shape) - 1))
        else:
            parts[name] = _basis(kind, key(name), shape, density, gradients[name], (bases or {}).get(name))
    return parts


def _members(key: Any, count: int, density: float) -> NDArray[np.bool_]:
    """Booleans of a uniformly drawn set of round(density · count) units."""
    chosen = subset(key, count, budget(density, count))
    inside = np.zeros((*chosen.shape[:-1], count), dtype=bool)
    np.put_along_axis(inside, chosen, True, axis=-1)
    return inside


def _basis(kind: str, key: Any, shape: tuple[int, ...], density: float, gradient: Array, eigenvectors: Array | None) -> Part:
    side = "vector" if len(shape) == 1 else "left" if shape[0] <= shape[1] else "right"
    length = min(shape)
    rank = budget(density, length)
    if rank == length:  # the whole space: the state-full rule alone, no residual
        return Mask(np.asarray(True))
    if kind == "random":
        return Basis(orthonormal(normals(key, length * rank), length, rank), side)
    if kind == "svd":
        return Basis(principal(gradient, side, rank), side)
    if eigenvectors is None:
        raise ValueError('subspace "eigen" needs the Hessian\'s eigenvectors: only problem.kind = "quadratic" has them')
    return Basis(eigenvectors[:, leading(density, length)], side)


def orthonormal(numbers: Array, length: int, rank: int) -> Array:
    """Columns uniform on the Stiefel manifold: QR of a Gaussian matrix with R's diagonal made positive."""
    q, r = np.linalg.qr(numbers.reshape(*numbers.shape[:-1], length, rank))
    return q * np.where(np.diagonal(r, axis1=-2, axis2=-1) < 0, -1.0, 1.0)[..., None, :]


def principal(gradient: Array, side: str, rank: int) -> Array:
    """The leading singular vectors of the gradient, each with its largest entry positive (svd leaves the sign open)."""
    left, _, right = np.linalg.svd(gradient, full_matrices=False)
    vectors = left if side == "left" else np.swapaxes(right, -1, -2)
    vectors = vectors[..., :rank]
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=-2, keepdims=True), axis=-2)
    return vectors * np.where(largest < 0, -1.0, 1.0)
