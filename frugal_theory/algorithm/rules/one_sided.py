"""AdaMeM's residual: scaled by row, with one number a row remembered."""

from __future__ import annotations

from typing import ClassVar, Literal

from frugal_theory.algorithm.rules.adamw import bias_correction
from frugal_theory.algorithm.rules.rule import Array, RuleState, Seen, StateFree, counter, itself, namespace
from frugal_theory.config.parts import Decay, Positive
from frugal_theory.config.registry import Kind

__all__ = ["OneSided"]


class OneSided(StateFree):
    """s_i ← βs_i + (1−β) mean_j S_ij²,  u_ij = κ S_ij/(√(s_i/(1−βᵏ)) + ε)  of the residual S, κ = ``lr_scale``.

    AdaMeM (the rebuttal of arXiv 2411.07837), where κ is δ. Of a vector, every entry is a row. One number a row is remembered.
    """

    rule: Literal["one_sided"] = "one_sided"
    beta: Decay = 0.999
    """β, the decay of the moving average, per step."""
    eps: Positive = 1e-6
    """ε, added to a denominator; in units of the gradient."""

    elementwise: ClassVar[bool] = False

    def init(self, like: Array) -> RuleState:
        """s = 0, no step counted."""
        xp = namespace(like)
        rows = like[..., :1] if like.ndim > 1 else like
        return {"row": xp.zeros_like(rows), "count": counter(like)}

    def update(self, state: RuleState, g: Array, seen: Seen | None = None) -> tuple[Array, RuleState]:  # noqa: ARG002
        """One step of the formula above."""
        xp, count = namespace(g), state["count"] + 1
        seen_now = xp.mean(g * g, axis=-1, keepdims=True) if g.ndim > 1 else g * g
        row = self.beta * state["row"] + (1 - self.beta) * seen_now
        scale = xp.sqrt(row / bias_correction(self.beta, count, g)) + self.eps
        return self.lr_scale * (g / scale), {"row": row, "count": count}


KIND = Kind(OneSided, itself)
