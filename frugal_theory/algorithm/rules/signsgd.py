"""The sign of the gradient."""

from __future__ import annotations

from typing import ClassVar, Literal

from frugal_theory.algorithm.rules.rule import Array, RuleState, Seen, StateFree, itself, namespace
from frugal_theory.config.registry import Kind

__all__ = ["SignSgd"]


class SignSgd(StateFree):
    """u = κ sign(g) (Bernstein et al. 2018), κ = ``lr_scale``."""

    title: ClassVar[str] = "signSGD"
    rule: Literal["signsgd"] = "signsgd"

    def init(self, like: Array) -> RuleState:  # noqa: ARG002
        """No state."""
        return {}

    def update(self, state: RuleState, g: Array, seen: Seen | None = None) -> tuple[Array, RuleState]:  # noqa: ARG002
        """The formula above."""
        return self.lr_scale * namespace(g).sign(g), state


KIND = Kind(SignSgd, itself)
