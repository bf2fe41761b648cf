"""Parameter groups: the options of a group, checked.

Options are plain values under flat names (``state_full="lion", betas=(0.9, 0.99)``), so that they can be saved with
the state and changed by learning-rate schedulers, as with the optimizers of torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from pydantic import BaseModel, ValidationError
from torch import Tensor

from frugal_gpu.optim.backends import checked_backend
from frugal_gpu.optim.names import canonical
from frugal_theory import config
from frugal_theory.algorithm.combine import each_expert
from frugal_theory.algorithm.rules import Rule
from frugal_theory.config.registry import RULES as FORMULAS
from frugal_theory.config.registry import Kind

__all__ = [
    "FLAT",
    "OPTIONS",
    "SPLIT",
    "checked",
    "cuts_experts",
    "flat",
    "names_of",
    "options",
    "rule_defaults",
    "rules_of",
    "tables_of",
]

SPLIT = (True, "state_full", "state_free")
"""What a group's ``split`` may be: split by the subspace, or state-full or state-free as a whole."""

_ALGORITHM_KEYS = (
    "density",
    "rank",
    "update_gap",
    "subspace",
    "side",
    "set",
    "sampling",
    "order",
    "projector",
    "refresh",
    "blocks",
    "experts",
    "on_update",
    "off_set_momentum",
    "weight_decay",
    "split_lr_scale",
    "seed",
)


OPTIONS = (
    "lr",
    "lr_scale",
    "split",
    *_ALGORITHM_KEYS,
    "state_full",
    "state_free",
    "state_free_lr_scale",
    "betas",
    "beta",
    "eps",
    "bases",
)
"""What a group may set, and so a rule by name. ``lr_scale`` is a factor of the learning rate."""


def options(algorithm: config.Algorithm) -> dict[str, Any]:
    """An algorithm as arguments of ``Frugal``, its rules as tables; the learning rate is left out."""
    table = algorithm.model_dump(include=set(_ALGORITHM_KEYS))
    return {**table, "state_full": algorithm.state_full, "state_free": algorithm.state_free, "seed": algorithm.seed or 0}


FLAT = {"state_full": ("sgdm", "adamw", "lion"), "state_free": ("sgd", "signsgd", "none")}
"""Rules whose settings are options of a group, as those of torch's optimizers are; others keep their table as it is."""


def flat(given: Mapping[str, Any]) -> dict[str, Any]:
    """Options with rules given as tables or config objects spelled flat: ``state_full={"rule": "lion"}``.

    Numbers of NumPy become Python's, which torch saves. The β of SGDM is the first of ``betas``, which schedulers move.
    Raises ValueError for a table that is not a rule.
    """
    result = {key: _plain(value) for key, value in given.items()}
    for side, prefix in (("state_full", ""), ("state_free", "state_free_")):
        rule = result.get(side)
        if isinstance(rule, str) and rule in FORMULAS and rule not in FLAT[side]:
            rule = {"rule": rule, **_of_the_rule(rule, side, given)}
        if not isinstance(rule, (Mapping, BaseModel)):
            continue
        table = dict(rule) if isinstance(rule, Mapping) else rule.model_dump()
        settings = getattr(_algorithm({side: table}), side).model_dump()
        result[side] = settings.pop("rule")
        if result[side] in FLAT[side]:
            result.update({prefix + key: value for key, value in settings.items()})
            result.pop(f"{side}_table", None)
        else:
            result[f"{side}_table"] = settings
            result.update({key: value for key, value in settings.items() if key == "betas"})
    if (beta := result.pop("beta", None)) is not None:
        result["betas"] = (beta, *tuple(result.get("betas") or (beta, 0.999))[1:])
    return result


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    return tuple(map(_plain, value)) if type(value) is tuple else value


