"""Adam with ε beside √v, before the bias correction: the form that GaLore's, Fira's and APOLLO's papers share."""

from __future__ import annotations

from typing import ClassVar, Literal

from frugal_theory.algorithm.rules.adamw import AdamMoments
from frugal_theory.algorithm.rules.rule import Array, RuleState, RuleTable, Seen, itself, namespace
from frugal_theory.config.parts import Pair, Positive
from frugal_theory.config.registry import Kind

__all__ = ["AdamWEarlyEps"]


class AdamWEarlyEps(AdamMoments, RuleTable):
    """u = c m/(√v + ε),  c = √(1 − β₂ᵏ)/(1 − β₁ᵏ),  with AdamW's m, v and count (Chen et al. 2024, Fira, Algorithm 1)."""

    title: ClassVar[str] = "AdamW, ε before the correction"
    rule: Literal["adamw_early_eps"] = "adamw_early_eps"
    betas: Pair = (0.9, 0.999)
    """β₁ and β₂, the decays of the moving averages, per step."""
    eps: Positive = 1e-6
    """ε, added to a denominator; in units of the gradient."""

    def update(self, state: RuleState, g: Array, seen: Seen | None = None) -> tuple[Array, RuleState]:  # noqa: ARG002
        """One step of the formula above."""
        new = self.moments(state, g)
        u = new["exp_avg"] / (namespace(g).sqrt(new["exp_avg_sq"]) + self.eps)
        return self.correction(new, g) * u, new


KIND = Kind(AdamWEarlyEps, itself)
