"""Subspaces: the linear map P onto the state-full part of each parameter, and its right inverse.

Two kinds. A :class:`Mask` is spanned by coordinates (coordinates, blocks, columns, rows, randk); its state-full part
is the gradient with zeros off the set. A :class:`Basis` is spanned by the orthonormal columns of Q (random, svd,
eigen); its state-full part is QᵀG or GQ, on the shorter side of the matrix. Every array may carry leading trial axes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frugal_theory.algorithm.kinds import Blocks, Drawn, Known, Scheduled, Turned
from frugal_theory.algorithm.parts import Basis, Mask, Sketch
from frugal_theory.algorithm.selection import (
    budget,
    circle,
    divided,
    independent_units,
    layers,
    normals,
    selection_key,
    subset,
    trial_keys,
)
from frugal_theory.algorithm.sketching import iterated, sketch_size
from frugal_theory.config import Algorithm
from frugal_theory.config.registry import SUBSPACES

__all__ = [
    "Basis",
    "Blocks",
    "Drawn",
    "Known",
    "Mask",
    "Part",
    "Scheduled",
    "Turned",
    "block_sizes",
    "blocks_of",
    "check_experts",
    "check_groups",
    "choose_parts",
    "directions",
    "matrix_of",
    "members",
    "orthonormal",
    "principal",
    "side",
    "turned",
    "unit_subspace",
]

Array = NDArray[np.float64]
Part = Mask | Basis
Shapes = Mapping[str, tuple[int, ...]]


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
    under a matrix subspace (columns, rows, svd) is state-full as a whole. Under ``experts`` expert e of a parameter of three
    dimensions chooses as the matrix "NAME.e" would.
    """

    def key(name: str) -> Any:
        value = selection_key(algorithm.seed or 0, name, period)
        return value if trials is None else trial_keys(value, trials)

    def of_one(name: str, shape: tuple[int, ...], gradient: Array | None) -> Part:
        if units is not None:
            return Mask(members(units, key(name), period, shape, density))
        if len(shape) < 2 and SUBSPACES[kind].matrix:
            return Mask(np.asarray(True))
        assert gradient is not None
        return _basis(algorithm, key(name), shape, gradient, (bases or {}).get(name))

    density, kind = algorithm.density, algorithm.subspace
    check_groups(algorithm, shapes)
    if algorithm.set is not None:
        return _fixed_set(algorithm.set, shapes)
    if density in (0.0, 1.0):
        return {name: Mask(np.asarray(density == 1.0)) for name in shapes}
    if (blocks := blocks_of(kind, algorithm.order)) is not None:
        inside = blocks.members(key("blocks"), period, list(shapes.values()), density, block_sizes(algorithm, shapes)[1])
        return {name: Mask(member) for name, member in zip(shapes, inside, strict=True)}
    units = unit_subspace(algorithm)
    parts: dict[str, Part] = {}
    for name, shape in shapes.items():
        gradient = gradients.get(name)
        if (each := matrix_of(shape, algorithm.experts)) == shape:
            parts[name] = of_one(name, shape, gradient)
        else:
            seen = [None if gradient is None else gradient[..., e, :, :] for e in range(shape[0])]
            parts[name] = _stacked([of_one(f"{name}.{e}", each, own) for e, own in enumerate(seen)])
    return parts


def matrix_of(shape: tuple[int, ...], experts: bool) -> tuple[int, ...]:
    """The shape of what chooses by itself: a parameter, or under ``experts`` each matrix of one of three dimensions."""
    return shape[1:] if experts and len(shape) == 3 else shape


def _stacked(parts: Sequence[Part]) -> Part:
    """The parts of the experts of a parameter as one of it, with the experts' axis before those of a matrix."""
    bases = [part for part in parts if isinstance(part, Basis)]
    if bases:
        return replace(bases[0], columns=np.stack([part.columns for part in bases], axis=-3))
    inside = np.broadcast_arrays(*(part.inside for part in parts if isinstance(part, Mask)))
    return Mask(np.stack(inside, axis=-3) if inside[0].ndim else np.stack(inside)[:, None, None])


def check_groups(algorithm: Algorithm, names: Iterable[str]) -> None:
    """Raise ValueError if a group of ``[[algorithm.groups]]`` speaks of one of these parameters: all have the same options.

    Groups are for the layers of a model, which only the PyTorch engine knows.
    """
    for i, group in enumerate(algorithm.groups):
        if (name := next((name for name in names if re.search(group.pattern, name)), None)) is not None:
            raise ValueError(
                f'algorithm.groups[{i}].pattern = "{group.pattern}" matches the parameter "{name}" of a problem; '
                "groups are for the parameters of a model: a pattern that matches those alone is allowed"
            )


