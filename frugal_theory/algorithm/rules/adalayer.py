"""AdaLayer: Adam with one second moment a tensor."""

from __future__ import annotations

from typing import ClassVar, Literal

from frugal_theory.algorithm.rules.rule import Array, RuleState, RuleTable, Seen, itself, namespace
from frugal_theory.config.parts import Epsilon, Pair
from frugal_theory.config.registry import Kind

__all__ = ["AdaLayer"]


class AdaLayer(RuleTable):
    """m ← β₁m + (1−β₁)g,  v ← β₂v + (1−β₂) mean(g²),  u = m̂ / (√v̂ + ε)  (Zhao et al. 2024, arXiv 2407.07972).

    ``v`` and the count of steps are one number a part.
    """

    rule: Literal["adalayer"] = "adalayer"
    betas: Pair = (0.9, 0.95)
    eps: Epsilon = 1e-15

    sides: ClassVar[tuple[str, ...]] = ("state_full",)
    vectors: ClassVar[tuple[str, ...]] = ("exp_avg",)
    elementwise: ClassVar[bool] = False

    def init(self, like: Array) -> RuleState:
        """m = v = 0, no step counted."""
        xp = namespace(like)
        number = xp.zeros((1,) * like.ndim, dtype=like.dtype, device=like.device)
        return {"exp_avg": xp.zeros_like(like), "exp_avg_sq": number, "count": number}

    def update(self, state: RuleState, g: Array, seen: Seen | None = None) -> tuple[Array, RuleState]:  # noqa: ARG002
        """One step of the formula above."""
        xp, (beta_1, beta_2) = namespace(g), self.betas
        count = state["count"] + 1
        exp_avg = beta_1 * state["exp_avg"] + (1 - beta_1) * g
        exp_avg_sq = beta_2 * state["exp_avg_sq"] + (1 - beta_2) * xp.mean(g * g)
        scale = xp.sqrt(exp_avg_sq / (1 - beta_2**count)) + self.eps
        return exp_avg / (1 - beta_1**count) / scale, {"exp_avg": exp_avg, "exp_avg_sq": exp_avg_sq, "count": count}


KIND = Kind(AdaLayer, itself)
