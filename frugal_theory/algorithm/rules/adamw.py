"""Adam with bias correction; its decoupled weight decay is ``algorithm.weight_decay``."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from frugal_theory.algorithm.rules.rule import Array, RuleState, RuleTable, Seen, counter, itself, namespace
from frugal_theory.config.parts import Epsilon, Pair
from frugal_theory.config.registry import Kind

__all__ = ["AdamMoments", "AdamW", "bias_correction", "bias_corrections"]


class AdamMoments:
    """What the forms of Adam share: m, v, the steps counted, and how these go on."""

    if TYPE_CHECKING:
        betas: tuple[float, float]

    sides: ClassVar[tuple[str, ...]] = ("state_full",)
    vectors: ClassVar[tuple[str, ...]] = ("exp_avg",)
    squares: ClassVar[tuple[str, ...]] = ("exp_avg_sq",)
    counts: ClassVar[tuple[str, ...]] = ("count",)

    def init(self, like: Array) -> RuleState:
        """m = v = 0, no step counted."""
        xp = namespace(like)
        return {"exp_avg": xp.zeros_like(like), "exp_avg_sq": xp.zeros_like(like), "count": xp.zeros_like(like) + counter(like)}

    def moments(self, state: RuleState, g: Array) -> RuleState:
        """m ← β₁m + (1−β₁)g, v ← β₂v + (1−β₂)g², one step more; arrays of the gradient's shape."""
        beta_1, beta_2 = self.betas
        return {
            "exp_avg": beta_1 * state["exp_avg"] + (1 - beta_1) * g,
            "exp_avg_sq": beta_2 * state["exp_avg_sq"] + (1 - beta_2) * g**2,
            "count": state["count"] + 1,
        }

    def correction(self, state: RuleState, like: Array) -> Array:
        """√(1 − β₂ᵏ)/(1 − β₁ᵏ): what the update has in it beside m/(√v + ε√(1 − β₂ᵏ))."""
        beta_1, beta_2 = self.betas
        root = namespace(like).sqrt(bias_correction(beta_2, state["count"], like))
        return root / bias_correction(beta_1, state["count"], like)


class AdamW(AdamMoments, RuleTable):
    """Adam (Kingma & Ba 2015, Algorithm 1), u = m̂ / (√v̂ + ε); weight decay is decoupled and lives in the step.

    ``count`` is kept for every coordinate: a coordinate that enters the set starts its own bias correction.
    """

    title: ClassVar[str] = "AdamW"
    rule: Literal["adamw"] = "adamw"
    betas: Pair = (0.9, 0.999)
    """β₁ and β₂, the decays of the moving averages, per step."""
    eps: Epsilon = 1e-8
    """ε, added to √v̂, in units of the gradient; 0 is 2⁻¹²⁶, so that 0/0 is 0."""

    def update(self, state: RuleState, g: Array, seen: Seen | None = None) -> tuple[Array, RuleState]:  # noqa: ARG002
        """One step of the recursions of m and v, each over 1 − βᵏ, k its coordinate's steps."""
        beta_1, beta_2 = self.betas
        new = self.moments(state, g)
        mean = new["exp_avg"] / bias_correction(beta_1, new["count"], g)
        return mean / (namespace(g).sqrt(new["exp_avg_sq"] / bias_correction(beta_2, new["count"], g)) + self.eps), new


@lru_cache
def bias_corrections(beta: float, steps: int) -> NDArray[np.float64]:
    """1 − βᵏ for k = 0, 1, …, ``steps``; read-only, as it is kept."""
    counts = np.arange(steps + 1, dtype=np.float64)
    corrections: NDArray[np.float64] = -np.expm1(counts * math.log(beta)) if beta > 0 else np.minimum(counts, 1.0)
    corrections.flags.writeable = False
    return corrections


def bias_correction(beta: float, count: Array, like: Array) -> Array:
    """1 − βᵏ for every k of ``count``, computed in float64 and given in the dtype of ``like``: 1 − β is small.

    Looked up for NumPy: a power for every coordinate would cost more than the step.
    """
    xp = namespace(like)
    if not isinstance(count, np.ndarray):
        exact = xp.astype(count, xp.float64)
        return xp.astype(-xp.expm1(exact * math.log(beta)) if beta > 0 else xp.clip(exact, 0, 1), like.dtype)
    largest = int(count.max(initial=0))
    looked_up = bias_corrections(beta, 2 ** largest.bit_length())[count.astype(np.intp)]
    return looked_up if looked_up.dtype == like.dtype else looked_up.astype(like.dtype)


KIND = Kind(AdamW, itself)
