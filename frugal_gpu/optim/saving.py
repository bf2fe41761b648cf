"""The whole form of a state: one entry a parameter, in its own shape, whatever the period and the number of ranks.

Within a run, and in an ordinary ``state_dict()``, statistics cover what is in the set, so their shapes follow the period.
``torch.distributed.checkpoint`` loads in place into the shapes that a fresh optimizer has, on any number of ranks: what it asks
for, and what sharded parameters have, is the whole form. It takes the space of AdamW's state on disk. Statistics have the
parameter's shape and placement, with zeros off the set; steps are counted for every unit, or for every row where a parameter is
taken whole; a basis is as it is, of period -1 where there is none yet. Groups in this form say ``layout = "whole"``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from frugal_gpu.optim import formula
from frugal_gpu.optim.backends import InPlace
from frugal_gpu.optim.flags import accelerator_of
from frugal_gpu.optim.following import UNDRAWN, covered_shape
from frugal_gpu.optim.groups import cuts_experts, names_of, rules_of
from frugal_gpu.optim.periods import Periods
from frugal_gpu.optim.placement import EIGHT, computed, gathered, is_sharded, like_of, local, placed_like, stored_dtype
from frugal_gpu.optim.saving_eight import coded_again, joined, parted, scales_of
from frugal_gpu.optim.subspaces import DecayingUnits, Free, HeldUnits, Part, Turning, Units, at_least_float32
from frugal_theory.algorithm.parts import Units as Compact
from frugal_theory.algorithm.rules import Nothing

__all__ = ["asked_by_a_checkpoint", "narrow_group", "narrowed", "whole_group", "whole_states"]

State = dict[str, Any]
Group = Mapping[str, Any]

ASKING = "torch.distributed.checkpoint.state_dict"


def asked_by_a_checkpoint() -> bool:
    """Whether ``get_optimizer_state_dict`` and its kin are asking for a state: nothing in the call itself says so."""
    frame = sys._getframe(1)
    for _ in range(16):
        if frame.f_globals.get("__name__") == ASKING:
            return True
        if frame.f_back is None:
            return False
        frame = frame.f_back
    return False


def whole_states(groups: Sequence[dict[str, Any]], periods: Periods, states: Mapping[Tensor, State]) -> dict[int, State]:
    """The whole form of the state of every parameter, by its position in the optimizer."""
    result: dict[int, State] = {}
    for index, group in enumerate(groups):
        for name, x, part in zip(names_of(groups, index), group["params"], periods.parts(groups, index), strict=True):
            state = states.get(x, {})
            if group["state_dtype"] != EIGHT:
                result[len(result)] = _whole_of(group, name, part, x, state)
                continue
            moments = {entry: tuple(of) for entry, of in _moments(group).items()}
            numbers = _whole_of(group, name, part, x, computed(state, at_least_float32(x.dtype)))
            scales = _whole_of(group, name, part, x, scales_of(state, moments))
            result[len(result)] = joined(numbers, scales, moments)
    return result


def _whole_of(group: Group, name: str, part: Part, x: Tensor, state: State) -> State:
    fast = accelerator_of(group)
    if fast is None:
        return _whole_by_formula(group, name, part, x, state)
    if isinstance(part, Turning):
        return _with_basis(group, part, x, state, (*fast.vectors, *fast.squares), fast.counts)
    return _whole(group, fast, part, x, state)


def _moments(group: Group) -> dict[str, dict[str, bool]]:
    """The moments of the rules of a group, by the entry of a state that has them, and whether they may be negative."""
    fast = accelerator_of(group)
    rules: dict[str, Any] = dict(zip(("full", "free"), rules_of(group), strict=True)) if fast is None else {"": fast}
    return {entry: {**dict.fromkeys(rule.vectors, True), **dict.fromkeys(rule.squares, False)} for entry, rule in rules.items()}


def whole_group(group: dict[str, Any]) -> dict[str, Any]:
    """A group in the whole form: what it remembers of its draw is one string, a leaf for whoever walks through a state."""
    return {**group, "layout": "whole", "drawn": json.dumps(group["drawn"])}


def narrow_group(group: dict[str, Any]) -> bool:
    """Take a group out of the whole form, in place; whether it was in it."""
    if isinstance(group.get("drawn"), str):
        drawn = json.loads(group["drawn"])
        lists = None if drawn is None else tuple((key, tuple(v) if isinstance(v, list) else v) for key, v in drawn)
        group["drawn"] = lists
    return bool(group.pop("layout", None) == "whole")


def narrowed(group: Group, part: Part, x: Tensor, whole: Mapping[str, Any]) -> State:
    """The state of a parameter as it is held within a run, from its whole form."""
    if group["state_dtype"] == EIGHT:
        numbers, scales = (_narrowed(group, part, x, each) for each in parted(whole))
        return coded_again(numbers, scales, _moments(group))
    return _narrowed(group, part, x, whole)


def _narrowed(group: Group, part: Part, x: Tensor, whole: Mapping[str, Any]) -> State:
    fast = accelerator_of(group)
    if isinstance(part, Turning):
        return {} if whole.get("period") == UNDRAWN else {key: _own(value) for key, value in whole.items()}
    if fast is None:
        return _narrowed_by_formula(group, part, x, whole)
    held = group["off_set_momentum"] == "hold" and isinstance(part, Free)
    if isinstance(part, Free) and not held:
        return {}
    state: State = {}
    for key in (*fast.vectors, *fast.squares):
        values = local(whole[key])
        seen = values.reshape(part.shape) if isinstance(part, Units) else values
        state[key] = part.select(seen) if _is_compact(part) else seen  # type: ignore[union-attr]
    if fast.counts:
        steps = local(whole["step"])
        state["step"] = _narrow_count(part, steps)
        if isinstance(state["step"], int) and state["step"] == 0:
            return {}
    elif held and not any(bool(value.any()) for value in state.values()):
        return {}
    return state


def _is_compact(part: Part) -> bool:
    return isinstance(part, Units) and not isinstance(part, HeldUnits | DecayingUnits)


def _whole(group: Group, fast: InPlace, part: Part, x: Tensor, state: State) -> State:
    own = local(x)
    result: State = {}
    for key in (*fast.vectors, *fast.squares):
        if key not in state:
            values = torch.zeros(own.shape, dtype=stored_dtype(group, x), device=own.device)
        else:
            values = part.lift(state[key]) if _is_compact(part) else state[key]  # type: ignore[union-attr]
        result[key] = placed_like(values.reshape(own.shape), x)
    if fast.counts:
        result["step"] = _whole_count(part, x, state.get("step", 0))
    return result


def _whole_count(part: Part, x: Tensor, steps: Any) -> Tensor:
    """The steps of every unit (columns: shape (1, n)), every coordinate, or every row of a parameter that is taken whole."""
    own, dtype = local(x), at_least_float32(x.dtype)
    columns = isinstance(part, Units) and part.dim == 1
    flat = isinstance(part, Units) and len(part.shape) == 1
    rows = isinstance(part, Units) and part.dim == 0 and own.dim() > 2 and part.shape[0] != own.shape[0]  # of every expert
    along = own.shape[:2] if rows else own.shape[:1]
    shape = (1, part.shape[1]) if columns else own.shape if flat else (*along, *[1] * (own.dim() - len(along)))  # type: ignore[union-attr]
    if isinstance(steps, Tensor) and steps.dim() > 0:
        assert isinstance(part, Units)
        counts = (part.lift(steps) if _is_compact(part) else steps).to(dtype).reshape(shape)
    else:
        counts = torch.full(shape, float(steps), dtype=dtype, device=own.device)
    return counts if columns else placed_like(counts, x)


def _narrow_count(part: Part, steps: Tensor) -> Tensor | int:
    if not isinstance(part, Units) or isinstance(part, DecayingUnits):
        return int(steps.max()) if steps.numel() else 0
    along = [1] * len(part.shape)
    along[part.dim] = part.shape[part.dim]
    counts = steps.reshape(along)
    return counts if isinstance(part, HeldUnits) else part.select(counts)


def _with_basis(group: Group, part: Turning, x: Tensor, state: State, names: Sequence[str], counts: bool) -> State:
    """A basis and its statistics have one shape in all periods; there are zeros where nothing was drawn yet."""
    exact, dtype = at_least_float32(x.dtype), stored_dtype(group, x)
    empty: State = {name: torch.zeros(covered_shape(part, x), dtype=dtype, device=x.device) for name in names}
    empty["basis"] = torch.zeros(part.columns, dtype=exact, device=x.device)
    empty |= {} if group["subspace"] == "eigen" else {"period": UNDRAWN}
    empty |= {"step": 0} if counts else {}
    return {key: state.get(key, value) for key, value in empty.items()}


def _whole_by_formula(group: Group, name: str, part: Part, x: Tensor, state: State) -> State:
    full, free = rules_of(group)
    free = free if group["split"] != "state_full" else Nothing()
    if not getattr(full, "by_unit", True) or not getattr(free, "by_unit", True) or not hasattr(full, "by_unit"):
        raise ValueError(
            f"Frugal: the state of {name} under {group['state_full']} and {group['state_free']} has no whole form, which "
            "distributed checkpoints need; state_dict() is allowed"
        )
    like = like_of(group, part, x).to(at_least_float32(x.dtype))
    if isinstance(part, Turning):
        zeros = like.new_zeros(covered_shape(part, x))
        start = formula.counted_once(full, None, full.init(zeros))
        empty = {
            "full": start,
            "free": free.init(formula.as_seen(like, cuts_experts(group)) * 0),
            "basis": like.new_zeros(part.columns),
        }
        return {**empty, **({} if group["subspace"] == "eigen" else {"period": UNDRAWN}), **state}
    start, compact = _start(group, part, like)
    now = state.get("full", start if isinstance(compact, Compact) else {})
    whole = {}
    for key, value in start.items():
        if key not in now or (now is not start and not isinstance(compact, Compact)):
            whole[key] = now.get(key, value)
        else:
            whole[key] = compact.spread(now[key], value) if now is not start and _by_unit(group, compact, value) else now[key]
    alone = is_sharded(x) and not gathered(group, part)
    placed = {k: placed_like(v.reshape(like.shape), x) if alone and v.numel() == like.numel() else v for k, v in whole.items()}
    return {"full": placed, "free": state.get("free", free.init(formula.as_seen(like, cuts_experts(group)) * 0))}


def _narrowed_by_formula(group: Group, part: Part, x: Tensor, whole: Mapping[str, Any]) -> State:
    like = like_of(group, part, x).to(at_least_float32(x.dtype))
    start, compact = _start(group, part, like)
    full = {}
    for key, value in start.items():
        now = local(whole["full"][key]).reshape(value.shape)
        narrow = isinstance(compact, Compact) and _by_unit(group, compact, value)
        full[key] = compact.select(now) if narrow else now.clone()
    return {"full": full, "free": {key: _own(value) for key, value in whole.get("free", {}).items()}}


def _by_unit(group: Group, compact: Any, value: Tensor) -> bool:
    return group["off_set_momentum"] == "reset" and bool(compact.by_unit(value))


def _start(group: Group, part: Part, like: Tensor) -> tuple[State, Any]:
    """The state-full rule's start on all of a parameter, and the part in the form that formulas take."""
    full, _ = rules_of(group)
    experts = cuts_experts(group)
    compact = formula.part_of(part, like, group["off_set_momentum"], experts)
    matrix = formula.as_seen(like, experts)
    return full.init((matrix.reshape(compact.view) if isinstance(compact, Compact) else matrix) * 0), compact


def _own(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value
