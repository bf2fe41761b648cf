"""Refreshes one after another: with ``refresh = "staggered"`` every basis begins its periods at an offset of its own.

The first step draws all of them. Then parameter i of the n that have a basis to refresh draws anew at the steps
``k ≡ offset_i (mod T)``, k > 0, ``offset_i = ⌊i·T/n⌋``, so that no step refreshes more than ⌈n/T⌉ of them.
"""

from __future__ import annotations

from collections.abc import Mapping

from frugal_theory.algorithm.subspaces import matrix_of, turned
from frugal_theory.config import Algorithm
from frugal_theory.config.registry import SUBSPACES

__all__ = ["offset", "offsets", "own_period"]


def offset(place: int, count: int, gap: int) -> int:
    """The step of a period of ``gap`` steps at which basis number ``place`` of ``count`` begins its own."""
    return place * gap // count


def own_period(period: int, phase: int, begins: int) -> int:
    """The period of a basis that begins its own ``begins`` steps late, ``phase`` steps after ``period`` of all began."""
    return period + int(0 < begins <= phase)


def offsets(algorithm: Algorithm, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """The offset of every parameter with a basis that is refreshed, by name; empty if all are refreshed together."""
    if algorithm.refresh != "staggered" or algorithm.density in (0.0, 1.0):
        return {}
    names = [name for name, shape in shapes.items() if _turns(algorithm, shape)]
    return {name: offset(place, len(names), algorithm.update_gap) for place, name in enumerate(names)}


def _turns(algorithm: Algorithm, shape: tuple[int, ...]) -> bool:
    """Whether a parameter has a basis that changes: under a matrix subspace vectors have none, nor has a full rank."""
    kind = SUBSPACES[algorithm.subspace]
    if len(shape) < 2 and kind.matrix:
        return False
    _, length, rank = turned(matrix_of(shape, algorithm.experts), algorithm.side, algorithm.density, algorithm.rank)
    return rank < length or bool(getattr(kind, "sketch", False))
