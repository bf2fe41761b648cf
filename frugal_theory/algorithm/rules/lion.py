"""Lion."""

from __future__ import annotations

from typing import ClassVar, Literal

from frugal_theory.algorithm.rules.rule import Array, RuleState, RuleTable, Seen, itself, namespace
from frugal_theory.config.parts import Pair
from frugal_theory.config.registry import Kind

__all__ = ["Lion"]


class Lion(RuleTable):
    """u = sign(β₁m + (1−β₁)g), m ← β₂m + (1−β₂)g (Chen et al. 2023, Algorithm 2)."""

    title: ClassVar[str] = "Lion"
    rule: Literal["lion"] = "lion"
    betas: Pair = (0.9, 0.99)
    """β₁ and β₂, the decays of the moving averages, per step."""

    sides: ClassVar[tuple[str, ...]] = ("state_full",)
    vectors: ClassVar[tuple[str, ...]] = ("exp_avg",)

    def init(self, like: Array) -> RuleState:
        """m = 0."""
        return {"exp_avg": namespace(like).zeros_like(like)}

    def update(self, state: RuleState, g: Array, seen: Seen | None = None) -> tuple[Array, RuleState]:  # noqa: ARG002
        """One step of the recursion above."""
        beta_1, beta_2 = self.betas
        exp_avg = state["exp_avg"]
        update = namespace(g).sign(beta_1 * exp_avg + (1 - beta_1) * g)
        return update, {"exp_avg": beta_2 * exp_avg + (1 - beta_2) * g}


KIND = Kind(Lion, itself)
