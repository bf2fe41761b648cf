"""How a parameter is cut by a subspace, before anything is drawn: what both the optimizer and the count of memory go by."""

from __future__ import annotations

import math
from dataclasses import dataclass
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

    ``sketch``: whether its update is not lifted back, and the residual is the whole gradient.
    """

    side: str
    length: int
    rank: int
    shape: tuple[int, ...]
    sketch: bool = False
    projector: str = "exact"


def layout_of(
    subspace: str, sampling: str, shape: tuple[int, ...], density: float, side: str = "std", rank: int | None = None
) -> UnitLayout | Turning | None:
    """The layout of a parameter, a vector or a matrix, under a subspace that every parameter chooses by itself; None where
    it is state-full as a whole."""
    kind: Any = SUBSPACES[subspace]
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
