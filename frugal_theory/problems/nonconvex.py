"""Robust regression: smooth, not convex, with a globally Lipschitz gradient and a known minimum."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from frugal_theory import config
from frugal_theory.config.registry import Kind
from frugal_theory.problems.coordinates import dominating_diagonal
from frugal_theory.problems.partition import Partition, starting_vector

__all__ = ["LARGEST_SLOPE", "Nonconvex"]

Array = NDArray[np.float64]
Arrays = dict[str, Array]

LARGEST_SLOPE = 3 * math.sqrt(3) / 16
"""max |φ'(t)|, at t = 1/√3, where φ'' = 0."""


class Nonconvex:
    """f(x) = (1/n) Σ_i φ(a_iᵀx − b_i), φ(t) = ½ t²/(1 + t²), b_i = a_iᵀx* (Geman & McClure 1985).

    - φ'(t) = t/(1 + t²)², so ∇f(x) = (1/n) Σ φ'(r_i) a_i with r = Ax − b.
    - φ''(t) = (1 − 3t²)/(1 + t²)³. With u = t² its derivative in u is 6(u − 1)/(1 + u)⁴: it falls from φ''(0) = 1 to
      φ''(±1) = −1/4 and rises to 0 from there. So −1/4 <= φ'' <= 1, and
      −λ_max(AᵀA)/(4n) I <= ∇²f(x) = (1/n) Σ φ''(r_i) a_i a_iᵀ <= λ_max(AᵀA)/n I.
      L = λ_max(AᵀA)/n, attained at x*, where every r_i is 0.
    - φ >= 0 and f(x*) = 0, so f* = 0 exactly.

    ``features``: A, shape (n, d). ``solution``: x*, shape (d,). ``start``: "normal", "ones" or d numbers. ``blocks``:
    the number of parameters that x is cut into. Raises ValueError for shapes that do not agree.
    """

    def __init__(self, features: Array, solution: Array, start: config.Start = "normal", blocks: int = 1) -> None:
        self.features = np.array(features, dtype=np.float64)
        self.solution = np.array(solution, dtype=np.float64)
        if self.features.ndim != 2 or self.features.size == 0 or self.solution.shape != self.features.shape[1:]:
            raise ValueError(
                f"features has shape {self.features.shape}, solution {self.solution.shape}; (samples, d) and (d,) are allowed"
            )
        self.samples: int
        self.samples, dimension = self.features.shape
        self.targets = self.features @ self.solution
        self.partition = Partition(dimension, blocks)
        self.shapes: Mapping[str, tuple[int, ...]] = self.partition.shapes
        self.smoothness: float = float(np.linalg.norm(self.features, 2) ** 2 / self.samples)
        self.infimum: float = 0.0
        self._start = start

    def coordinate_smoothness(self) -> Arrays:
        """L_j with −diag(L_j) ⪯ −AᵀA/(4n) ⪯ ∇²f ⪯ AᵀA/n ⪯ diag(L_j)."""
        return self.partition.split(dominating_diagonal(self.features.T @ self.features / self.samples))

    def start(self, rng: np.random.Generator) -> Arrays:
        """x¹; the same vector whatever the blocks."""
        return self.partition.split(starting_vector(self._start, self.partition.dimension, rng))

    def value(self, x: Mapping[str, Array]) -> Array:
        """f(x), of the shape of the trial axes."""
        squares = self._residual(self.partition.join(x)) ** 2
        return np.asarray((0.5 * squares / (1 + squares)).mean(axis=-1))

    def gradient(self, x: Mapping[str, Array]) -> Arrays:
        """∇f(x), by block."""
        slopes = slope(self._residual(self.partition.join(x)))
        return self.partition.split(slopes @ self.features / self.samples)

    def batch_gradient(self, x: Mapping[str, Array], batch: NDArray[np.int64]) -> Arrays:
        """(1/b) Σ_{i in batch} φ'(r_i) a_i, the batch of shape (..., b)."""
        rows = self.features[batch]
        residual = (rows @ self.partition.join(x)[..., None])[..., 0] - self.targets[batch]
        mean = (slope(residual)[..., None, :] @ rows)[..., 0, :] / batch.shape[-1]
        return self.partition.split(mean)

    def sample_variance(self) -> Arrays:
        """For every coordinate a bound, over all x, of Var_i ∂_j f_i(x): max|φ'|² (1/n) Σ_i a_ij².

        ∂_j f_i(x) = φ'(r_i) a_ij, and the variance is at most the second moment. Knowing no more of φ'(r_i) than its
        range, which is symmetric, the mean squared distance from another number than 0 gives nothing smaller.
        """
        return self.partition.split(LARGEST_SLOPE**2 * (self.features**2).mean(axis=0))

    def sample_range(self) -> tuple[Arrays, float]:
        """Bounds, over all x and i, of |∂_j f_i(x) − ∂_j f(x)| by coordinate, and of ‖∇f_i(x) − ∇f(x)‖: each is at most the
        largest |φ'| times a_i, and so is the mean over i."""
        size, lengths = np.abs(self.features), np.linalg.norm(self.features, axis=1)
        reach = LARGEST_SLOPE * (size.max(axis=0) + size.mean(axis=0))
        return self.partition.split(reach), float(LARGEST_SLOPE * (lengths.max() + lengths.mean()))

    def sample_gradient_bound(self) -> Arrays | None:
        """For every coordinate max|φ'| max_i |a_ij|."""
        return self.partition.split(LARGEST_SLOPE * np.abs(self.features).max(axis=0))

    def gradient_bound(self) -> Arrays | None:
        """For every coordinate max|φ'| (1/n) Σ_i |a_ij|."""
        return self.partition.split(LARGEST_SLOPE * np.abs(self.features).mean(axis=0))

    def _residual(self, vector: Array) -> Array:
        return vector @ self.features.T - self.targets


def slope(t: Array) -> Array:
    """φ'(t) = t/(1 + t²)²."""
    return t / (1 + t * t) ** 2


def from_config(problem: config.Nonconvex, blocks: int, rng: np.random.Generator) -> Nonconvex:
    """The regression of a ``[problem]`` table: Gaussian a_i, scaled so that L = 1, and x* standard normal, from ``rng``."""
    features = rng.standard_normal((problem.samples, problem.dimension))
    features *= math.sqrt(problem.samples) / np.linalg.norm(features, 2)
    return Nonconvex(features, rng.standard_normal(problem.dimension), problem.start, blocks)


KIND = Kind(config.Nonconvex, from_config)
