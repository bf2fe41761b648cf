"""Periods of the groups of an optimizer: which part of each parameter is state-full in which, and what a change of it does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from frugal_gpu.optim.backends import InPlace
from frugal_gpu.optim.backends.tables import capturing
from frugal_gpu.optim.bases import new_basis
from frugal_gpu.optim.following import follow, follow_by_formula, forget
from frugal_gpu.optim.groups import checked, names_of
from frugal_gpu.optim.ordinary import Kept
from frugal_gpu.optim.placement import check_eight, computed, is_coded, like_of, local_part, stored
from frugal_gpu.optim.subspaces import Basis, Part, Turning, at_least_float32, choose_parts, with_columns
from frugal_theory.algorithm.rules import Rule
from frugal_theory.algorithm.staggering import offset, own_period
from frugal_theory.config.registry import RULES

__all__ = ["UNBEGUN", "Drawn", "Periods", "drawn_parts", "given_bases", "selecting"]

Group = dict[str, Any]
States = MutableMapping[Tensor, dict[str, Any]]


SELECTING = (
    *("split", "subspace", "density", "rank", "side", "set", "sampling", "order", "blocks", "experts", "projector", "seed"),
    *("off_set_momentum", "state_full", "state_free"),
)
"""The options that say what is in the set and what is kept of it: parts are a pure function of these, names and the period."""

IN_A_GRAPH = "Frugal: a new period begins in this step, which a graph cannot capture: take it outside, then capture again"

UNBEGUN: dict[str, Any] = {"step": 0, "period": 0, "began": 0, "drawn": None}
"""What a group counts and remembers of its run, before its first step."""

Drawn = tuple[tuple[str, Any], ...]
"""The selecting options with their values at the time of a draw: plain values, as they are saved with the group ("drawn")."""


def selecting(group: Mapping[str, Any]) -> Drawn:
    """The options that select, as they are in a group now; with the table of a rule whose state has parts of its own."""
    table = () if getattr(RULES[group["state_full"]].table, "by_unit", True) else ("state_full_table",)
    return tuple((key, group[key]) for key in (*SELECTING, *table) if key in group)


def drawn_parts(groups: Sequence[Group], index: int, period: int, drawn: Drawn) -> list[Part]:
    """The parts of a group in a period under the options of a draw, in the group's order; what of them is on this rank."""
    blocks_key = "blocks" if index == 0 else f"blocks.{index}"
    group = {**groups[index], **dict(drawn)}
    parts = choose_parts(group, names_of(groups, index), blocks_key, period)
    return [local_part(group, part, x) for part, x in zip(parts, group["params"], strict=True)]


class Periods:
    """The parts of every group, kept until another period or other options ask for others.

    A group counts its own periods: "period" is the present one, "began" the step with which it began, and "drawn" has the
    options under which its parts were drawn. So options may change at any time: the next step draws anew, in the same period,
    and statistics follow from the parts that were. A change of ``update_gap`` moves the end of the present period, no more.
    """

    def __init__(self) -> None:
        self._parts: dict[int, tuple[tuple[int, Drawn], list[Part]]] = {}
        self.kept: dict[int, Kept] = {}
        """What ordinary steps take again, by group."""

    def parts(self, groups: Sequence[Group], index: int) -> list[Part]:
        """The parts of a group in its present period, in the group's order."""
        group = groups[index]
        asked = group["period"], group["drawn"] or selecting(group)
        if index not in self._parts or self._parts[index][0] != asked:
            self._parts[index] = asked, drawn_parts(groups, index, *asked)
        return self._parts[index][1]

    def with_gradients(self, groups: Sequence[Group], index: int) -> Iterator[tuple[Tensor, str, Part]]:
        """The parameters of a group that have a gradient, each with its name and part. RuntimeError for a sparse gradient."""
        parts = self.parts(groups, index)
        for parameter, name, part in zip(groups[index]["params"], names_of(groups, index), parts, strict=True):
            if parameter.grad is None:
                continue
            if parameter.grad.is_sparse:
                raise RuntimeError(f"Frugal: the gradient of {name} is sparse; only dense gradients are supported")
            yield parameter, name, part

    def own_periods(self, groups: Sequence[Group], index: int) -> dict[str, int]:
        """The present periods of the bases of a group by the names of their parameters (``refresh``)."""
        group = groups[index]
        names = names_of(groups, index)
        turning = [name for name, part in zip(names, self.parts(groups, index), strict=True) if isinstance(part, Turning)]
        period, phase = int(group["period"]), group["step"] - group["began"]
        if group["refresh"] != "staggered":
            return dict.fromkeys(turning, period)
        every = (group.get("whole") or {}).get("turning", turning)
        place = {name: i for i, name in enumerate(every)}
        gap = group["update_gap"]
        return {name: own_period(period, phase, offset(place[name], len(every), gap)) for name in turning}

    def enter(self, groups: Sequence[Group], index: int, rule: Rule, by_formula: bool, states: States) -> int:
        """Begin a new period if it is time, follow options that were changed, and return the period.

        Statistics go along, those of parameters that have no gradient in this step, too. Raises ValueError for options that
        were changed to what cannot be run, before anything is touched.
        """
        group = groups[index]
        now, was = selecting(group), group["drawn"] or selecting(group)
        due = group["step"] - group["began"] >= group["update_gap"]
        if now != was:
            checked(group)
            check_eight(group)
            _check_eigen(dict(was), dict(now))
        if due or now != was:
            if capturing():
                raise RuntimeError(IN_A_GRAPH)
            before, period = self.parts(groups, index), group["period"] + int(due)
            after = drawn_parts(groups, index, period, now)
            for parameter, *parts in zip(group["params"], before, after, strict=True):
                if parameter in states:
                    held = states[parameter]
                    decoded = is_coded(held) or "full" in held  # nested states follow in the form of the arithmetic
                    state = computed(held, at_least_float32(parameter.dtype)) if decoded else held
                    before_it = _leaves(state)
                    _follow(group, rule, state, like_of(group, parts[1], parameter), parts, dict(was))
                    if not state:
                        del states[parameter]
                    elif state is not held and _leaves(state) != before_it:  # what stays is not rounded again
                        states[parameter] = stored(state, group, parameter)
            self._parts[index] = (period, now), after
            group["period"], group["began"] = period, group["step"] if due else group["began"]
        group["drawn"] = now
        for parameter in group["params"]:
            if parameter in states and ("full" in states[parameter]) != by_formula:  # another backend's
                forget(states[parameter], group["subspace"] == "eigen")
        return int(group["period"])

    def basis(
        self, group: Group, rule: InPlace, state: dict[str, Any], gradient: Tensor, name: str, part: Turning, period: int
    ) -> Basis:
        """A parameter's basis in this period; a new one resets, keeps or turns the statistics (``on_update``)."""
        old = with_columns(part, state["basis"]) if "basis" in state else None
        if old is not None and (group["subspace"] == "eigen" or state["period"] >= period):
            return old
        if group["subspace"] == "eigen":
            raise ValueError(f'Frugal: subspace "eigen" has no basis for {name} in its state; pass bases={{name: columns}}')
        if capturing():
            raise RuntimeError(IN_A_GRAPH)
        new = new_basis(group, name, period, part, gradient)
        if old is not None and group["on_update"] == "reset":
            state.clear()
        elif old is not None and group["on_update"] == "project":
            for key in rule.vectors + rule.squares:
                state[key] = new.turn(old, state[key], square=key in rule.squares)
        state["basis"], state["period"] = new.columns, period
        return new


