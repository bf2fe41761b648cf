"""The sign of the momentum."""

from __future__ import annotations

from typing import ClassVar, Literal

from frugal_theory.algorithm.rules.rule import Array, RuleState, RuleTable, Seen, itself, namespace
from frugal_theory.config.parts import Decay
from frugal_theory.config.registry import Kind

__all__ = ["Signum"]


class Signum(RuleTable):
    """m ← βm + (1−β)g,  u = sign(m)  (Bernstein et al. 2018, Signum)."""

    title: ClassVar[str] = "Signum"
    rule: Literal["signum"] = "signum"
    beta: Decay = 0.9

    sides: ClassVar[tuple[str, ...]] = ("state_full",)
    vectors: ClassVar[tuple[str, ...]] = ("momentum",)

    def init(self, like: Array) -> RuleState:
        """m = 0."""
        return {"momentum": namespace(like).zeros_like(like)}

    def update(self, state: RuleState, g: Array, seen: Seen | None = None) -> tuple[Array, RuleState]:  # noqa: ARG002
        """One step of the recursion above."""
        momentum = self.beta * state["momentum"] + (1 - self.beta) * g
        return namespace(g).sign(momentum), {"momentum": momentum}


KIND = Kind(Signum, itself)
