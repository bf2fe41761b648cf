"""What the checks share: the error, and comparisons of dicts of arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ROUNDING", "ContractError", "close", "copied", "require", "require_shapes", "require_unchanged"]

Array = NDArray[np.float64]

ROUNDING = 1e-9
"""Relative difference allowed between two ways to compute the same number: thousands of roundings of 1e-16, and some."""


class ContractError(AssertionError):
    """Something does not keep its contract; the message names what."""


def require(condition: bool, message: str) -> None:
    """Raise ContractError with the message unless the condition is true."""
    if not condition:
        raise ContractError(message)


def require_shapes(what: str, arrays: Any, shapes: Mapping[str, tuple[int, ...]], leading: tuple[int, ...] = ()) -> None:
    """A mapping with these names, in any order, whose arrays have the leading axes followed by these shapes; finite."""
    require(isinstance(arrays, Mapping), f"{what} is a {type(arrays).__name__}; a mapping from parameter names is expected")
    require(set(arrays) == set(shapes), f"{what} has the parameters {sorted(arrays)}; {sorted(shapes)} are expected")
    for name, shape in shapes.items():
        found = np.shape(arrays[name])
        require(found == (*leading, *shape), f"{what} has shape {found} for {name}; {(*leading, *shape)} is expected")


def copied(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """A deep copy."""
    return {name: np.array(value, copy=True) for name, value in arrays.items()}


def require_unchanged(what: str, before: Mapping[str, Array], after: Mapping[str, Array]) -> None:
    """The arrays are what they were."""
    for name, value in before.items():
        require(np.array_equal(value, after[name], equal_nan=True), f"{what}: {name} was changed in place; make a copy")


def close(one: Any, other: Any, scale: float = 0.0, tolerance: float = ROUNDING) -> bool:
    """Whether two arrays agree up to ``tolerance`` times the larger of ``scale`` and their largest entries."""
    a, b = np.asarray(one, dtype=float), np.asarray(other, dtype=float)
    if a.shape != b.shape or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return False
    size = max(scale, float(np.abs(a).max(initial=0.0)), float(np.abs(b).max(initial=0.0)))
    return bool(np.all(np.abs(a - b) <= tolerance * size))
