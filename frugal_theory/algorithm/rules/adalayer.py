"""AdaLayer: Adam with one second moment a tensor, or a row."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from frugal_theory.algorithm.rules.adamw import bias_correction
from frugal_theory.algorithm.rules.rule import Array, RuleState, RuleTable, Seen, counter, itself, namespace
from frugal_theory.config.parts import Epsilon, Pair
from frugal_theory.config.registry import Kind

__all__ = ["AdaLayer"]


class AdaLayer(RuleTable):
    """m ← β₁m + (1−β₁)g,  v ← β₂v + (1−β₂) mean(g²),  u = m̂ / (√v̂ + ε)  (Zhao et al. 2024, arXiv 2407.07972).

    The mean is over the tensor, or ``by`` row (the output head). With ``warm`` = w > 0 nothing moves in the first w steps; if
    ``frozen``, v is the plain mean of those w steps and stays (their Section 3.2: SGDM with a learning rate a layer).
    """

    rule: Literal["adalayer"] = "adalayer"
    betas: Pair = (0.9, 0.95)
    """β₁ and β₂, the decays of the moving averages, per step."""
    eps: Epsilon = 1e-15
    """ε, added to a denominator; in units of the gradient."""
    by: Literal["tensor", "row"] = "tensor"
    """One number of second moment a tensor, or a row."""
    warm: Annotated[int, Field(ge=0)] = 0
    """Steps in the beginning in which nothing moves."""
    frozen: bool = False
    """Whether v is the plain mean of those steps, and stays."""

    sides: ClassVar[tuple[str, ...]] = ("state_full",)
    vectors: ClassVar[tuple[str, ...]] = ("exp_avg",)
    elementwise: ClassVar[bool] = False

    @model_validator(mode="after")
    def _combinations(self) -> AdaLayer:
        if self.frozen and not self.warm:
            raise ValueError("frozen needs steps to take v from: warm = 0; a whole number >= 1 is allowed")
        return self

    def init(self, like: Array) -> RuleState:
        """m = v = 0, no step counted."""
        xp = namespace(like)
        number = xp.zeros((1,) * like.ndim, dtype=like.dtype, device=like.device)
        square = xp.zeros_like(like[..., :1]) if self._by_row(like) else number
        return {"exp_avg": xp.zeros_like(like), "exp_avg_sq": square, "count": counter(like)}

    def update(self, state: RuleState, g: Array, seen: Seen | None = None) -> tuple[Array, RuleState]:  # noqa: ARG002
        """One step of the formula above."""
        xp, (beta_1, beta_2) = namespace(g), self.betas
        count = state["count"] + 1
        exp_avg = beta_1 * state["exp_avg"] + (1 - beta_1) * g
        square = xp.mean(g * g, axis=-1, keepdims=True) if self._by_row(g) else xp.mean(g * g)
        old = state["exp_avg_sq"]
        if self.frozen:
            new = xp.where(count <= self.warm, old + (square - old) / xp.astype(count, g.dtype), old)
            scale = xp.sqrt(new) + self.eps
        else:
            new = beta_2 * old + (1 - beta_2) * square
            scale = xp.sqrt(new / bias_correction(beta_2, count, g)) + self.eps
        update = exp_avg / bias_correction(beta_1, count, g) / scale
        if self.warm:
            update = xp.where(count > self.warm, update, xp.zeros_like(update))
        return update, {"exp_avg": exp_avg, "exp_avg_sq": new, "count": count}

    def _by_row(self, x: Array) -> bool:
        return self.by == "row" and x.ndim > 1


KIND = Kind(AdaLayer, itself)
