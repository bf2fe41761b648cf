"""Adagrad."""

from __future__ import annotations

from typing import ClassVar, Literal

from frugal_theory.algorithm.rules.rule import Array, RuleState, RuleTable, Seen, itself, namespace
from frugal_theory.config.parts import Positive
from frugal_theory.config.registry import Kind

__all__ = ["Adagrad"]


class Adagrad(RuleTable):
    """v ← v + g²,  u = g / (√v + ε)  (Duchi, Hazan & Singer 2011, diagonal; torch.optim.Adagrad)."""

    title: ClassVar[str] = "Adagrad"
    rule: Literal["adagrad"] = "adagrad"
    eps: Positive = 1e-10
    """ε, added to a denominator; in units of the gradient."""

    sides: ClassVar[tuple[str, ...]] = ("state_full",)
    squares: ClassVar[tuple[str, ...]] = ("sum",)

    def init(self, like: Array) -> RuleState:
        """v = 0."""
        return {"sum": namespace(like).zeros_like(like)}

    def update(self, state: RuleState, g: Array, seen: Seen | None = None) -> tuple[Array, RuleState]:  # noqa: ARG002
        """One step of the formula above."""
        total = state["sum"] + g**2
        return g / (namespace(g).sqrt(total) + self.eps), {"sum": total}


KIND = Kind(Adagrad, itself)
