"""What becomes of a state that is loaded: it is checked, put in the parameters' order, and copied, or refused in one line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from frugal_gpu.optim.backends import InPlace
from frugal_gpu.optim.flags import FLAGS, accelerator_of
from frugal_gpu.optim.following import checked_shapes, follow, follow_by_formula
from frugal_gpu.optim.groups import checked, names_of, rules_of
from frugal_gpu.optim.periods import UNBEGUN, drawn_parts, selecting
from frugal_gpu.optim.placement import computed, like_of, stored, stored_dtype
from frugal_gpu.optim.saving import narrow_group, narrowed
from frugal_gpu.optim.subspaces import at_least_float32

__all__ = ["Loading", "complete", "prepared"]

EXACT = ("step", "count", "basis")
"""Entries of a state that keep their own precision, whatever the parameter's."""

OURS = ("density", "update_gap", "state_full", "state_free")
"""Options that every version of Frugal saves with a group, and no other optimizer does."""

LATER = {
    **FLAGS,
    "backend": "auto",
    "state_dtype": None,
    "stochastic_rounding": False,
    "check_finite": "auto",
    "projector": "exact",
    "refresh": "together",
    "blocks": "tensor",
    "experts": False,
    "rank": None,
    "side": "std",
    "split_lr_scale": 1.0,
}
"""Options that the first version did not have."""

OWN = (*UNBEGUN, "params", "param_names")
"""What a group has of its own, and a state that lacks it does not get from there."""

Group = dict[str, Any]
State = dict[str, Any]


@dataclass(frozen=True)
class Loading:
    """A state on its way: groups as torch takes them, and the state of every parameter that has one."""

    groups: list[Group]
    states: dict[Tensor, State]


def complete(group: Group, defaults: Mapping[str, Any]) -> None:
    """Fill in the options of a group that a state from an older version lacks, and the period that its steps lead to."""
    if "period" not in group:
        steps_before = max(group.get("step", 0) - 1, 0)
        group["period"] = steps_before // group.get("update_gap", defaults["update_gap"])
        group["began"] = group["period"] * group.get("update_gap", defaults["update_gap"])
    for key, value in {**LATER, **defaults}.items():
        group.setdefault(key, value)
    for key in ("betas", "set"):  # torch's full_state_dict makes lists of tuples
        if isinstance(group.get(key), list):
            group[key] = tuple(group[key])
    if group.setdefault("drawn") is None and group["step"] > 0:
        group["drawn"] = selecting(group)
    if group["drawn"] is not None:  # a version without an option drew as its default does
        drawn = dict(group["drawn"])
        group["drawn"] = tuple((key, drawn.get(key, LATER.get(key, value))) for key, value in selecting({**group, **drawn}))


def prepared(groups: Sequence[Group], given: Mapping[str, Any]) -> Loading:
    """The given state as it fits the parameters of ``groups``; see :meth:`frugal_gpu.optim.Frugal.load_state_dict`."""
    saved = _checked_groups(groups, given)
    before: list[Group] = []  # parameters in the order, and with the names, that they were saved with
    now: list[Group] = []
    for index, (group, old) in enumerate(zip(groups, saved, strict=True)):
        order = _order(index, names_of(groups, index), group, old)
        before.append({**old, "params": [group["params"][i] for i in order]})
        now.append(
            {**old, "params": group["params"], **({"param_names": group["param_names"]} if "param_names" in group else {})}
        )
    states: dict[Tensor, State] = {}
    for index, group in enumerate(saved):
        states.update(_states_of(now, before, index, group["params"], given["state"]))
    _nothing_left(saved, given["state"])
    for group, own in zip(saved, now, strict=True):  # torch pairs groups by position
        del group["layout"], own["layout"]
        group.update({key: own[key] for key in own if key != "params"})
    return Loading(saved, states)


def _checked_groups(groups: Sequence[Group], given: Mapping[str, Any]) -> list[Group]:
    """The saved groups, completed. Raises ValueError for those of another optimizer, model or world of options."""
    if not isinstance(given, Mapping) or not {"state", "param_groups"} <= given.keys():
        found = ", ".join(map(str, given)) if isinstance(given, Mapping) else type(given).__name__
        raise ValueError(f'Frugal: the state to load is {found}; a mapping with "state" and "param_groups" is allowed')
    if len(given["param_groups"]) != len(groups):
        raise ValueError(
            f"Frugal: the state has {len(given['param_groups'])} groups of parameters; {len(groups)} are allowed here"
        )
    saved = []
    for index, (old, group) in enumerate(zip(given["param_groups"], groups, strict=True)):
        if missing := [key for key in OURS if key not in old]:
            has = ", ".join(key for key in old if key != "params")
            raise ValueError(
                f'Frugal: group {index} of the state has {has} and no "{missing[0]}": it is that of another optimizer; '
                "a state saved by Frugal is allowed"
            )
        if len(old["params"]) != len(group["params"]):
            raise ValueError(
                f"Frugal: group {index} of the state has {len(old['params'])} parameters; "
                f"{len(group['params'])} are allowed here"
            )
        whole = dict(old)
        whole["layout"] = narrow_group(whole)
        complete(whole, {key: value for key, value in group.items() if key not in OWN})
        checked({**whole, "params": group["params"]})
        saved.append(whole)
    return saved


