"""A step of one group: by an accelerator of its rules, or by their formulas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from frugal_gpu.optim import formula
from frugal_gpu.optim.backends import Job, Law, whole_steps
from frugal_gpu.optim.backends.backend import Chosen, WholeStep
from frugal_gpu.optim.bases import new_basis
from frugal_gpu.optim.flags import accelerator_of, chosen_backend
from frugal_gpu.optim.following import UNDRAWN
from frugal_gpu.optim.groups import cuts_experts, rules_of
from frugal_gpu.optim.ordinary import kept_of
from frugal_gpu.optim.periods import Periods, States
from frugal_gpu.optim.placement import Stand, agreed, is_copied, local, stand_for, stored_dtype
from frugal_gpu.optim.step import divides, is_frozen, job_of, move_scale, step_in_stretches
from frugal_gpu.optim.subspaces import DecayingUnits, Free, Turning, Units
from frugal_theory.algorithm.rules import Rule

__all__ = ["something_to_do", "step_group"]

Group = dict[str, Any]

MOST = 2**22
"""Numbers that are copied for stand-ins before their steps are taken: a step's temporaries stay small."""


def step_group(groups: Sequence[Group], index: int, periods: Periods, states: States) -> None:
    """Enter a new period if it is time, and take the step of group ``index``; its step count is the caller's to move."""
    group, kept = groups[index], periods.kept.pop(index, None)
    alpha = rate(group["lr"])
    if kept is not None and _place(alpha) == _place(kept.law.alpha):
        jobs = kept.again(groups, index, states)
        if jobs is not None:
            _take(replace(kept.law, alpha=alpha), kept.wholes, jobs, (), states)
            kept.let_go()
            periods.kept[index] = kept
            return
    full, free = rules_of(group)
    rule = accelerator_of(group)
    if rule is None:
        _by_formula(groups, index, (full, free), periods, states)
    else:
        decay, scale = group["weight_decay"], group["state_free_lr_scale"]
        law = Law(
            full,
            rule,
            group["state_free"],
            scale,
            alpha,
            decay,
            move_scale(group),
            divides(group),
            next(iter(group["params"]), None),
        )
        _accelerated(groups, index, law, periods, states)


def something_to_do(groups: Sequence[Group]) -> bool:
    """Whether there is a gradient and, with lr = 0, one that is not zero on any rank."""
    for group in groups:
        lr = rate(group["lr"])
        moves = isinstance(lr, Tensor) or lr != 0  # on a device it is not read: a probe's is on the host
        if moves and any(x.grad is not None for x in group["params"]):
            return True
    parameters = [x for group in groups for x in group["params"] if x.grad is not None]
    nonzero = any(bool(local(x.grad).any()) for x in parameters)
    return agreed(nonzero, parameters)


def _place(alpha: float | Tensor) -> torch.device | None:
    return alpha.device if isinstance(alpha, Tensor) else None


def rate(lr: float | Tensor) -> float | Tensor:
    """α; a tensor stays one unless it is the host's own, for the host must not wait for a device."""
    return lr if isinstance(lr, Tensor) and lr.device.type != "cpu" else float(lr)


def _accelerated(groups: Sequence[Group], index: int, law: Law, periods: Periods, states: States) -> None:
    group = groups[index]
    periods.enter(groups, index, law.full, False, states)
    own = periods.own_periods(groups, index)
    wholes = whole_steps(chosen_backend(group), sum(x.numel() for each in groups for x in each["params"]))
    jobs: list[Job] = []
    stands: list[Stand] = []
    own_form, changing = True, False
    counted = isinstance(law.alpha, Tensor) or bool(group["capturable"])
    for parameter, name, part in periods.with_gradients(groups, index):
        if isinstance(part, Free | Units) and not isinstance(part, DecayingUnits) and is_frozen(law.free, part, law.divided):
            continue
        stored = stored_dtype(group, parameter)
        as_it_is = not is_copied(group, states, parameter) and any(
            whole.as_it_is(law, parameter, part, stored, states.get(parameter, {})) for whole in wholes
        )
        stand = None if as_it_is else stand_for(group, parameter, name, part, states)
        x, held = (parameter, states) if stand is None else (stand.tensor, {stand.tensor: stand.state})
        chosen: Chosen
        own_form &= stand is None
        if isinstance(part, Turning):
            changing |= group["refresh"] == "staggered"
            assert x.grad is not None
            chosen = periods.basis(group, law.rule, held[x], x.grad, name, part, own[name])
        else:
            chosen = part
        jobs.append(job_of(law.rule, x, chosen, held, counted=counted, dtype=stored if as_it_is else None))
        stands += [] if stand is None else [stand]
        if sum(stand.numbers for stand in stands) > MOST:
            _take(law, wholes, jobs, stands, states)
            jobs, stands = [], []
    _take(law, wholes, jobs, stands, states)
    if own_form and not changing:
        without = [x for x in group["params"] if x.grad is None]
        if 2 * len(without) <= len(group["params"]):
            periods.kept[index] = kept_of(law, wholes, jobs, without, groups, index, states)


def _take(law: Law, wholes: Sequence[WholeStep], jobs: list[Job], stands: Sequence[Stand], states: States) -> None:
    """Take the steps of these jobs, and put back what stood in."""
    for whole in wholes:
        jobs = whole.step_(law, jobs)
    step_in_stretches(law, jobs)
    for stand in stands:
        stand.put_back(states)


def _by_formula(groups: Sequence[Group], index: int, rules: tuple[Rule, Rule], periods: Periods, states: States) -> None:
    """The same, parameter by parameter."""
    group = groups[index]
    periods.enter(groups, index, rules[0], True, states)
    own = periods.own_periods(groups, index)
    alpha, reading, experts = rate(group["lr"]), group["off_set_momentum"], cuts_experts(group)
    for parameter, name, turning in periods.with_gradients(groups, index):
        stand = stand_for(group, parameter, name, turning, states)
        x, state = (parameter, states[parameter]) if stand is None else (stand.tensor, stand.state)
        gradient = x.grad
        assert gradient is not None
        columns = state.get("basis")
        if isinstance(turning, Turning) and group["subspace"] != "eigen" and state.get("period", UNDRAWN) < own[name]:
            state["basis"] = new_basis(group, name, own[name], turning, gradient).columns
            state["period"] = own[name]
            if columns is not None:
                old, new = (formula.part_of(turning, parameter, reading, experts, basis) for basis in (columns, state["basis"]))
                formula.carry(rules[0], group, state, gradient, old, new)
        part = formula.part_of(turning, x, reading, experts, state.get("basis"))
        u = formula.update(rules, group, state, gradient, part)
        if not is_frozen(group["state_free"], turning, divides(group)):
            x.mul_(1 - alpha * group["weight_decay"]).sub_(u * (alpha * move_scale(group)))
        if stand is not None:
            stand.put_back(states)
