"""Leading singular vectors by randomised subspace iteration: matrix products in place of a decomposition of the gradient."""

from __future__ import annotations

from typing import Any

from frugal_theory.algorithm.rules.rule import namespace

__all__ = ["ITERATIONS", "OVERSAMPLING", "iterated", "sketch_size"]

Array = Any

ITERATIONS = 2
"""Passes of MMᵀ over the start: the error in direction i falls with (σ_{k+1}/σ_i)⁴ (Halko et al. 2011, section 9)."""

OVERSAMPLING = 8
"""Directions that are followed beyond those that are kept."""


def sketch_size(length: int, rank: int) -> int:
    """How many directions are followed for ``rank`` out of ``length``."""
    return min(length, rank + OVERSAMPLING)


def iterated(matrix: Array, start: Array, rank: int) -> Array:
    """Orthonormal columns, shape (..., length, rank), that span nearly what the leading left singular vectors span.

    ``matrix``: (..., length, n), NumPy or torch; ``start``: (..., length, sketch_size(length, rank)), Gaussian. Leading ones
    come first, each with its largest entry positive. With a start as wide as the matrix is long they are singular vectors.
    """
    xp = namespace(matrix)
    q, _ = xp.linalg.qr(start)
    for _ in range(ITERATIONS):
        q, _ = xp.linalg.qr(matrix @ (matrix.mT @ q))
    within = q.mT @ matrix
    _, turns = xp.linalg.eigh(within @ within.mT)  # ascending
    vectors = q @ xp.flip(turns, axis=-1)[..., :rank]
    sizes = xp.abs(vectors)
    largest = xp.where(sizes == xp.max(sizes, axis=-2, keepdims=True), vectors, xp.zeros_like(vectors))
    signs = xp.where(xp.sum(largest, axis=-2, keepdims=True) < 0, -xp.ones_like(vectors), xp.ones_like(vectors))
    return vectors * signs
