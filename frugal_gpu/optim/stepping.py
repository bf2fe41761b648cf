"""A step of one group: by an accelerator of its rules, or by their formulas."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from frugal_gpu.optim import formula
from frugal_gpu.optim.backends import InPlace, accelerated
from frugal_gpu.optim.groups import FLAT, rules_of
from frugal_gpu.optim.periods import Periods, States
from frugal_gpu.optim.step import Chosen, Share, apply, is_frozen, move_scale, take_share
from frugal_gpu.optim.subspaces import Turning, choose_basis
from frugal_theory.algorithm.rules import Rule
from frugal_theory.algorithm.selection import selection_key

__all__ = ["step_group"]

Group = dict[str, Any]


def step_group(groups: Sequence[Group], index: int, periods: Periods, states: States) -> None:
    """Enter a new period if it is time, and take the step of group ``index``; its step count is the caller's to move."""
    group = groups[index]
    full, free = rules_of(group)
    alone = group["split"] == "state_full" or group["state_free"] in FLAT["state_free"]
    rule = accelerated(full) if alone else None
    if rule is None:
        _by_formula(groups, index, (full, free), periods, states)
    else:
        _accelerated(groups, index, rule, periods, states)


def _accelerated(groups: Sequence[Group], index: int, rule: InPlace, periods: Periods, states: States) -> None:
    group = groups[index]
    period, within = divmod(group["step"], group["update_gap"])
    if within == 0 and period > 0 and group["off_set_momentum"] == "reset":
        periods.follow_units(groups, index, period, states)
    shares: dict[Any, list[Share]] = defaultdict(list)
    for parameter, name, part in periods.with_gradients(groups, index, period):
        gradient = parameter.grad
        assert gradient is not None
        if isinstance(part, Turning):
            chosen: Chosen = periods.basis(group, rule, states[parameter], gradient, name, part, period)
        else:
            chosen = part
        share = take_share(rule, parameter, chosen, states)
        shares[share.kind].append(share)
    for alike in shares.values():
        apply(group, rule, alike)


def _by_formula(groups: Sequence[Group], index: int, rules: tuple[Rule, Rule], periods: Periods, states: States) -> None:
    """The same, parameter by parameter."""
    group = groups[index]
    period, within = divmod(group["step"], group["update_gap"])
    if within == 0 and period > 0:
        periods.carry_units(groups, index, rules[0], period, states)
    alpha, reading = float(group["lr"]), group["off_set_momentum"]
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
        if not is_frozen(group, turning):
            parameter.mul_(1 - alpha * group["weight_decay"]).sub_(u.to(parameter.dtype), alpha=alpha * move_scale(group))
