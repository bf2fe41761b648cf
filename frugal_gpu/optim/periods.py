"""Periods of the groups of an optimizer: which part of each parameter is state-full in which, and what a change of it does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from frugal_gpu.optim import formula
from frugal_gpu.optim.backends import InPlace
from frugal_gpu.optim.groups import names_of
from frugal_gpu.optim.subspaces import (
    Basis,
    Free,
    Part,
    Turning,
    Units,
    at_least_float32,
    choose_basis,
    choose_parts,
    with_columns,
)
from frugal_theory.algorithm.rules import Rule
from frugal_theory.algorithm.selection import selection_key

__all__ = ["Periods", "given_bases"]

Group = dict[str, Any]
States = MutableMapping[Tensor, dict[str, Any]]


class Periods:
    """The parts of every group in the period that was asked for last; they are a pure function of it."""

    def __init__(self) -> None:
        self._parts: dict[int, tuple[int, list[Part]]] = {}

    def parts(self, groups: Sequence[Group], index: int, period: int) -> list[Part]:
        """The parts of a group in a period, in the group's order; kept until another period is asked for."""
        if self._parts.get(index, (None, []))[0] != period:
            blocks_key = "blocks" if index == 0 else f"blocks.{index}"
            self._parts[index] = period, choose_parts(groups[index], names_of(groups, index), blocks_key, period)
        return self._parts[index][1]

    def with_gradients(self, groups: Sequence[Group], index: int, period: int) -> Iterator[tuple[Tensor, str, Part]]:
        """The parameters of a group that have a gradient, each with its name and part. RuntimeError for a sparse gradient."""
        parts = self.parts(groups, index, period)
        for parameter, name, part in zip(groups[index]["params"], names_of(groups, index), parts, strict=True):
            if parameter.grad is None:
                continue
            if parameter.grad.is_sparse:
                raise RuntimeError(f"Frugal: the gradient of {name} is sparse; only dense gradients are supported")
            yield parameter, name, part

    def follow_units(self, groups: Sequence[Group], index: int, period: int, states: States) -> None:
        """At a new period, under "reset": units that stay keep their statistics, those that leave lose them."""
        before, after = self.parts(groups, index, period - 1), self.parts(groups, index, period)
        for parameter, old, new in zip(groups[index]["params"], before, after, strict=True):
            if parameter not in states:
                continue
            if isinstance(new, Free):
                del states[parameter]
            elif isinstance(new, Units) and isinstance(old, Units):
                state = states[parameter]
                state.update({name: new.select(old.lift(value)) for name, value in state.items()})

    def carry_units(self, groups: Sequence[Group], index: int, rule: Rule, period: int, states: States) -> None:
        """Carry the states of units into a new period, those of parameters that have no gradient in this step, too."""
        group = groups[index]
        before, after = self.parts(groups, index, period - 1), self.parts(groups, index, period)
        for parameter, *parts in zip(group["params"], before, after, strict=True):
            if "full" in states.get(parameter, {}) and not isinstance(parts[0], Turning):
                old, new = (formula.part_of(part, parameter, group["off_set_momentum"]) for part in parts)
                formula.carry(rule, group, states[parameter], parameter, old, new)

    def basis(
        self, group: Group, rule: InPlace, state: dict[str, Any], gradient: Tensor, name: str, part: Turning, period: int
    ) -> Basis:
        """A parameter's basis in this period; a new one resets, keeps or turns the statistics (``on_update``)."""
        old = with_columns(part, state["basis"]) if "basis" in state else None
        if old is not None and (group["subspace"] == "eigen" or state["period"] == period):
            return old
        if group["subspace"] == "eigen":
            raise ValueError(f'Frugal: subspace "eigen" has no basis for {name} in its state; pass bases={{name: columns}}')
        new = choose_basis(group["subspace"], selection_key(group["seed"], name, period), part, gradient)
        if old is not None and group["on_update"] == "reset":
            state.clear()
        elif old is not None and group["on_update"] == "project":
            for key in rule.vectors + rule.squares:
                state[key] = new.turn(old, state[key], square=key in rule.squares)
        state["basis"], state["period"] = new.columns, period
        return new


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