def check_experts(algorithm: Algorithm, shapes: Shapes) -> None:
    """Raise ValueError if ``experts`` cuts one of a problem's parameters: theorems speak of one draw for each of them."""
    if (name := next((n for n, s in shapes.items() if matrix_of(s, algorithm.experts) != s), None)) is not None:
        raise ValueError(
            f'algorithm.experts = true: the parameter "{name}" of a problem has shape {shapes[name]}, and theorems speak of '
            "one draw for every parameter; experts = false is allowed, or a parameter for every matrix"
        )


def block_sizes(algorithm: Algorithm, shapes: Shapes) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
    """The numbers of elements of the blocks, and the block that each parameter is in: its own, or its layer's."""
    sizes = np.array([math.prod(shape) for shape in shapes.values()], dtype=np.int64)
    if algorithm.blocks == "tensor":
        return sizes, np.arange(len(sizes))
    block_of = layers(list(shapes))
    return np.bincount(block_of, weights=sizes).astype(np.int64), block_of


def unit_subspace(algorithm: Algorithm) -> Drawn | Scheduled | None:
    """The algorithm's subspace of coordinates; None for blocks and for subspaces with a basis."""
    drawn_by_number = algorithm.subspace == "coordinates" and algorithm.sampling == "fixed_size"
    found = RANDK if drawn_by_number else SUBSPACES[algorithm.subspace]
    return found if isinstance(found, Drawn | Scheduled) else None


def blocks_of(subspace: str, order: str) -> Blocks | None:
    """The subspace of whole parameters of that name; None for others. The built-in one walks in the ``order`` asked for."""
    found = SUBSPACES[subspace]
    if found is not BLOCKS:
        return found if isinstance(found, Blocks) else None
    share = _window if order == "random" else None
    return Blocks(partial(circle, order=order), share, order != "random", partial(divided, order=order))


def members(units: Drawn | Scheduled, key: Any, period: int, shape: tuple[int, ...], density: float) -> NDArray[np.bool_]:
    """Which units of one parameter are in the set: booleans that broadcast against (trials, *shape), or ``shape``.

    Raises ValueError if the subspace gives anything else, or one set for all trials of a draw.
    """
    drawn = isinstance(units, Drawn)
    inside = np.asarray(units.units(key, shape, density) if isinstance(units, Drawn) else units.units(period, shape, density))
    trials = np.shape(key)[:-1] if drawn else ()
    fits = inside.ndim == 0 or (inside.ndim == len(trials) + len(shape) and inside.shape[: len(trials)] == trials)
    ends = zip(inside.shape[len(trials) :], shape, strict=False)
    if inside.dtype != np.bool_ or not fits or any(size not in (1, whole) for size, whole in ends):
        raise ValueError(
            f"the units of a subspace are {inside.dtype} of shape {inside.shape}; booleans of shape {(*trials, *shape)} "
            "are allowed, or with 1 in place of a size of the parameter, or a single one"
        )
    return inside


def _fixed_set(chosen: tuple[int, ...], shapes: Shapes) -> dict[str, Part]:
    """``set = [...]`` numbers the coordinates of all parameters one after another."""
    sizes = [math.prod(shape) for shape in shapes.values()]
    member = np.zeros(sum(sizes), dtype=bool)
    member[list(chosen)] = True
    pieces = np.split(member, np.cumsum(sizes)[:-1])
    return {name: Mask(piece.reshape(shape)) for (name, shape), piece in zip(shapes.items(), pieces, strict=True)}


