"""A share that is looked at, and not moved: the state-full rule's update says how far the whole gradient goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from frugal_theory.algorithm.parts.basis import Basis
from frugal_theory.algorithm.rules.rule import namespace

__all__ = ["Sketch"]

Array = Any


@dataclass(frozen=True)
class Sketch(Basis):
    """Columns that need not be orthonormal (APOLLO, arXiv 2412.05270): R = P g, and everything is left to the state-free rule.

    With the state-free rule "like_full" the step is g, scaled by channel as the state-full rule scales R. A statistic turns
    into the sketch of what it stood for, PᵀP_old m; directions that are not orthonormal stretch it a little.
    """

    def lift(self, update: Array) -> Array:
        """Zeros: nothing comes back."""
        xp = namespace(update)
        shape = (*update.shape[:-2], self.columns.shape[-2], update.shape[-1])
        if self.side == "right":
            shape = (*update.shape[:-1], self.columns.shape[-2])
        return xp.zeros(shape, dtype=update.dtype, device=update.device)

    def residual(self, gradient: Array) -> Array:
        """All of the gradient."""
        return gradient
