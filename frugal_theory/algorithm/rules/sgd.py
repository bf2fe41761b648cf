"""The gradient itself."""

from __future__ import annotations

from typing import ClassVar, Literal

from frugal_theory.algorithm.rules.rule import Array, RuleState, Seen, StateFree, itself
from frugal_theory.config.registry import Kind

__all__ = ["Sgd"]


class Sgd(StateFree):
    """u = κg, κ = ``lr_scale``."""

    title: ClassVar[str] = "SGD"
    rule: Literal["sgd"] = "sgd"

    def init(self, like: Array) -> RuleState:  # noqa: ARG002
        """No state."""
        return {}

    def update(self, state: RuleState, g: Array, seen: Seen | None = None) -> tuple[Array, RuleState]:  # noqa: ARG002
        """The formula above."""
        return self.lr_scale * g, state


KIND = Kind(Sgd, itself)
