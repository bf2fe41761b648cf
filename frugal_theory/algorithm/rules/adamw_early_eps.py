"""Adam with ε beside √v, before the bias correction: the form that GaLore's, Fira's and APOLLO's papers share."""

from __future__ import annotations

from typing import ClassVar, Literal

from frugal_theory.algorithm.rules.adamw import bias_correction
from frugal_theory.algorithm.rules.rule import Array, RuleState, RuleTable, Seen, counter, itself, namespace
from frugal_theory.config.parts import Pair, Positive
from frugal_theory.config.registry import Kind

__all__ = ["AdamWEarlyEps"]


class AdamWEarlyEps(RuleTable):
    """u = c m/(√v + ε),  c = √(1 − β₂ᵏ)/(1 − β₁ᵏ),  with AdamW's m, v and count (Chen et al. 2024, Fira, Algorithm 1)."""

    title: ClassVar[str] = "AdamW, ε before the correction"
    rule: Literal["adamw_early_eps"] = "adamw_early_eps"
    betas: Pair = (0.9, 0.999)
    eps: Positive = 1e-6

    sides: ClassVar[tuple[str, ...]] = ("state_full",)
    vectors: ClassVar[tuple[str, ...]] = ("exp_avg",)
    squares: ClassVar[tuple[str, ...]] = ("exp_avg_sq",)
    counts: ClassVar[tuple[str, ...]] = ("count",)

    def init(self, like: Array) -> RuleState:
        """m = v = 0, no step counted."""
        xp = namespace(like)
        return {"exp_avg": xp.zeros_like(like), "exp_avg_sq": xp.zeros_like(like), "count": xp.zeros_like(like) + counter(like)}

    def update(self, state: RuleState, g: Array, seen: Seen | None = None) -> tuple[Array, RuleState]:  # noqa: ARG002
        """One step of the formula above."""
        beta_1, beta_2 = self.betas
        new = {
            "exp_avg": beta_1 * state["exp_avg"] + (1 - beta_1) * g,
            "exp_avg_sq": beta_2 * state["exp_avg_sq"] + (1 - beta_2) * g**2,
            "count": state["count"] + 1,
        }
        u = new["exp_avg"] / (namespace(g).sqrt(new["exp_avg_sq"]) + self.eps)
        return self.correction(new, g) * u, new

    def correction(self, state: RuleState, like: Array) -> Array:
        """c after the steps that a state has counted."""
        beta_1, beta_2 = self.betas
        root = namespace(like).sqrt(bias_correction(beta_2, state["count"], like))
        return root / bias_correction(beta_1, state["count"], like)


KIND = Kind(AdamWEarlyEps, itself)
