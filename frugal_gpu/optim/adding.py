"""A group as it is added to the optimizer: what it leaves open is filled in, and what it says is checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from frugal_gpu.optim.finite import CHECK_FINITE
from frugal_gpu.optim.flags import check_flags
from frugal_gpu.optim.groups import checked, flat, rule_defaults
from frugal_gpu.optim.periods import UNBEGUN
from frugal_gpu.optim.placement import as_dtype, check_eight, check_placed
from frugal_theory import config

__all__ = ["check_added", "completed"]


def completed(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The group with its own consequences in place of the optimizer's ``defaults``: those of its rule, its rank and its scale.

    A group that changes the state-full rule starts from that rule's own hyperparameters.
    """
    group = {**flat(given), **UNBEGUN}
    if group.get("state_full", defaults["state_full"]) != defaults["state_full"]:
        group = {**rule_defaults(group["state_full"]), **group}
    if group.get("set") is not None:
        group["set"] = tuple(group["set"])
    if group.get("rank") is not None:
        group.setdefault("density", config.Algorithm.model_fields["density"].default)
    elif "density" in group:
        group.setdefault("rank", None)
    if (scale := group.pop("lr_scale", None)) is not None:
        group["lr"] = group.get("lr", defaults["lr"]) * scale
    group["step"] = 0
    return group


def check_added(group: dict[str, Any], names: Sequence[str]) -> None:
    """Raise ValueError for options that cannot be run, RuntimeError for complex parameters; ``state_dtype`` becomes a name."""
    checked(group)
    check_flags(group)
    if group["check_finite"] not in CHECK_FINITE:
        allowed = ", ".join(map(repr, CHECK_FINITE))
        raise ValueError(f"Frugal: check_finite = {group['check_finite']!r}: allowed: {allowed}")
    group["state_dtype"] = as_dtype(group["state_dtype"])
    check_eight(group)
    for name, parameter in zip(names, group["params"], strict=True):
        if parameter.is_complex():
            raise RuntimeError(f"Frugal: parameter {name} is complex; only real parameters are supported")
        check_placed(name, parameter, group["state_dtype"])
        if group["capturable"] and parameter.device.type != "cuda":
            raise ValueError(f"Frugal: capturable = True: {name} is on {parameter.device}; graphs are of CUDA devices")