def _shaped(flat: NDArray[np.bool_], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Booleans (..., units) in the parameter's own axes."""
    return flat.reshape(flat.shape[:-1] + shape)


def _coordinates(key: Any, shape: tuple[int, ...], density: float) -> NDArray[np.bool_]:
    """Every coordinate by itself, with probability ``density``."""
    return _shaped(independent_units(key, np.arange(math.prod(shape), dtype=np.int64), density), shape)


def _randk(key: Any, shape: tuple[int, ...], density: float) -> NDArray[np.bool_]:
    """round(density · d) coordinates."""
    return _shaped(_subset(key, math.prod(shape), density), shape)


def _columns(key: Any, shape: tuple[int, ...], density: float) -> NDArray[np.bool_]:
    """round(density · n) of the n columns; all of a vector."""
    if len(shape) < 2:
        return np.asarray(True)
    return _shaped(_subset(key, shape[-1], density), (1,) * (len(shape) - 1) + shape[-1:])


def _rows(key: Any, shape: tuple[int, ...], density: float) -> NDArray[np.bool_]:
    """round(density · m) of the m rows; all of a vector."""
    if len(shape) < 2:
        return np.asarray(True)
    return _shaped(_subset(key, shape[0], density), shape[:1] + (1,) * (len(shape) - 1))


def _subset(key: Any, count: int, density: float) -> NDArray[np.bool_]:
    """Booleans (..., count) of a uniformly drawn set of round(density · count) units."""
    chosen = subset(key, count, budget(density, count))
    inside = np.zeros((*chosen.shape[:-1], count), dtype=bool)
    np.put_along_axis(inside, chosen, True, axis=-1)
    return inside


def _share(density: float, count: int) -> float:
    """The probability of each of ``count`` units when round(density · count) of them are drawn."""
    return budget(density, count) / count


COORDINATES = Drawn(_coordinates, lambda _, density: density)
RANDK = Drawn(_randk, lambda shape, density: _share(density, math.prod(shape)))
COLUMNS = Drawn(_columns, lambda shape, density: 1.0 if len(shape) < 2 else _share(density, shape[-1]), matrix=True)
ROWS = Drawn(_rows, lambda shape, density: 1.0 if len(shape) < 2 else _share(density, shape[0]), matrix=True)


def _window(sizes: NDArray[np.int64], density: float) -> Array:
    """The probability of each block on the circle, or of each piece of one: the window's share of it."""
    total = int(sizes.sum())
    return np.full(len(sizes), min(1.0, budget(density, total) / total))


def _random(key: Any, gradient: Array, side: str, rank: int) -> Array:
    """Uniform on the Stiefel manifold, whatever the gradient."""
    length = side_length(gradient, side)
    return orthonormal(normals(key, length * rank), length, rank)


def _svd(key: Any, gradient: Array, side: str, rank: int) -> Array:  # noqa: ARG001
    """The gradient's leading singular vectors."""
    return principal(gradient, side, rank)


def _randomised(key: Any, gradient: Array, side: str, rank: int) -> Array:
    """Nearly the same, by subspace iteration from a start that the key draws."""
    matrix = gradient if side == "left" else np.swapaxes(gradient, -1, -2)
    length = matrix.shape[-2]
    width = sketch_size(length, rank)
    numbers = normals(key, length * width)
    columns: Array = iterated(matrix, numbers.reshape(*numbers.shape[:-1], length, width), rank)
    return columns


BLOCKS = Blocks(partial(circle, order="random"), _window, divided=partial(divided, order="random"))
RANDOM = Turned(_random, lambda length, rank: rank / length)
SVD = Turned(_svd, matrix=True)
RANDOMISED = Turned(_randomised, matrix=True)
"""SVD under ``projector = "randomised"``."""
EIGEN = Known()


def _gaussian(key: Any, gradient: Array, side: str, rank: int) -> Array:
    """Independent normal entries of variance 1/r, whatever the gradient (APOLLO, arXiv 2412.05270)."""
    length = side_length(gradient, side)
    numbers = normals(key, length * rank) / math.sqrt(rank)
    return numbers.reshape(*numbers.shape[:-1], length, rank)


GAUSSIAN = Turned(_gaussian, matrix=True, sketch=True)


def _basis(algorithm: Algorithm, key: Any, shape: tuple[int, ...], gradient: Array, eigenvectors: Array | None) -> Part:
    kind = RANDOMISED if algorithm.projector == "randomised" else SUBSPACES[algorithm.subspace]
    where, length, rank = directions(algorithm, shape)
    if isinstance(kind, Turned) and kind.sketch:
        return Sketch(kind.columns(key, gradient, where, rank), where)
    if rank == length:  # the whole space: the state-full rule alone, no residual
        return Mask(np.asarray(True))
    if isinstance(kind, Turned):
        return Basis(kind.columns(key, gradient, where, rank), where)
    if eigenvectors is None:
        raise ValueError('subspace "eigen" needs the Hessian\'s eigenvectors: only problem.kind = "quadratic" has them')
    return Basis(eigenvectors[:, np.arange(rank)], where)


def directions(algorithm: Algorithm, shape: tuple[int, ...]) -> tuple[str, int, int]:
    """From where a basis acts on a parameter, the length of that side, and how many directions the basis has.

    That is ``rank``, or the share ``density`` of the length; never more than the shorter side, of which there are no more.
    """
    return turned(shape, algorithm.side, algorithm.density, algorithm.rank)


def turned(shape: tuple[int, ...], which: str, density: float, given: int | None) -> tuple[str, int, int]:
    """:func:`directions` by the keys that it reads: ``side``, ``density`` and ``rank``."""
    where = side(shape, which)
    length = shape[0 if where != "right" else 1] if shape else 1
    rank = budget(density, length) if given is None else given
    return where, length, min(rank, *shape) if shape else rank


def side_length(gradient: Array, side: str) -> int:
    """The length of the side that a basis acts on, of a gradient that may have a trials' axis in front."""
    return int(gradient.shape[-2 if side == "left" else -1])


def side(shape: tuple[int, ...], which: str = "std") -> str:
    """From where a basis acts on a parameter.

    "std" is the authors' choice: from the left on a matrix with fewer rows than columns, from the right on the others.
    "reverse" is the other side; "left" and "right" are themselves.
    """
    if len(shape) < 2:
        return "vector"
    wide = "left" if which in ("std", "left") else "right"
    return wide if shape[0] < shape[1] or which in ("left", "right") else "right" if wide == "left" else "left"


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
