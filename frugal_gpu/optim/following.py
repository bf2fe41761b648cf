"""What becomes of the statistics of a parameter when its part becomes another one: they follow their units, or are forgotten.

A statistic belongs to a unit: a coordinate, a column, a row or the whole parameter. Whatever changes the part (a new period, an
option that was changed, a state from elsewhere), a unit's numbers stay with it while it is covered, and are never another's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from frugal_gpu.optim import formula
from frugal_gpu.optim.groups import cuts_experts
from frugal_gpu.optim.subspaces import DecayingUnits, Free, Full, HeldUnits, OffBlock, Part, Turning, Units, at_least_float32
from frugal_theory.algorithm.rules import Rule

__all__ = ["checked_shapes", "follow", "follow_by_formula", "forget"]

UNDRAWN = -1
"""The period of a basis that was drawn under other options: whatever the present one is, a new basis is due."""


def follow(old: Part, new: Part, state: dict[str, Any], parameter: Tensor, group: Mapping[str, Any], redrawn: bool) -> None:
    """Carry a parameter's statistics, flat under their names, from one part to the next; what cannot follow is forgotten.

    ``redrawn``: not only the period is another one, but options of the selection, too. Under the reading "hold" a block off the
    set keeps its statistics.
    """
    if not state:
        return
    held = group["off_set_momentum"] == "hold"
    old, new = _covering(old, True), _covering(new, held)
    if isinstance(old, Turning) and isinstance(new, Turning):
        _redraw(old, new, state, group["on_update"], redrawn)
    elif any(isinstance(part, Free | Turning) for part in (old, new)) or not _fit(old, new, state):
        state.clear()
    elif isinstance(old, Units) or isinstance(new, Units):
        whole = {name: _whole(old, value) for name, value in state.items()}
        state.update({name: _of(new, value, parameter) for name, value in whole.items()})


def follow_by_formula(
    old: Part, new: Part, state: dict[str, Any], parameter: Tensor, group: Mapping[str, Any], rule: Rule, redrawn: bool
) -> None:
    """The same for the nested states of rules that run by their formulas; kinds of parts have nothing to give to each other."""
    if isinstance(old, Turning) and isinstance(new, Turning):
        _redraw(old, new, state, group["on_update"], redrawn)
    elif redrawn and not _of_one_kind(old, new, group["off_set_momentum"]):
        state.clear()
    else:
        reading, experts = group["off_set_momentum"], cuts_experts(group)
        before, after = (formula.part_of(part, parameter, reading, experts) for part in (old, new))
        formula.carry(rule, group, state, parameter, before, after)


def _of_one_kind(old: Part, new: Part, reading: str) -> bool:
    """Whether a state by formula can go from one part to the other: under "decay" it covers a parameter whole in any case, and
    a whole has the units of its rows."""
    kinds = {type(old), type(new)}
    return Turning not in kinds and (len(kinds) == 1 or kinds <= {Full, Free, Units} or reading == "decay")


def _covering(part: Part, held: bool) -> Part:
    """A block off the set whose statistics are kept is as good as one in it."""
    return Full() if held and isinstance(part, Free) else part


def _redraw(old: Turning, new: Turning, state: dict[str, Any], on_update: str, redrawn: bool) -> None:
    """Have a new basis drawn if options were changed; ``on_update`` says then what becomes of the statistics."""
    if not redrawn:
        return
    if "period" not in state or (old.side, old.shape) != (new.side, new.shape) or (old != new and on_update == "keep"):
        state.clear()
    else:
        state["period"] = UNDRAWN


def forget(state: dict[str, Any], given_basis: bool) -> None:
    """Back to the start, but for a basis that was given and cannot be drawn again."""
    kept = {"basis": state["basis"]} if given_basis and "basis" in state else {}
    state.clear()
    state.update(kept)


def covered_shape(part: Part, parameter: Tensor) -> tuple[int, ...]:
    """The shape of a statistic that has one number a coordinate of the part."""
    if isinstance(part, Turning):
        return part.projected
    if isinstance(part, HeldUnits | DecayingUnits):
        return part.shape
    if isinstance(part, Units):
        return (*part.shape[: part.dim], len(part.index), *part.shape[part.dim + 1 :])
    return tuple(parameter.shape)


def _counts_by_unit(part: Part) -> bool:
    return isinstance(part, Units) and not isinstance(part, DecayingUnits)


def _fit(old: Part, new: Part, state: Mapping[str, Any]) -> bool:
    """Whether both have the same units; all units of a parameter that is covered as a whole are anyone's.

    One number of steps can become one a unit, but not the other way round.
    """
    steps = state.get("step")
    if isinstance(steps, Tensor) and steps.dim() > 0 and not _counts_by_unit(new):
        return False
    if isinstance(old, Units) and isinstance(new, Units):
        return (old.dim, old.shape) == (new.dim, new.shape)
    return True


def _whole(part: Part, value: Any) -> Any:
    """A statistic of the part, with zeros for what it does not cover."""
    compact = isinstance(part, Units) and not isinstance(part, HeldUnits | DecayingUnits)
    return part.lift(value) if compact and isinstance(value, Tensor) else value  # type: ignore[union-attr]


def _of(part: Part, whole: Any, parameter: Tensor) -> Any:
    """What a part covers of a statistic of the whole parameter; a count of all its units becomes one for each."""
    if not isinstance(part, Units):
        return whole.reshape(parameter.shape) if isinstance(whole, Tensor) and whole.dim() > 0 else whole
    if not isinstance(whole, Tensor) or whole.dim() == 0:
        if not _counts_by_unit(part):
            return whole
        counts = part.no_steps(at_least_float32(parameter.dtype))
        assert isinstance(counts, Tensor)
        return torch.full_like(counts, float(whole))
    by_unit = whole.dim() == len(part.shape)
    viewed = whole if by_unit and whole.shape[part.dim] == part.shape[part.dim] else whole.reshape(part.shape)
    return viewed if isinstance(part, HeldUnits | DecayingUnits) else part.select(viewed)


def checked_shapes(name: str, state: Mapping[str, Any], part: Part, parameter: Tensor, names: tuple[str, ...]) -> None:
    """Raise ValueError unless every statistic of a parameter has the shape that its part has."""
    if isinstance(part, Free | OffBlock) and not state:
        return
    expected = {key: covered_shape(part, parameter) for key in names}
    if isinstance(part, Turning):
        expected["basis"] = part.columns
    for key, shape in expected.items():
        if key in state and tuple(state[key].shape) != shape:
            raise ValueError(
                f"Frugal: {key} of {name} has shape {tuple(state[key].shape)} in the state; "
                f"allowed for this parameter under the state's options: {shape}"
            )
