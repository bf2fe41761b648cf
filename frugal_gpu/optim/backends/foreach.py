"""State-full and state-free rules on lists of tensors: the same formulas as :mod:`frugal_theory.algorithm.rules`.

Every rule works on all the tensors of one device and dtype at once (``torch._foreach_*``), and in place on its
statistics. Nothing here knows about subspaces: a tensor is whatever part of a gradient is state-full.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from frugal_theory.config.registry import RULES as FORMULAS
from frugal_theory.config.registry import Registry

__all__ = ["RULES", "AdamW", "Lion", "Sgdm", "StateFullRule", "add_rule", "state_free_update", "state_full_rule"]

Tensors = list[Tensor]
Counts = list[int] | list[Tensor]


class StateFullRule(Protocol):
    """What a state-full rule offers."""

    @property
    def vectors(self) -> tuple[str, ...]:
        """Names of the statistics that are linear in the gradient: they turn with a basis as Rm."""
        ...

    @property
    def squares(self) -> tuple[str, ...]:
        """Names of those that are quadratic in it: they turn as (R∘R)v."""
        ...

    @property
    def counts(self) -> bool:
        """Whether the rule needs the number of steps."""
        ...

    def update_(self, statistics: Mapping[str, Tensors], gradients: Tensors, counts: Counts) -> Sequence[Tensor]:
        """Change the statistics in place and return the update u of every tensor (the step is −αu).

        ``statistics[name][i]`` has the shape of ``gradients[i]``. ``counts[i]`` (only if the rule ``counts``) is the
        number of steps with this one: an int, or a tensor that broadcasts against it, one number a unit. An update may
        be one of the statistics itself, so it must not be written to.
        """
        ...


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
    """1 − β^count for every tensor: numbers for int counts, tensors for counts by unit."""
    by_unit = [count for count in counts if isinstance(count, Tensor)]
    if not by_unit:
        return [1 - beta**count for count in counts]
    corrections = torch._foreach_pow(beta, by_unit)
    torch._foreach_neg_(corrections)
    torch._foreach_add_(corrections, 1.0)
    return corrections


RULES: Registry[Callable[[Mapping[str, Any]], StateFullRule]] = Registry(
    "rule with an accelerator",
    "frugal_gpu.optim.backends.foreach:RULES",
    {name: f"frugal_gpu.optim.backends.foreach:{name.upper()}" for name in ("sgdm", "adamw", "lion")},
)
"""By name, what makes a state-full rule of a parameter group, which has the keys of the rule's table."""


def SGDM(group: Mapping[str, Any]) -> StateFullRule:
    """SGDM of a group."""
    return Sgdm(group["beta"])


def ADAMW(group: Mapping[str, Any]) -> StateFullRule:
    """AdamW of a group."""
    return AdamW(group["betas"], group["eps"])


def LION(group: Mapping[str, Any]) -> StateFullRule:
    """Lion of a group."""
    return Lion(group["betas"])


def state_full_rule(group: Mapping[str, Any]) -> StateFullRule:
    """The state-full rule that a parameter group names, with the group's present hyperparameters."""
    return RULES[group["state_full"]](group)


def add_rule(name: str, rule: Callable[[Mapping[str, Any]], StateFullRule]) -> None:
    """Add the PyTorch twin of a rule that ``frugal_theory.add_rule`` has added: what makes it of a parameter group.

    Raises ValueError if there is no such rule, or if it has a twin already.
    """
    if name in RULES or name not in FORMULAS:
        known = "has a PyTorch twin already" if name in RULES else "is unknown; frugal_theory.add_rule adds its table"
        raise ValueError(f'the state-full rule "{name}" {known}')
    RULES.add(name, rule)


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
