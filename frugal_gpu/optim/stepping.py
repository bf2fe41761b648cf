"""A step of one group: by an accelerator of its rules, or by their formulas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from frugal_gpu.optim import formula
from frugal_gpu.optim.backends import Law, accelerated, whole_steps
from frugal_gpu.optim.backends.backend import Chosen
from frugal_gpu.optim.groups import FLAT, rules_of
from frugal_gpu.optim.periods import Periods, States
from frugal_gpu.optim.step import is_frozen, job_of, move_scale, step_in_stretches
from frugal_gpu.optim.subspaces import Free, Turning, choose_basis
from frugal_theory.algorithm.rules import Rule
from frugal_theory.algorithm.selection import selection_key
from frugal_theory.config.registry import SUBSPACES

__all__ = ["step_group"]

Group = dict[str, Any]


def step_group(groups: Sequence[Group], index: int, periods: Periods, states: States) -> None:
    """Enter a new period if it is time, and take the step of group ``index``; its step count is the caller's to move."""
    group = groups[index]
    full, free = rules_of(group)
    sketch = getattr(SUBSPACES[group["subspace"]], "sketch", False)
    alone = group["split"] == "state_full" or (group["state_free"] in FLAT["state_free"] and not sketch)
    rule = accelerated(full, group["backend"]) if alone else None
    if rule is None:
        _by_formula(groups, index, (full, free), periods, states)
    else:
        law = Law(
            full,
            rule,
            group["state_free"],
            group["state_free_lr_scale"],
            rate(group["lr"]),
            group["weight_decay"],
            move_scale(group),
        )
        _accelerated(groups, index, law, periods, states)


def rate(lr: float | Tensor) -> float | Tensor:
    """α; a tensor stays one unless it is the host's own, for the host must not wait for a device."""
    return lr if isinstance(lr, Tensor) and lr.device.type != "cpu" else float(lr)


def _accelerated(groups: Sequence[Group], index: int, law: Law, periods: Periods, states: States) -> None:
    group = groups[index]
    period, within = divmod(group["step"], group["update_gap"])
    if within == 0 and period > 0 and periods.enter(index, period) and group["off_set_momentum"] == "reset":
        periods.follow_units(groups, index, period, states)
    jobs = []
    for parameter, name, part in periods.with_gradients(groups, index, period):
        gradient = parameter.grad
        assert gradient is not None
        if isinstance(part, Free) and is_frozen(law.free, part):
            continue
        if isinstance(part, Turning):
            chosen: Chosen = periods.basis(group, law.rule, states[parameter], gradient, name, part, period)
        else:
            chosen = part
        jobs.append(job_of(law.rule, parameter, chosen, states, counted=isinstance(law.alpha, Tensor)))
    numbers = sum(parameter.numel() for each in groups for parameter in each["params"])
    for whole in whole_steps(group["backend"], numbers):
        jobs = whole.step_(law, jobs)
    step_in_stretches(law, jobs)


def _by_formula(groups: Sequence[Group], index: int, rules: tuple[Rule, Rule], periods: Periods, states: States) -> None:
    """The same, parameter by parameter."""
    group = groups[index]
    period, within = divmod(group["step"], group["update_gap"])
    if within == 0 and period > 0 and periods.enter(index, period):
        periods.carry_units(groups, index, rules[0], period, states)
    alpha, reading = rate(group["lr"]), group["off_set_momentum"]
    for parameter, name, turning in periods.with_gradients(groups, index, period):
        gradient, state = parameter.grad, states[parameter]
        assert gradient is not None
        columns = state.get("basis")
        if isinstance(turning, Turning) and group["subspace"] != "eigen" and state.get("period") != period:
            key = selection_key(group["seed"], name, period)
            state["basis"] = choose_basis(group["subspace"], key, turning, gradient).columns
            state["period"] = period
            if columns is not None:
                old, new = (formula.part_of(turning, parameter, reading, basis) for basis in (columns, state["basis"]))
                formula.carry(rules[0], group, state, gradient, old, new)
        part = formula.part_of(turning, parameter, reading, state.get("basis"))
        u = formula.update(rules, group, state, gradient, part)
        if not is_frozen(group["state_free"], turning):
            parameter.mul_(1 - alpha * group["weight_decay"]).sub_(u.to(parameter.dtype) * (alpha * move_scale(group)))
