"""Adam with bias correction; its decoupled weight decay is ``algorithm.weight_decay``."""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from frugal_theory.algorithm.rules.rule import Array, RuleState, RuleTable, Seen, itself, namespace
from frugal_theory.config.parts import Epsilon, Pair
from frugal_theory.config.registry import Kind

__all__ = ["AdamW", "bias_correction", "bias_corrections"]


class AdamW(RuleTable):
    """Adam (Kingma & Ba 2015, Algorithm 1), u = m̂ / (√v̂ + ε); weight decay is decoupled and lives in the step.

    ``count`` is kept for every coordinate: a coordinate that enters the set starts its own bias correction.
    """

    title: ClassVar[str] = "AdamW"
    rule: Literal["adamw"] = "adamw"
    betas: Pair = (0.9, 0.999)
    eps: Epsilon = 1e-8

    sides: ClassVar[tuple[str, ...]] = ("state_full",)
    vectors: ClassVar[tuple[str, ...]] = ("exp_avg",)
    squares: ClassVar[tuple[str, ...]] = ("exp_avg_sq",)

    def init(self, like: Array) -> RuleState:
        """m = v = 0, no step counted."""
        zeros_like = namespace(like).zeros_like
        return {name: zeros_like(like) for name in ("exp_avg", "exp_avg_sq", "count")}

    def update(self, state: RuleState, g: Array, seen: Seen | None = None) -> tuple[Array, RuleState]:  # noqa: ARG002
        """One step of the recursions of m and v, each over 1 − βᵏ, k its coordinate's steps."""
        beta_1, beta_2 = self.betas
        count = state["count"] + 1
        exp_avg = beta_1 * state["exp_avg"] + (1 - beta_1) * g
        exp_avg_sq = beta_2 * state["exp_avg_sq"] + (1 - beta_2) * g**2
        mean = exp_avg / bias_correction(beta_1, count)
        scale = namespace(g).sqrt(exp_avg_sq / bias_correction(beta_2, count)) + self.eps
        return mean / scale, {"exp_avg": exp_avg, "exp_avg_sq": exp_avg_sq, "count": count}


@lru_cache
def bias_corrections(beta: float, steps: int) -> NDArray[np.float64]:
    """1 − βᵏ for k = 0, 1, …, ``steps``; read-only, as it is kept."""
    corrections: NDArray[np.float64] = 1 - beta ** np.arange(steps + 1, dtype=np.float64)
    corrections.flags.writeable = False
    return corrections


def bias_correction(beta: float, count: Array) -> Array:
    """1 − βᵏ for every k of ``count``. Looked up for NumPy: a power for every coordinate would cost more than the step."""
    if not isinstance(count, np.ndarray):
        return 1 - beta**count
    largest = int(count.max(initial=0))
    return bias_corrections(beta, 2 ** largest.bit_length())[count.astype(np.intp)]


KIND = Kind(AdamW, itself)