def _of_the_rule(rule: str, side: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Those options of ``Frugal`` that were given and that the table of a rule called by its bare name has, too."""
    said = {"betas": given.get("betas")} if side == "state_full" else {"lr_scale": given.get("state_free_lr_scale", 1.0)}
    return {key: value for key, value in said.items() if value not in (None, 1.0) and key in FORMULAS[rule].table.model_fields}


def rule_defaults(rule: Any) -> dict[str, Any]:
    """The options that a state-full rule has when none are given; nothing for a rule that keeps its table."""
    return flat(FORMULAS[rule].table().model_dump(exclude={"rule"})) if rule in FLAT["state_full"] else {}


def tables_of(group: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The tables of a group's two rules, as an experiment file has them."""
    options = {
        "state_full": {key: group["betas"][0] if key == "beta" else group[key] for key in _options(group["state_full"])},
        "state_free": {"lr_scale": group["state_free_lr_scale"]},
    }
    tables = {
        side: {"rule": group[side], **(flat if group[side] in FLAT[side] else group.get(f"{side}_table", flat))}
        for side, flat in options.items()
    }
    if "betas" in tables["state_full"]:
        tables["state_full"]["betas"] = tuple(group["betas"])
    return tables


def _options(rule: str) -> list[str]:
    """The options of a group that a state-full rule reads, by name."""
    return [key for key in FORMULAS[rule].table.model_fields if key != "rule"] if rule in FLAT["state_full"] else []


def rules_of(group: Mapping[str, Any]) -> tuple[Rule, Rule]:
    """The state-full and the state-free rule that a group names, with its present hyperparameters."""
    full, free = tables_of(group).values()
    experts = cuts_experts(group)
    return each_expert(_rule(full), experts), each_expert(_rule(free), experts)


def cuts_experts(group: Mapping[str, Any]) -> bool:
    """Whether parameters of three dimensions are experts by themselves: what is treated as a whole is not cut."""
    return group["split"] is True and bool(group["experts"])


def _rule(table: dict[str, Any]) -> Rule:
    """The rule of a table; one whose settings are plain numbers is made once, as it is asked for at every step."""
    kind, settings = FORMULAS[table["rule"]], tuple(table.items())
    try:
        return _made(kind, settings)
    except TypeError:  # a setting that cannot be hashed
        return _made.__wrapped__(kind, settings)


@lru_cache(maxsize=256)
def _made(kind: Kind[Rule], settings: tuple[tuple[str, Any], ...]) -> Rule:
    return kind.make(kind.table.model_validate(dict(settings)))


def checked(group: Mapping[str, Any]) -> None:
    """Raise ValueError, in one line with the value and what is allowed, unless the group's options can be run."""
    checked_backend(group["backend"])
    lr = group["lr"]
    number = isinstance(lr, (int, float)) or (isinstance(lr, Tensor) and lr.numel() == 1)
    if not number or not (math.isfinite(float(lr)) and float(lr) >= 0):
        raise ValueError(f"Frugal: lr = {lr if number else repr(lr)}: allowed: a finite number >= 0")
    for key in (*_ALGORITHM_KEYS, "betas", "eps", "state_free_lr_scale"):
        if any(isinstance(value, Tensor) for value in (group[key] if isinstance(group[key], tuple) else (group[key],))):
            raise ValueError(f"Frugal: {key} = {group[key]!r}: allowed: numbers; of tensors, only lr is followed")
    if group["split"] is not True and group["split"] not in SPLIT[1:]:
        raise ValueError(f'Frugal: split = {group["split"]!r}: allowed: True, "state_full", "state_free"')
    if isinstance(group["seed"], int) and group["seed"] < 0:
        raise ValueError(f"Frugal: seed = {group['seed']}: allowed: a whole number >= 0")
    given = {key: group[key] for key in _ALGORITHM_KEYS} | tables_of(group)
    if isinstance(group["experts"], bool):
        given["experts"] = cuts_experts(group)
    if group["rank"] is not None and given.pop("density") != config.Algorithm.model_fields["density"].default:
        raise ValueError(f"Frugal: rank = {group['rank']} and density = {group['density']} are both given; one is allowed")
    _algorithm(given)
    if group["set"] is not None and group["split"] not in ("state_full", "state_free"):
        total = sum(parameter.numel() for parameter in group["params"])
        outside = [j for j in group["set"] if j >= total]
        if outside:
            raise ValueError(
                f"Frugal: set names coordinate {outside[0]}; the split parameters have coordinates 0 to {total - 1}"
            )


def names_of(groups: Sequence[Mapping[str, Any]], index: int) -> list[str]:
    """The names of a group's parameters, :func:`canonical`; without names, their positions in the optimizer."""
    if "param_names" in groups[index]:
        return [canonical(name) for name in groups[index]["param_names"]]
    start = sum(len(other["params"]) for other in groups[:index])
    return [str(start + i) for i in range(len(groups[index]["params"]))]


def _algorithm(table: Mapping[str, Any]) -> config.Algorithm:
    try:
        return config.Algorithm.model_validate(table)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"] if part not in FORMULAS)
    if not where:  # the message of a check across several options says it all
        raise ValueError(f"Frugal: {first['msg'].removeprefix('Value error, ')}")
    raise ValueError(f"Frugal: {where} = {first['input']!r}: {first['msg'][0].lower()}{first['msg'][1:]}")
