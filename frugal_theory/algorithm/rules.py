"""State-full and state-free rules: each a pair ``init`` and ``update`` (as in Optax), on arrays of any shape.

A state-full rule maps (statistics, gradient) to (update, new statistics). Statistics are a dict of arrays of the
gradient's shape; what is off the set has zeros there, so a rule never needs to know about subspaces. ``vectors``
names the statistics that are linear in the gradient and turn with the basis as Rm, ``squares`` those that are
quadratic in it and turn as (R∘R)v, both only when ``on_update = "project"``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from frugal_theory import config

__all__ = [
    "RULES",
    "AdamW",
    "Lion",
    "Sgdm",
    "StateFullRule",
    "Statistics",
    "bias_corrections",
    "state_free_update",
    "state_full_rule",
]

Array = NDArray[np.float64]
Statistics = dict[str, Array]


class StateFullRule(Protocol):
    """What a state-full rule offers."""

    vectors: ClassVar[tuple[str, ...]]
    squares: ClassVar[tuple[str, ...]]

    def init(self, like: Array) -> Statistics:
        """Statistics before the first step, each of the shape of ``like``."""
        ...

    def update(self, statistics: Statistics, gradient: Array) -> tuple[Array, Statistics]:
        """The update u (the step is −αu) and the new statistics; neither argument is changed."""
        ...


@dataclass(frozen=True)
class Sgdm:
    """m ← βm + (1−β)g, u = m (FRUGAL, Algorithm 2).

    torch.optim.SGD(lr=α(1−β), momentum=β, dampening=0) is the same method: its buffer is m/(1−β).
    """

    beta: float = 0.9
    vectors: ClassVar[tuple[str, ...]] = ("momentum",)
    squares: ClassVar[tuple[str, ...]] = ()

    def init(self, like: Array) -> Statistics:
        """m = 0."""
        return {"momentum": np.zeros_like(like)}

    def update(self, statistics: Statistics, gradient: Array) -> tuple[Array, Statistics]:
        """One step of the recursion above."""
        momentum = self.beta * statistics["momentum"] + (1 - self.beta) * gradient
        return momentum, {"momentum": momentum}


@dataclass(frozen=True)
class AdamW:
    """Adam with bias correction (Kingma & Ba 2015, Algorithm 1); weight decay is decoupled and lives in the step.

    ``count`` is kept for every coordinate: a coordinate that enters the set starts its own bias correction.
    """

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    vectors: ClassVar[tuple[str, ...]] = ("exp_avg",)
    squares: ClassVar[tuple[str, ...]] = ("exp_avg_sq",)

    def init(self, like: Array) -> Statistics:
        """m = v = 0, no step counted."""
        return {name: np.zeros_like(like) for name in ("exp_avg", "exp_avg_sq", "count")}

    def update(self, statistics: Statistics, gradient: Array) -> tuple[Array, Statistics]:
        """u = m̂ / (√v̂ + ε)."""
        beta_1, beta_2 = self.betas
        count = statistics["count"] + 1
        exp_avg = beta_1 * statistics["exp_avg"] + (1 - beta_1) * gradient
        exp_avg_sq = beta_2 * statistics["exp_avg_sq"] + (1 - beta_2) * gradient**2
        mean = exp_avg / _bias_correction(beta_1, count)
        scale = np.sqrt(exp_avg_sq / _bias_correction(beta_2, count)) + self.eps
        return mean / scale, {"exp_avg": exp_avg, "exp_avg_sq": exp_avg_sq, "count": count}


@dataclass(frozen=True)
class Lion:
    """u = sign(β₁m + (1−β₁)g), m ← β₂m + (1−β₂)g (Chen et al. 2023, Algorithm 2)."""

    betas: tuple[float, float] = (0.9, 0.99)
    vectors: ClassVar[tuple[str, ...]] = ("exp_avg",)
    squares: ClassVar[tuple[str, ...]] = ()

    def init(self, like: Array) -> Statistics:
        """m = 0."""
        return {"exp_avg": np.zeros_like(like)}

    def update(self, statistics: Statistics, gradient: Array) -> tuple[Array, Statistics]:
        """One step of the recursion above."""
        beta_1, beta_2 = self.betas
        exp_avg = statistics["exp_avg"]
        update = np.sign(beta_1 * exp_avg + (1 - beta_1) * gradient)
        return update, {"exp_avg": beta_2 * exp_avg + (1 - beta_2) * gradient}


RULES: dict[str, Callable[[Any], StateFullRule]] = {
    "sgdm": lambda table: Sgdm(table.beta),
    "adamw": lambda table: AdamW(table.betas, table.eps),
    "lion": lambda table: Lion(table.betas),
}
"""By name, what makes the rule of a ``state_full`` table."""


@lru_cache
def bias_corrections(beta: float, steps: int) -> Array:
    """1 − βᵏ for k = 0, 1, …, ``steps``; read-only, as it is kept."""
    corrections: Array = 1 - beta ** np.arange(steps + 1, dtype=np.float64)
    corrections.flags.writeable = False
    return corrections


def _bias_correction(beta: float, count: Array) -> Array:
    """1 − βᵏ for every k of ``count``, looked up: a power for every coordinate would cost more than all else of the step."""
    largest = int(count.max(initial=0))
    return bias_corrections(beta, 2 ** largest.bit_length())[count.astype(np.intp)]


def state_full_rule(rule: config.StateFull) -> StateFullRule:
    """The rule that a ``state_full`` table of the experiment file names."""
    return RULES[rule.rule](rule)


def state_free_update(rule: config.StateFree, gradient: Array) -> Array:
    """The state-free update of the residual: ``lr_scale`` times g, sign(g) or 0."""
    if rule.rule == "none":
        return np.zeros_like(gradient)
    return rule.lr_scale * (np.sign(gradient) if rule.rule == "signsgd" else gradient)
