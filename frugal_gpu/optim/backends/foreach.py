"""torch._foreach_*: all tensors of one device and dtype at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from frugal_gpu.optim.backends.backend import Counts, InPlace, Tensors
from frugal_theory.algorithm import rules
from frugal_theory.algorithm.rules import Rule

__all__ = ["FOREACH", "AdamW", "Foreach", "Lion", "Sgdm", "state_free_update"]


@dataclass(frozen=True)
class Sgdm:
    """m ← βm + (1−β)g, u = m (FRUGAL, Algorithm 2)."""

    beta: float = 0.9
    vectors = ("momentum",)
    squares = ()
    counts = False

    def update_(self, statistics: Mapping[str, Tensors], gradients: Tensors, counts: Counts) -> Sequence[Tensor]:  # noqa: ARG002
        """One step of the recursion above."""
        momenta = statistics["momentum"]
        torch._foreach_lerp_(momenta, gradients, 1 - self.beta)
        return momenta


@dataclass(frozen=True)
class AdamW:
    """Adam with bias correction (Kingma & Ba 2015, Algorithm 1); weight decay is decoupled and lives in the step."""

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    vectors = ("exp_avg",)
    squares = ("exp_avg_sq",)
    counts = True

    def update_(self, statistics: Mapping[str, Tensors], gradients: Tensors, counts: Counts) -> Sequence[Tensor]:
        """u = m̂ / (√v̂ + ε)."""
        beta_1, beta_2 = self.betas
        exp_avgs, exp_avg_sqs = statistics["exp_avg"], statistics["exp_avg_sq"]
        torch._foreach_lerp_(exp_avgs, gradients, 1 - beta_1)
        torch._foreach_mul_(exp_avg_sqs, beta_2)
        torch._foreach_addcmul_(exp_avg_sqs, gradients, gradients, 1 - beta_2)
        means = torch._foreach_div(exp_avgs, _bias_correction(beta_1, counts))
        scales = torch._foreach_div(exp_avg_sqs, _bias_correction(beta_2, counts))
        torch._foreach_sqrt_(scales)
        torch._foreach_add_(scales, self.eps)
        torch._foreach_div_(means, scales)
        return means


@dataclass(frozen=True)
class Lion:
    """u = sign(β₁m + (1−β₁)g), m ← β₂m + (1−β₂)g (Chen et al. 2023, Algorithm 2)."""

    betas: tuple[float, float] = (0.9, 0.99)
    vectors = ("exp_avg",)
    squares = ()
    counts = False

    def update_(self, statistics: Mapping[str, Tensors], gradients: Tensors, counts: Counts) -> Sequence[Tensor]:  # noqa: ARG002
        """One step of the recursion above."""
        beta_1, beta_2 = self.betas
        exp_avgs = statistics["exp_avg"]
        updates = torch._foreach_lerp(exp_avgs, gradients, 1 - beta_1)
        torch._foreach_sign_(updates)
        torch._foreach_lerp_(exp_avgs, gradients, 1 - beta_2)
        return updates


def _bias_correction(beta: float, counts: Counts) -> Any:
    """1 − β^count for every tensor: numbers for int counts, tensors for counts by unit. In float32 it would lose 1/(1 − β)."""
    by_unit = [count for count in counts if isinstance(count, Tensor)]
    if not by_unit:
        return [-math.expm1(count * math.log(beta)) if beta > 0 else 1.0 for count in counts]
    exact = [count.to(torch.float64, copy=True) for count in by_unit]
    if beta == 0:
        return [torch.ones_like(count) for count in by_unit]
    torch._foreach_mul_(exact, math.log(beta))
    torch._foreach_expm1_(exact)
    torch._foreach_neg_(exact)
    return [each.to(count.dtype) for each, count in zip(exact, by_unit, strict=True)]


RULES: dict[type, Callable[[Any], InPlace]] = {
    rules.Sgdm: lambda rule: Sgdm(rule.beta),
    rules.AdamW: lambda rule: AdamW(rule.betas, rule.eps),
    rules.Lion: lambda rule: Lion(rule.betas),
}


class Foreach:
    """The rules of this file; a class derived from one of theirs is another rule."""

    def accelerator(self, rule: Rule) -> InPlace | None:
        """The rule on lists of tensors."""
        make = RULES.get(type(rule))
        return None if make is None else make(rule)


FOREACH = Foreach()


def state_free_update(rule: str, lr_scale: float, gradients: Tensors) -> Sequence[Tensor]:
    """The state-free update of every residual in new tensors: ``lr_scale`` times g or sign(g).

    Rule "none" has no update; the caller leaves it out instead of adding zeros.
    """
    if rule == "sgd":
        return torch._foreach_mul(gradients, lr_scale)
    updates = torch._foreach_sign(gradients)
    if lr_scale != 1:
        torch._foreach_mul_(updates, lr_scale)
    return updates
