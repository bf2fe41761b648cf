"""Adafactor with momentum: the second moment of a matrix as a row and a column."""

from __future__ import annotations

from typing import ClassVar, Literal

from frugal_theory.algorithm.rules.adamw import bias_correction
from frugal_theory.algorithm.rules.rule import Array, RuleState, RuleTable, Seen, counter, itself, namespace
from frugal_theory.config.parts import Pair, Positive
from frugal_theory.config.registry import Kind

__all__ = ["Adafactor"]


class Adafactor(RuleTable):
    """m ← β₁m + (1−β₁)g;  r, c ← EMA (β₂) of the means of s² along rows and columns;  u = m̂ / (√(r cᵀ/mean(r))^ + ε).

    s is m (AdaMeM, the rebuttal of arXiv 2411.07837) or g ("gradient", Shazeer & Stern 2018). A vector has v itself.
    """

    rule: Literal["adafactor"] = "adafactor"
    betas: Pair = (0.9, 0.999)
    """β₁ and β₂, the decays of the moving averages, per step."""
    eps: Positive = 1e-6
    """ε, added to a denominator; in units of the gradient."""
    second_moment: Literal["momentum", "gradient"] = "momentum"
    """What the factored second moment is of: the momentum, or the gradient."""

    sides: ClassVar[tuple[str, ...]] = ("state_full",)
    vectors: ClassVar[tuple[str, ...]] = ("exp_avg",)
    elementwise: ClassVar[bool] = False

    def init(self, like: Array) -> RuleState:
        """All zero."""
        xp = namespace(like)
        factors = {"row": like[..., :1], "column": like[..., :1, :]} if like.ndim > 1 else {"exp_avg_sq": like}
        return {"exp_avg": xp.zeros_like(like), **{key: xp.zeros_like(f) for key, f in factors.items()}, "count": counter(like)}

    def update(self, state: RuleState, g: Array, seen: Seen | None = None) -> tuple[Array, RuleState]:  # noqa: ARG002
        """One step of the formula above."""
        xp, (beta_1, beta_2) = namespace(g), self.betas
        count = state["count"] + 1
        new = {"exp_avg": beta_1 * state["exp_avg"] + (1 - beta_1) * g}
        square = (g if self.second_moment == "gradient" else new["exp_avg"]) ** 2
        axes = {"row": -1, "column": -2} if g.ndim > 1 else {}
        seen_of = {key: xp.mean(square, axis=axis, keepdims=True) for key, axis in axes.items()} or {"exp_avg_sq": square}
        new |= {key: beta_2 * state[key] + (1 - beta_2) * value for key, value in seen_of.items()}
        if axes:
            mean = xp.mean(new["row"], axis=-2, keepdims=True)
            v = new["row"] * new["column"] / xp.where(mean > 0, mean, xp.ones_like(mean))  # of a zero gradient: 0
        else:
            v = new["exp_avg_sq"]
        scale = xp.sqrt(v / bias_correction(beta_2, count, g)) + self.eps
        return new["exp_avg"] / bias_correction(beta_1, count, g) / scale, {**new, "count": count}


KIND = Kind(Adafactor, itself)
