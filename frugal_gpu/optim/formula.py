"""A step of one parameter by the rules' own formulas, for rules that no backend accelerates: slower, and the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from frugal_gpu.optim import subspaces
from frugal_gpu.optim.groups import cuts_experts
from frugal_theory.algorithm.combine import Split
from frugal_theory.algorithm.parts import Basis, Mask, Part, Reading, Sketch, Units, compact
from frugal_theory.algorithm.periods import carried
from frugal_theory.algorithm.rules import Nothing, Rule

__all__ = ["as_seen", "carry", "counted_once", "part_of", "update"]


def update(rules: tuple[Rule, Rule], group: Mapping[str, Any], state: dict[str, Any], gradient: Tensor, part: Part) -> Tensor:
    """The update u of a parameter, given its gradient and part.

    ``state`` is the parameter's own: "full" and "free", the states of the two rules, are made and replaced in it.
    """
    full, free = rules if group["split"] != "state_full" else (rules[0], Nothing())
    split = Split(part, full, free, cast(Reading, group["off_set_momentum"]))
    seen = _beside(gradient, part, cuts_experts(group))
    if "full" not in state:
        state.update(split.init(seen))
    u, new = split.update({"full": state["full"], "free": state["free"]}, seen)
    state.update({**new, "full": counted_once(full, part, new["full"])})
    return cast(Tensor, u).reshape(gradient.shape)


def counted_once(rule: Rule, part: Part | None, state: dict[str, Any]) -> dict[str, Any]:
    """The state with step counts of a matrix kept once for all that entered the set together: a unit, a basis (``part`` None
    stands for any), or the whole."""
    axis = part.axis if isinstance(part, Units) else None
    if isinstance(part, Units) and axis == 0 and part.view == part.shape and len(part.index) == part.shape[0]:
        axis = None
    counts = {key: state[key] for key in getattr(rule, "counts", ()) if state[key].dim() > 1}
    return {
        **state,
        **{
            key: count[tuple(slice(None) if dim == axis else slice(0, 1) for dim in range(count.dim()))].clone()
            for key, count in counts.items()
            if count.numel() > 1
        },
    }


def carry(rule: Rule, group: Mapping[str, Any], state: dict[str, Any], like: Tensor, old: Part, new: Part) -> None:
    """Carry the state-full rule's state from one part to the next, for a parameter or gradient ``like`` this one."""
    on_update, reading = group["on_update"], cast(Reading, group["off_set_momentum"])
    state["full"] = carried(
        rule, old, new, state["full"], _beside(like, new, cuts_experts(group)), reading=reading, on_update=on_update
    )


def _beside(tensor: Tensor, part: Part, experts: bool) -> Tensor:
    """The tensor as formulas see it: in the type of the basis if there is one, in at least float32 anyway."""
    exact = part.columns.dtype if isinstance(part, Basis) else subspaces.at_least_float32(tensor.dtype)
    return as_seen(tensor, experts).to(exact)


def as_seen(tensor: Tensor, experts: bool) -> Tensor:
    """Trailing dimensions flattened, as parts see it, unless it is the matrices of experts."""
    return tensor.reshape(subspaces.matrix_shape(tensor, experts)) if tensor.dim() > 2 else tensor


def part_of(part: subspaces.Part, parameter: Tensor, reading: str, experts: bool, basis: Tensor | None = None) -> Part:
    """The part in the form that formulas take; ``basis``: the columns of a part that turns."""
    shape = subspaces.matrix_shape(parameter, experts)
    if isinstance(part, subspaces.DecayingUnits):
        inside = torch.zeros(part.shape[part.dim], dtype=torch.bool, device=parameter.device)
        inside[part.index.long()] = True
        along = [-1 if axis == part.dim else 1 for axis in range(len(part.shape))]
        return Mask(inside.reshape(along).expand(part.shape).reshape(shape), _units(part, shape))
    if isinstance(part, subspaces.Units):
        return _units(part, shape)
    if isinstance(part, subspaces.Turning | subspaces.Basis):
        assert basis is not None
        kind = Sketch if isinstance(part, subspaces.Turning) and part.sketch else Basis
        return kind(basis, "vector" if len(part.shape) == 1 else part.side)
    whole = isinstance(part, subspaces.Full)
    units = compact(Mask(np.asarray(whole)), shape)
    if reading == "decay":  # a block's state goes on off the set, too
        return Mask(torch.full((1,) * len(shape), whole, device=parameter.device), units)
    return units


def _units(part: subspaces.Units, shape: tuple[int, ...]) -> Units:
    return Units(part.index.cpu().numpy(), part.dim, part.shape, shape)
