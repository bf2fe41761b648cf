"""Parameters as rows of numbers: what statistics and searches work on."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from frugal_theory.problems.problem import Problem, read_only

__all__ = ["dimension", "gradient_rows", "parameters", "rows"]

Array = NDArray[np.float64]


def dimension(problem: Problem) -> int:
    """d, over all parameters."""
    return sum(math.prod(shape) for shape in problem.shapes.values())


def rows(problem: Problem, arrays: Mapping[str, Array]) -> Array:
    """Parameters with the same leading axes, as one array (..., d), in the order of ``problem.shapes``."""
    parts = [np.asarray(arrays[name], dtype=float) for name in problem.shapes]
    flat = [
        part.reshape(*part.shape[: part.ndim - len(shape)], math.prod(shape))
        for part, shape in zip(parts, problem.shapes.values(), strict=True)
    ]
    return np.concatenate(flat, axis=-1)


def parameters(problem: Problem, vectors: Array) -> dict[str, Array]:
    """The inverse of :func:`rows`: parameters with the leading axes of ``vectors``, shape (..., d)."""
    result: dict[str, Array] = {}
    first = 0
    for name, shape in problem.shapes.items():
        size = math.prod(shape)
        result[name] = vectors[..., first : first + size].reshape(*vectors.shape[:-1], *shape)
        first += size
    return result


def gradient_rows(problem: Problem, vectors: Array) -> Array:
    """∇f at every row; shape of ``vectors``. Overflow far away is left as inf or nan."""
    with np.errstate(over="ignore", invalid="ignore"):
        return rows(problem, problem.gradient(read_only(parameters(problem, vectors))))
