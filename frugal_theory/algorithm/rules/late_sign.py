"""The sign of the gradient, from a step on."""

from __future__ import annotations

from typing import ClassVar, Literal

from frugal_theory.algorithm.rules.rule import Array, RuleState, Seen, StateFree, counter, itself, namespace
from frugal_theory.config.parts import Count
from frugal_theory.config.registry import Kind

__all__ = ["LateSign"]


class LateSign(StateFree):
    """u = 0 in the first ``after`` steps, then κ sign(g), κ = ``lr_scale``: beside rules that only look at first (AdaLayer)."""

    title: ClassVar[str] = "signSGD, later"
    rule: Literal["late_sign"] = "late_sign"
    after: Count = 1000
    """Steps without an update before the first."""

    elementwise: ClassVar[bool] = False  # its count is one number for all

    def init(self, like: Array) -> RuleState:
        """No step counted."""
        return {"count": counter(like)}

    def update(self, state: RuleState, g: Array, seen: Seen | None = None) -> tuple[Array, RuleState]:  # noqa: ARG002
        """The formula above."""
        xp, count = namespace(g), state["count"] + 1
        moved = self.lr_scale * xp.sign(g)
        return xp.where(count > self.after, moved, xp.zeros_like(moved)), {"count": count}


KIND = Kind(LateSign, itself)
