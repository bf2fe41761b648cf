"""Fira's residual: scaled as the state-full side scales its part."""

from __future__ import annotations

from typing import ClassVar, Literal

from frugal_theory.algorithm.rules.rule import Array, RuleState, Seen, StateFree, itself, namespace
from frugal_theory.config.parts import Positive
from frugal_theory.config.registry import Kind

__all__ = ["LikeFull"]

TINY = 1e-8
"""Added to every norm that divides."""


class LikeFull(StateFree):
    """u = κ c S/ℓ,  S = φ∘(residual),  φ = ‖u_full/c‖/(‖R‖ + 1e-8),  ℓ = max(‖S‖/(n + 1e-8), γ)/γ,  n ← ‖S/ℓ‖.

    R is what the state-full side sees and u_full what it makes of it, c the bias correction in it (on a basis; else 1). φ is by
    channel: what R and the residual share, columns of a basis from the left, rows else; or one number ``by`` "tensor". No limit
    in the first step, n = 0. γ = ``limit`` (Chen et al. 2024, Fira, arXiv 2410.01623, Algorithm 1).
    """

    rule: Literal["like_full"] = "like_full"
    by: Literal["channel", "tensor"] = "channel"
    """One factor a channel, or a tensor."""
    limit: Positive = 1.01
    """The largest growth of the update's norm from one step to the next."""

    elementwise: ClassVar[bool] = False

    def init(self, like: Array) -> RuleState:
        """n = 0."""
        return {"norm": namespace(like).zeros((), dtype=like.dtype, device=like.device)}

    def update(self, state: RuleState, g: Array, seen: Seen | None = None) -> tuple[Array, RuleState]:
        """One step of the formula above; nothing where there is no state-full side."""
        xp = namespace(g)
        if seen is None:
            return xp.zeros_like(g), state
        matrix = g.ndim > 1 and seen.gradient.ndim == g.ndim and self.by == "channel"
        axis = None if not matrix else -2 if seen.gradient.shape[-1] == g.shape[-1] else -1

        def norm(x: Array) -> Array:
            return xp.sqrt(xp.sum(x * x)) if axis is None else xp.sqrt(xp.sum(x * x, axis=axis, keepdims=True))

        scaled = g * (norm(seen.update / seen.correction) / (norm(seen.gradient) + TINY))
        size = xp.sqrt(xp.sum(scaled * scaled))
        growth = xp.where(state["norm"] > 0, size / (state["norm"] + TINY), xp.zeros_like(size))
        limiter = xp.where(growth > self.limit, growth / self.limit, xp.ones_like(size))
        return self.lr_scale * seen.correction * (scaled / limiter), {"norm": size / limiter}


KIND = Kind(LikeFull, itself)
