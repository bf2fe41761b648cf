"""How a parameter is cut by a subspace, before anything is drawn: what both the optimizer and the count of memory go by."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from frugal_theory.algorithm.kinds import Drawn
from frugal_theory.algorithm.selection import budget
from frugal_theory.algorithm.subspaces import turned
from frugal_theory.config.registry import SUBSPACES

__all__ = ["Turning", "UnitLayout", "layout_of"]


@dataclass(frozen=True)
class UnitLayout:
    """Units along ``dim`` of a parameter seen in ``view``; ``inside`` of them are in the set, on average where they are drawn
    one by one."""

    view: tuple[int, ...]
    dim: int
    inside: float

    @property
    def units(self) -> int:
        """How many there are."""
        return self.view[self.dim]


@dataclass(frozen=True)
class Turning:
    """A part whose basis changes with the period: ``rank`` directions out of ``length``, acting from ``side``.

    ``shape`` is that of a vector, a matrix, or (E, m, n) of E experts' matrices, which have a basis each. ``sketch``: whether
    its update is not lifted back, and the residual is the whole gradient.
    """

    side: str
    length: int
    rank: int
    shape: tuple[int, ...]
    sketch: bool = False
    projector: str = "exact"

    @property
    def columns(self) -> tuple[int, ...]:
        """The shape of the basis."""
        return (*self.shape[:-2], self.length, self.rank)

    @property
    def projected(self) -> tuple[int, ...]:
        """The shape of what it shows of a gradient, and so of a statistic."""
        ahead = self.shape[:-2]
        return {"left": (*ahead, self.rank, self.shape[-1]), "right": (*self.shape[:-1], self.rank)}.get(
            self.side, (self.rank,)
        )


def layout_of(
    subspace: str, sampling: str, shape: tuple[int, ...], density: float, side: str = "std", rank: int | None = None
) -> UnitLayout | Turning | None:
    """The layout of a parameter, a vector or a matrix, under a subspace that every parameter chooses by itself; None where
    it is state-full as a whole. Of three dimensions are the E experts of a parameter, each of which chooses by itself."""
    kind: Any = SUBSPACES[subspace]
    if len(shape) == 3:
        each = layout_of(subspace, sampling, shape[1:], density, side, rank)
        return replace(each, shape=shape) if isinstance(each, Turning) else _end_to_end(each, shape)
    if len(shape) == 1 and kind.matrix:
        return None
    if kind.basis:
        where, length, many = turned(shape, side, density, rank)
        sketch = bool(getattr(kind, "sketch", False))
        return None if many == length and not sketch else Turning(where, length, many, shape, sketch)
    if subspace in ("columns", "rows"):
        dim = 1 if subspace == "columns" else 0
        return UnitLayout(shape, dim, budget(density, shape[dim]))
    count = math.prod(shape)
    one_by_one = subspace == "coordinates" and sampling == "independent"
    inside = density * count if one_by_one else float(budget(density, count))
    if SUBSPACES.is_added(subspace) and isinstance(kind, Drawn) and kind.share is not None:
        inside = float(np.sum(np.broadcast_to(kind.share(shape, density), shape)))
    return UnitLayout((count,), 0, inside)


def _end_to_end(each: UnitLayout | None, shape: tuple[int, ...]) -> UnitLayout | None:
    """The units of all experts as one list: their rows one after another, or else their coordinates.

    Columns of several matrices are no axis of anything, so they are kept coordinate by coordinate.
    """
    if each is None:
        return None
    many, numbers = shape[0], math.prod(each.view)
    if each.dim == 0:
        return UnitLayout((many * each.view[0], *each.view[1:]), 0, many * each.inside)
    return UnitLayout((many * numbers,), 0, many * each.inside * numbers / each.units)
