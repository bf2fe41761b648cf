"""SGD with momentum."""

from __future__ import annotations

from typing import ClassVar, Literal

from frugal_theory.algorithm.rules.rule import Array, RuleState, RuleTable, Seen, itself, namespace
from frugal_theory.config.parts import Decay
from frugal_theory.config.registry import Kind

__all__ = ["Sgdm"]


class Sgdm(RuleTable):
    """m ← βm + (1−β)g, u = m (FRUGAL, Algorithm 2).

    torch.optim.SGD(lr=α(1−β), momentum=β, dampening=0) is the same method: its buffer is m/(1−β).
    """

    title: ClassVar[str] = "SGDM"
    rule: Literal["sgdm"] = "sgdm"
    beta: Decay = 0.9
    """β, the decay of the moving average, per step."""

    sides: ClassVar[tuple[str, ...]] = ("state_full",)
    vectors: ClassVar[tuple[str, ...]] = ("momentum",)

    def init(self, like: Array) -> RuleState:
        """m = 0."""
        return {"momentum": namespace(like).zeros_like(like)}

    def update(self, state: RuleState, g: Array, seen: Seen | None = None) -> tuple[Array, RuleState]:  # noqa: ARG002
        """One step of the recursion above."""
        momentum = self.beta * state["momentum"] + (1 - self.beta) * g
        return momentum, {"momentum": momentum}


KIND = Kind(Sgdm, itself)
