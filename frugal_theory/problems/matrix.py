"""A least-squares problem in matrices: what the subspaces of columns, rows and singular vectors are tried on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from frugal_theory import config
from frugal_theory.algorithm.subspaces import orthonormal
from frugal_theory.config.registry import Kind
from frugal_theory.problems.coordinates import dominating_diagonal
from frugal_theory.problems.partition import starting_vector

__all__ = ["Layer", "Matrix"]

Array = NDArray[np.float64]
Arrays = dict[str, Array]


@dataclass(frozen=True)
class Layer:
    """½‖AWB − C‖²_F with C = AW*B. ``left``: A (m, m). ``right``: B (n, n). ``solution``: W* (m, n)."""

    left: Array
    right: Array
    solution: Array

    def residual(self, weight: Array) -> Array:
        """AWB − C, shape (..., m, n); exactly zero at W*."""
        return self.left @ weight @ self.right - self.left @ self.solution @ self.right


class Matrix:
    """f(W) = ½ Σ_l ‖A_l W_l B_l − C_l‖²_F with C_l = A_l W*_l B_l.

    - ∂f/∂W_l = A_lᵀ(A_l W_l B_l − C_l)B_lᵀ.
    - In the vector of W_l's columns, A W B is (Bᵀ ⊗ A) vec W, so the Hessian is the direct sum of
      (B_l B_lᵀ) ⊗ (A_lᵀA_l), whose eigenvalues are the products of those of its factors: L = max_l ‖A_l‖²‖B_l‖²,
      spectral norms, exactly.
    - f >= 0 and f(W*) = 0, so f* = 0 exactly.

    ``layers``: one a parameter; a single one is the parameter "W", several are "W.0", "W.1", … in order. ``start``:
    "normal" or "ones". Raises ValueError without layers and for shapes that do not agree.
    """

    def __init__(self, layers: Sequence[Layer], start: Literal["normal", "ones"] = "normal") -> None:
        if not layers:
            raise ValueError("layers is empty; one layer or more is allowed")
        for layer in layers:
            rows, columns = layer.solution.shape
            if layer.left.shape != (rows, rows) or layer.right.shape != (columns, columns):
                raise ValueError(
                    f"left has shape {layer.left.shape}, right {layer.right.shape}, solution {layer.solution.shape}; "
                    "(m, m), (n, n) and (m, n) are allowed"
                )
        names = ["W"] if len(layers) == 1 else [f"W.{i}" for i in range(len(layers))]
        self.layers: Mapping[str, Layer] = dict(zip(names, layers, strict=True))
        self.shapes: Mapping[str, tuple[int, ...]] = {name: layer.solution.shape for name, layer in self.layers.items()}
        self.smoothness: float = max(float(np.linalg.norm(y.left, 2) * np.linalg.norm(y.right, 2)) ** 2 for y in layers)
        self.infimum: float = 0.0
        self._start = start

    def coordinate_smoothness(self) -> Arrays:
        """L_ij with (BBᵀ) ⊗ (AᵀA) ⪯ diag: products of diagonals over AᵀA and BBᵀ, as 0 ⪯ X ⪯ D, 0 ⪯ Y ⪯ E give X⊗Y ⪯ D⊗E."""
        return {
            name: np.outer(dominating_diagonal(y.left.T @ y.left), dominating_diagonal(y.right @ y.right.T))
            for name, y in self.layers.items()
        }

    def start(self, rng: np.random.Generator) -> Arrays:
        """W¹, the layers drawn in order."""
        return {name: starting_vector(self._start, m * n, rng).reshape(m, n) for name, (m, n) in self.shapes.items()}

    def value(self, x: Mapping[str, Array]) -> Array:
        """f(W), of the shape of the trial axes."""
        squares = [(layer.residual(x[name]) ** 2).sum(axis=(-2, -1)) for name, layer in self.layers.items()]
        return np.asarray(0.5 * sum(squares))

    def gradient(self, x: Mapping[str, Array]) -> Arrays:
        """A_lᵀ(A_l W_l B_l − C_l)B_lᵀ, by layer."""
        return {name: layer.left.T @ layer.residual(x[name]) @ layer.right.T for name, layer in self.layers.items()}


def from_config(problem: config.Matrix, layers: int, rng: np.random.Generator) -> Matrix:
    """The problem of a ``[problem]`` table, drawn from ``rng`` layer by layer: A_l, B_l, W*_l (standard normal).

    ``condition`` is that of every A_l and every B_l (a 1 × 1 factor has condition 1): the Hessian's is its fourth power.
    """

    def layer() -> Layer:
        left = conditioned(problem.rows, problem.condition, rng)
        right = conditioned(problem.columns, problem.condition, rng)
        return Layer(left, right, rng.standard_normal((problem.rows, problem.columns)))

    return Matrix([layer() for _ in range(layers)], problem.start)


def conditioned(size: int, condition: float, rng: np.random.Generator) -> Array:
    """U diag(s) Vᵀ with U, V uniform on the orthogonal group and s geometric from 1 down to 1/condition; (size, size)."""
    left = orthonormal(rng.standard_normal(size * size), size, size)
    right = orthonormal(rng.standard_normal(size * size), size, size)
    singular = np.geomspace(1, 1 / condition, size)
    return (left * singular) @ right.T


KIND = Kind(config.Matrix, from_config)
