"""A share spanned by orthonormal directions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from frugal_theory.algorithm.parts.part import Reading, State
from frugal_theory.algorithm.rules.rule import namespace

__all__ = ["ROUNDING", "Basis"]

Array = Any

ROUNDING = 32
"""A residual below this many units in the last place of the gradient's largest entry is rounding, and is set to 0.

Without this the sign rule turns the rounding noise of QQᵀG − G into full steps wherever the gradient lies in the subspace.
"""


@dataclass(frozen=True)
class Basis:
    """Orthonormal columns Q, shape (..., n, r), acting from the left (QᵀG), the right (GQ) or on a vector (gQ)."""

    columns: Array
    side: str
    empty: ClassVar[bool] = False

    def project(self, gradient: Array) -> Array:
        """P g: shape (..., r, n) from the left, (..., m, r) from the right, (..., r) for a vector."""
        if self.side == "left":
            return self.columns.mT @ gradient
        if self.side == "right":
            return gradient @ self.columns
        return (gradient[..., None, :] @ self.columns)[..., 0, :]

    def lift(self, update: Array) -> Array:
        """P⁻¹ u = Pᵀu."""
        if self.side == "left":
            return self.columns @ update
        if self.side == "right":
            return update @ self.columns.mT
        return (update[..., None, :] @ self.columns.mT)[..., 0, :]

    def residual(self, gradient: Array) -> Array:
        """g − PᵀP g, with rounding noise removed (see ``ROUNDING``)."""
        xp = namespace(gradient)
        rest = gradient - self.lift(self.project(gradient))
        axes = -1 if self.side == "vector" else (-2, -1)
        floor = ROUNDING * xp.finfo(rest.dtype).eps * xp.max(xp.abs(gradient), axis=axes, keepdims=True)
        return xp.where(xp.abs(rest) <= floor, xp.zeros_like(rest), rest)

    def shown(self, x: Array) -> Array:
        """All of it."""
        return x

    def covered(self, gradient: Array, reading: Reading) -> Array:  # noqa: ARG002
        """P g."""
        return self.project(gradient)

    def see(self, kept: State, reading: Reading) -> State:  # noqa: ARG002
        """All of it."""
        return kept

    def keep(self, kept: State, new: State, reading: Reading) -> State:  # noqa: ARG002
        """The new state: a basis has nothing off it."""
        return new

    def turn(self, old: Basis, statistic: Array, square: bool) -> Array:
        """Statistics of the old basis in the coordinates of this one: Rm with R = QᵀQ_old, (R∘R)v for second moments."""
        rotation = self.columns.mT @ old.columns
        if square:
            rotation = rotation**2
        if self.side == "left":
            return rotation @ statistic
        if self.side == "right":
            return statistic @ rotation.mT
        return (statistic[..., None, :] @ rotation.mT)[..., 0, :]
