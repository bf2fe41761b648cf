"""Nothing: what is not state-full stands still."""

from __future__ import annotations

from typing import Literal

from frugal_theory.algorithm.rules.rule import Array, RuleState, Seen, StateFree, itself, namespace
from frugal_theory.config.registry import Kind

__all__ = ["Nothing"]


class Nothing(StateFree):
    """u = 0."""

    rule: Literal["none"] = "none"

    def init(self, like: Array) -> RuleState:  # noqa: ARG002
        """No state."""
        return {}

    def update(self, state: RuleState, g: Array, seen: Seen | None = None) -> tuple[Array, RuleState]:  # noqa: ARG002
        """Zeros."""
        return namespace(g).zeros_like(g), state


KIND = Kind(Nothing, itself)