def _follow(
    group: Group, rule: Rule, state: dict[str, Any], parameter: Tensor, parts: Sequence[Part], was: Mapping[str, Any]
) -> None:
    """Carry one parameter's state from the first of two parts to the second; ``was``: the options of the first."""
    old, new = parts
    redrawn = dict(selecting(group)) != was
    nested, eigen = "full" in state, group["subspace"] == was["subspace"] == "eigen"
    if any(group.get(key) != was[key] for key in was if key.startswith("state_full" if not nested else "state_")):
        forget(state, eigen)
    elif eigen:
        return
    elif nested and any(group[key] != was[key] for key in ("off_set_momentum", "experts")):  # these cover other units
        state.clear()
    elif nested:
        follow_by_formula(old, new, state, parameter, group, rule, redrawn)
    elif redrawn or group["off_set_momentum"] == "reset":  # the others' statistics cover every unit
        follow(old, new, state, parameter, group, redrawn)


def _leaves(state: Mapping[str, Any]) -> list[int]:
    """Which objects a state holds, those of nested states among them."""
    return [leaf for v in state.values() for leaf in (_leaves(v) if isinstance(v, Mapping) else [id(v)])]


def _check_eigen(was: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise ValueError for a change that asks for eigenvectors that were not given."""
    if now["subspace"] == "eigen" and (was["subspace"], was["density"]) != ("eigen", now["density"]):
        raise ValueError(
            f'Frugal: subspace "eigen" keeps the bases it was given: density = {now["density"]} cannot follow '
            f"subspace = {was['subspace']!r}, density = {was['density']} during a run"
        )


def given_bases(groups: Sequence[Group], index: int, bases: Mapping[str, Any], parts: Sequence[Part], states: States) -> None:
    """Put the leading columns of the given bases into the state (subspace "eigen"). ValueError for one that does not fit."""
    for parameter, name, part in zip(groups[index]["params"], names_of(groups, index), parts, strict=True):
        if not isinstance(part, Turning):
            continue
        if name not in bases:
            given = ", ".join(bases) or "none"
            raise ValueError(
                f'Frugal: subspace "eigen" needs bases={{name: orthonormal columns}}; {name} is missing (given: {given})'
            )
        columns = bases[name] if isinstance(bases[name], Tensor) else torch.from_numpy(np.array(bases[name]))
        if columns.dim() != 2 or columns.shape[0] != part.length or columns.shape[1] < part.rank:
            raise ValueError(
                f"Frugal: the basis of {name} has shape {tuple(columns.shape)}; "
                f"allowed: {part.length} rows and at least {part.rank} columns"
            )
        exact = columns[:, : part.rank].to(parameter.device, at_least_float32(parameter.dtype))
        states[parameter]["basis"] = exact.clone(memory_format=torch.contiguous_format)
