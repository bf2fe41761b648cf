"""A step of one parameter by the rules' own formulas, for rules that no backend accelerates: slower, and the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from frugal_gpu.optim import subspaces
from frugal_theory.algorithm.combine import Split
from frugal_theory.algorithm.parts import Basis, Mask, Part, Reading, Units, compact
from frugal_theory.algorithm.periods import carried
from frugal_theory.algorithm.rules import Rule

__all__ = ["part_of", "update"]


def update(
    rules: tuple[Rule, Rule], group: Mapping[str, Any], state: dict[str, Any], gradient: Tensor, part: Part, old: Part | None
) -> Tensor:
    """The update u of a parameter, given its gradient and part; ``old`` is that of the period before at the start of a new one.

    ``state`` is the parameter's own: "full" and "free", the states of the two rules, are made and replaced in it.
    """
    full, free = rules
    split = Split(part, full, free, cast(Reading, group["off_set_momentum"]))
    seen = gradient.reshape(gradient.shape[0], -1) if gradient.dim() > 2 else gradient
    if "full" not in state:
        state.update(split.init(seen))
    elif old is not None:
        on_update = "keep" if group["subspace"] == "eigen" else group["on_update"]
        state["full"] = carried(full, old, part, state["full"], seen, reading=split.reading, on_update=on_update)
    u, new = split.update({"full": state["full"], "free": state["free"]}, seen)
    state.update(new)
    return cast(Tensor, u).reshape(gradient.shape)


def part_of(part: subspaces.Part, parameter: Tensor, reading: str, basis: Tensor | None = None) -> Part:
    """The part in the form that formulas take; ``basis``: the columns of a part that turns."""
    shape = subspaces.matrix_shape(parameter)
    if isinstance(part, subspaces.DecayingUnits):
        inside = torch.zeros(part.shape[part.dim], dtype=torch.bool, device=parameter.device)
        inside[part.index.long()] = True
        return Mask(
            inside.reshape([-1 if axis == part.dim else 1 for axis in range(len(part.shape))]).expand(part.shape).reshape(shape)
        )
    if isinstance(part, subspaces.Units):
        return Units(part.index.cpu().numpy(), part.dim, part.shape, shape)
    if isinstance(part, subspaces.Turning | subspaces.Basis):
        assert basis is not None
        return Basis(basis, "vector" if len(part.shape) == 1 else part.side)
    whole = isinstance(part, subspaces.Full)
    if reading == "decay":  # a block's state goes on off the set, too
        return Mask(torch.full((1,) * len(shape), whole, device=parameter.device))
    return compact(Mask(np.asarray(whole)), shape)