def _order(index: int, names: Sequence[str], group: Group, saved: Group) -> list[int]:
    """Which of our parameters each saved one is: that of its name, or without names on both sides that of its position."""
    if "param_names" not in group or "param_names" not in saved:
        return list(range(len(names)))
    place = {name: i for i, name in enumerate(names)}
    for name in saved["param_names"]:
        if name not in place:
            raise ValueError(
                f"Frugal: group {index} of the state has a parameter {name}; allowed are those of this group: {_few(names)}"
            )
    return [place[name] for name in saved["param_names"]]


def _states_of(
    now: Sequence[Group], before: Sequence[Group], index: int, keys: Sequence[Any], given: Mapping[Any, State]
) -> dict[Tensor, State]:
    """The states of a group's parameters. ``before``: the groups with names and order as they were saved; ``now``: as here."""
    group = now[index]
    whole = group["layout"]
    full, _ = rules_of(group)
    fast = accelerator_of(group)
    drawn = group["drawn"] or selecting(group)
    parts = new_parts = drawn_parts(before, index, group["period"], drawn)
    names = names_of(now, index)
    if moved := (names_of(before, index) != names):  # the parts that names select are others, and statistics follow their units
        own = dict(zip(group["params"], drawn_parts(now, index, group["period"], drawn), strict=True))
        new_parts = [own[parameter] for parameter in before[index]["params"]]
    name_of = dict(zip(group["params"], names, strict=True))
    states: dict[Tensor, State] = {}
    for parameter, key, part, new in zip(before[index]["params"], keys, parts, new_parts, strict=True):
        if key not in given:
            continue
        if not given[key] and group["step"] > 0:
            raise ValueError(
                f"Frugal: the state of {name_of[parameter]} is empty; flatten_optimizer_state_dict=True is not supported, "
                "and a parameter without statistics has no entry"
            )
        source = given[key]
        if whole:
            source = narrowed(group, part, parameter, source)
        state = states[parameter] = _own(source, parameter, stored_dtype(group, parameter))
        if "full" not in state and fast is not None:
            _check(name_of[parameter], state, group, fast)
            seen = computed(state, at_least_float32(parameter.dtype))
            checked_shapes(name_of[parameter], seen, part, like_of(group, part, parameter), (*fast.vectors, *fast.squares))
            if moved:
                follow(part, new, seen, like_of(group, new, parameter), group, False)
                states[parameter] = stored(seen, group, parameter)
        elif "full" in state and fast is None and moved:
            seen = computed(state, at_least_float32(parameter.dtype))
            follow_by_formula(part, new, seen, like_of(group, new, parameter), group, full, False)
            states[parameter] = stored(seen, group, parameter)
    return {parameter: state for parameter, state in states.items() if state}


def _check(name: str, state: State, group: Group, rule: InPlace) -> None:
    """Raise ValueError unless a state has all that its rule needs, or nothing of it."""
    needed = (*rule.vectors, *rule.squares, *(("step",) if rule.counts else ()))
    missing = [key for key in needed if key not in state]
    if missing and state.keys() - {"basis", "period"}:
        raise ValueError(
            f'Frugal: the state of {name} has {_few(state)} and no {missing[0]}; state_full = "{group["state_full"]}" '
            f"needs {_few(needed)}"
        )


def _own(source: Mapping[str, Any], parameter: Tensor, dtype: torch.dtype) -> State:
    """A copy of a state beside its parameter: step counts and bases in full precision, statistics in theirs."""
    exact = at_least_float32(parameter.dtype)
    state: State = {}
    for key, value in source.items():
        if isinstance(value, Mapping):
            coded = "codes" in value
            state[key] = _own(value, parameter, value["scales"].dtype if coded else dtype)
        elif isinstance(value, Tensor):
            own = value.dtype if not value.is_floating_point() else exact if key in EXACT else dtype
            state[key] = value.detach().to(parameter.device, own, copy=True)
        else:
            state[key] = value
    return state


def _nothing_left(saved: Sequence[Group], given: Mapping[Any, Any]) -> None:
    """Raise ValueError if the state has entries of parameters that are in no group."""
    known = {key for group in saved for key in group["params"]}
    if left := [key for key in given if key not in known]:
        raise ValueError(f"Frugal: the state has an entry {left[0]!r} of no parameter in its groups")


def _few(names: Iterable[Any]) -> str:
    listed = [str(name) for name in names]
    return ", ".join(listed[:6]) + (", …" if len(listed) > 6 else "")
