"""A vector cut into named blocks: what the algorithm sees as parameters, and the problem as one vector."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from frugal_theory.config import Start

__all__ = ["Partition", "starting_vector"]

Array = NDArray[np.float64]
Arrays = dict[str, Array]


class Partition:
    """ℝ^d as ``blocks`` contiguous blocks, their sizes as equal as can be, the longer ones first.

    One block is the parameter "x"; several are "x.0", "x.1", … in order. ``shapes`` maps the names to (size,).
    Raises ValueError unless 1 <= blocks <= dimension.
    """

    def __init__(self, dimension: int, blocks: int = 1) -> None:
        if not 1 <= blocks <= dimension:
            raise ValueError(f"blocks = {blocks}: a vector of dimension {dimension} has 1 to {dimension} blocks")
        size, longer = divmod(dimension, blocks)
        names = ["x"] if blocks == 1 else [f"x.{i}" for i in range(blocks)]
        self.dimension = dimension
        self.shapes: Mapping[str, tuple[int, ...]] = {name: (size + (i < longer),) for i, name in enumerate(names)}

    def join(self, x: Mapping[str, Array]) -> Array:
        """The vector, shape (..., d), of the blocks of shape (..., size); a single block is not copied."""
        blocks = [np.asarray(x[name]) for name in self.shapes]
        return blocks[0] if len(blocks) == 1 else np.concatenate(blocks, axis=-1)

    def split(self, vector: Array) -> Arrays:
        """The blocks, views of shape (..., size), of the vector of shape (..., d)."""
        blocks: Arrays = {}
        first = 0
        for name, (size,) in self.shapes.items():
            blocks[name] = vector[..., first : first + size]
            first += size
        return blocks


def starting_vector(start: Start, dimension: int, rng: np.random.Generator) -> Array:
    """x¹, shape (dimension,): standard normal entries, ones, or the numbers given.

    Raises ValueError if numbers are given and there are not ``dimension`` of them.
    """
    if start == "normal":
        return rng.standard_normal(dimension)
    if start == "ones":
        return np.ones(dimension)
    vector = np.array(start, dtype=np.float64)
    if vector.shape != (dimension,):
        raise ValueError(f'start has shape {vector.shape}; allowed: "normal", "ones", or {dimension} numbers')
    return vector
