"""Kinds of subspaces: how parts are chosen, and what theorems may assume of that."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Blocks", "Drawn", "Known", "Scheduled", "Turned"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Drawn:
    """A unit subspace that is drawn anew every period, for every parameter by itself.

    ``units(key, shape, density)`` gives booleans that broadcast against a parameter of that shape, true in the set. All
    its randomness comes from ``key`` through the functions of :mod:`frugal_theory.algorithm.selection`: an int, or an
    int64 array of shape (trials, 1), and then the result has a leading axis of trials. It does not see the period, so
    the draws of different periods are independent.

    ``share(shape, density)`` is the probability of each coordinate to be in the set; it broadcasts against the shape.
    Without it the law of the set is unknown, and no theorem applies (premise P6).
    """

    units: Callable[[Any, tuple[int, ...], float], NDArray[np.bool_]]
    share: Callable[[tuple[int, ...], float], ArrayLike] | None = None
    matrix: bool = False
    """Whether only a matrix has such units."""
    basis: ClassVar[bool] = False
    whole: ClassVar[bool] = False


@dataclass(frozen=True)
class Scheduled:
    """A unit subspace that follows a schedule: ``units(period, shape, density)`` as in :class:`Drawn`, nothing random."""

    units: Callable[[int, tuple[int, ...], float], NDArray[np.bool_]]
    matrix: bool = False
    basis: ClassVar[bool] = False
    whole: ClassVar[bool] = False


@dataclass(frozen=True)
class Blocks:
    """A subspace that takes parameters whole, chosen among all of them, unless it says how it divides one.

    ``active(key, period, sizes, density)`` gives booleans, one a parameter in the order of ``sizes`` (numbers of coordinates),
    with the trials' axis of the key if it has one. What ``scheduled`` follows the period and nothing random. A drawn one is
    independent of the period but through its key; ``share(sizes, density)`` is the probability of each parameter to be in the
    set, without which the law is unknown, and no theorem applies (premise P6).

    ``divided(key, period, shapes, density, block_of)``, if there is one, is asked instead of ``active``: booleans for every
    parameter that broadcast against its shape; ``block_of`` is the number of the block that each is in.
    """

    active: Callable[[Any, int, NDArray[np.int64], float], NDArray[np.bool_]]
    share: Callable[[NDArray[np.int64], float], ArrayLike] | None = None
    scheduled: bool = False
    divided: Callable[[Any, int, Sequence[tuple[int, ...]], float, NDArray[np.intp]], list[NDArray[np.bool_]]] | None = None
    matrix: ClassVar[bool] = False
    basis: ClassVar[bool] = False
    whole: ClassVar[bool] = True

    def members(
        self, key: Any, period: int, shapes: Sequence[tuple[int, ...]], density: float, block_of: NDArray[np.intp] | None = None
    ) -> list[NDArray[np.bool_]]:
        """What of every parameter is in the set: booleans that broadcast against (trials, *shape), or ``shape``.

        ``block_of``: the number of the block that each parameter is in; by default each is one by itself.
        """
        block_of = np.arange(len(shapes)) if block_of is None else block_of
        if self.divided is not None:
            return self.divided(key, period, shapes, density, block_of)
        sizes = np.bincount(block_of, weights=[math.prod(shape) for shape in shapes]).astype(np.int64)
        active = np.asarray(self.active(key, period, sizes, density))[..., block_of]
        return [active[..., i].reshape(active.shape[:-1] + (1,) * len(shape)) for i, shape in enumerate(shapes)]


@dataclass(frozen=True)
class Turned:
    """A subspace spanned by directions on one side of a parameter, new ones every period; orthonormal unless a ``sketch``.

    ``columns(key, gradient, side, rank)`` gives them, shape (n, rank) or (trials, n, rank), n the length of that side (all of a
    vector). ``gradient`` is read by a basis of the gradient only, which has no ``share``: its set depends on the noise. Of one
    drawn from its key alone, ``share(n, rank)`` is the diagonal of the projector's expectation; without it no theorem applies.
    """

    columns: Callable[[Any, Array, str, int], Array]
    share: Callable[[int, int], float] | None = None
    matrix: bool = False
    sketch: bool = False
    """Whether the state-full rule's update is not lifted back, and the residual is the whole gradient."""
    basis: ClassVar[bool] = True
    whole: ClassVar[bool] = False


@dataclass(frozen=True)
class Known:
    """A subspace of directions that the problem knows, the Hessian's eigenvectors, and that never change."""

    matrix: ClassVar[bool] = False
    basis: ClassVar[bool] = True
    whole: ClassVar[bool] = False
