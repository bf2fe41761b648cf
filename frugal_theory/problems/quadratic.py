"""Quadratics: every constant is known in closed form, and the exact moment recursions apply."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from frugal_theory import config
from frugal_theory.algorithm.subspaces import orthonormal
from frugal_theory.config.registry import Kind
from frugal_theory.problems.coordinates import dominating_diagonal
from frugal_theory.problems.partition import Partition, starting_vector

__all__ = ["Quadratic", "spectrum"]

Array = NDArray[np.float64]
Arrays = dict[str, Array]

ORTHOGONALITY = 1e-8
"""How far VᵀV may be from the identity, by entry, before a rotation is refused."""


class Quadratic:
    """f(x) = ½ xᵀAx with A = V diag(λ) Vᵀ, λ_i >= 0 and V orthogonal.

    ∇f(x) = Ax. ∇²f = A everywhere, so L = λ_max exactly. A is positive semi-definite, so f* = f(0) = 0 exactly.

    ``eigenvalues``: λ, shape (d,), in any order. ``rotation``: V, shape (d, d), its columns the eigenvectors in the
    order of ``eigenvalues``; None is the identity, and then f is separable: f(x) = ½ Σ λ_j x_j². ``start``: "normal",
    "ones" or d numbers. ``blocks``: the number of parameters that x is cut into. Raises ValueError for eigenvalues
    that are negative, not finite or all zero, and for a rotation that is not orthogonal or of another size.
    """

    def __init__(
        self, eigenvalues: Array, rotation: Array | None = None, start: config.Start = "normal", blocks: int = 1
    ) -> None:
        self.eigenvalues = np.array(eigenvalues, dtype=np.float64)
        self.rotation = None if rotation is None else np.array(rotation, dtype=np.float64)
        _check(self.eigenvalues, self.rotation)
        self.partition = Partition(self.eigenvalues.size, blocks)
        self.shapes: Mapping[str, tuple[int, ...]] = self.partition.shapes
        self.smoothness: float = float(self.eigenvalues.max())
        self.infimum: float = 0.0
        self._start = start
        self._hessian = None if self.rotation is None else self.hessian()

    @property
    def separable(self) -> bool:
        """Whether every coordinate moves by itself: V is the identity."""
        return self.rotation is None

    @property
    def strong_convexity(self) -> float:
        """μ = λ_min; 0 says that there is none."""
        return float(self.eigenvalues.min())

    @property
    def bases(self) -> Arrays:
        """The eigenvectors as columns, the leading ones first, shape (d, d): what subspace "eigen" selects from.

        Raises ValueError if x is cut into blocks, as the eigenvectors belong to x as a whole.
        """
        if len(self.shapes) > 1:
            raise ValueError(
                f'subspace "eigen" needs x as one parameter: the eigenvectors do not respect blocks; '
                f"problem.blocks = {len(self.shapes)}, 1 is allowed"
            )
        order = np.argsort(-self.eigenvalues, kind="stable")
        vectors = np.eye(self.eigenvalues.size) if self.rotation is None else self.rotation
        return {"x": vectors[:, order]}

    def hessian(self) -> Array:
        """A, shape (d, d), exactly symmetric."""
        if self.rotation is None:
            return np.diag(self.eigenvalues)
        matrix: Array = (self.rotation * self.eigenvalues) @ self.rotation.T
        return (matrix + matrix.T) / 2

    def coordinate_smoothness(self) -> Arrays:
        """L_j with ∇²f = A ⪯ diag(L_j): λ_j if A is diagonal, else from A's row sums."""
        diagonal = self.eigenvalues if self._hessian is None else dominating_diagonal(self._hessian)
        return self.partition.split(diagonal)

    def start(self, rng: np.random.Generator) -> Arrays:
        """x¹; the same vector whatever the blocks."""
        return self.partition.split(starting_vector(self._start, self.partition.dimension, rng))

    def value(self, x: Mapping[str, Array]) -> Array:
        """½ xᵀAx, of the shape of the trial axes."""
        vector = self.partition.join(x)
        return np.asarray(0.5 * (vector * self._times_hessian(vector)).sum(axis=-1))

    def gradient(self, x: Mapping[str, Array]) -> Arrays:
        """Ax, by block."""
        return self.partition.split(self._times_hessian(self.partition.join(x)))

    def _times_hessian(self, vector: Array) -> Array:
        """Ax for x of shape (..., d); A is symmetric, so xᵀA will do."""
        return vector * self.eigenvalues if self._hessian is None else vector @ self._hessian


def spectrum(problem: config.Quadratic) -> Array:
    """λ_1 … λ_d as the ``[problem]`` table gives them, shape (dimension,).

    "power": λ_i = smoothness · i^(−exponent). "uniform": evenly spaced from smoothness down to smoothness/condition.
    "two-level": the first half (rounded up) smoothness, the others smoothness/condition. ``eigenvalues``: themselves,
    in the order given; the other keys are then not read.
    """
    dimension, largest, least = problem.dimension, problem.smoothness, problem.smoothness / problem.condition
    if problem.eigenvalues is not None:
        return np.array(problem.eigenvalues, dtype=np.float64)
    if problem.spectrum == "power":
        return largest * np.arange(1, dimension + 1, dtype=np.float64) ** -problem.exponent
    if problem.spectrum == "uniform":
        return np.linspace(largest, least, dimension)
    return np.where(np.arange(dimension) < (dimension + 1) // 2, largest, least)


def from_config(problem: config.Quadratic, blocks: int, rng: np.random.Generator) -> Quadratic:
    """The quadratic of a ``[problem]`` table. A rotation is uniform on the orthogonal group, drawn from ``rng``."""
    dimension = problem.dimension
    rotation = orthonormal(rng.standard_normal(dimension * dimension), dimension, dimension) if problem.rotated else None
    return Quadratic(spectrum(problem), rotation, problem.start, blocks)


def _check(eigenvalues: Array, rotation: Array | None) -> None:
    if eigenvalues.ndim != 1 or eigenvalues.size == 0:
        raise ValueError(f"eigenvalues has shape {eigenvalues.shape}; a vector (d,) is allowed")
    if not np.isfinite(eigenvalues).all() or eigenvalues.min() < 0 or eigenvalues.max() == 0:
        raise ValueError(
            f"eigenvalues are between {eigenvalues.min()} and {eigenvalues.max()}; "
            "finite numbers >= 0 are allowed, one of them > 0"
        )
    if rotation is None:
        return
    if rotation.shape != (eigenvalues.size, eigenvalues.size):
        raise ValueError(f"rotation has shape {rotation.shape}; there are {eigenvalues.size} eigenvalues, they must agree")
    if not np.abs(rotation.T @ rotation - np.eye(eigenvalues.size)).max() < ORTHOGONALITY:
        raise ValueError("rotation is not orthogonal: VᵀV differs from the identity")


KIND = Kind(config.Quadratic, from_config)
