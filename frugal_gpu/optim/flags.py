"""The flags that torch's optimizers share: as torch has them, or one line that says why not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from frugal_gpu.optim.backends import InPlace, accelerated, checked_backend
from frugal_gpu.optim.groups import FLAT, rules_of

__all__ = ["FLAGS", "accelerator_of", "check_flags", "chosen_backend"]

FLAGS: dict[str, Any] = {"maximize": False, "foreach": None, "fused": None, "capturable": False, "differentiable": False}
"""Flags of a group with their defaults. ``foreach`` and ``fused`` ask for a way to step."""

ALLOWED = {"maximize": (True, False), "capturable": (True, False), "foreach": (True, False, None), "fused": (True, False, None)}


def check_flags(group: Mapping[str, Any]) -> None:
    """Raise ValueError for a flag that cannot be honoured; RuntimeError, as torch does, for foreach and fused together."""
    for key, allowed in ALLOWED.items():
        if not any(group[key] is value for value in allowed):
            raise ValueError(f"Frugal: {key} = {group[key]!r}: allowed: {', '.join(map(repr, allowed))}")
    if group["foreach"] and group["fused"]:
        raise RuntimeError("Frugal: `fused` and `foreach` cannot be `True` together")
    if group["backend"] != "auto" and (group["foreach"] or group["fused"]):
        raise ValueError(f'Frugal: backend = "{group["backend"]}" beside foreach or fused = True: one of them is allowed')
    checked_backend(chosen_backend(group))
    if group["differentiable"]:
        raise ValueError("Frugal: differentiable = True: a step is not recorded by autograd; allowed: False")
    if group["capturable"]:
        _check_capturable(group)


def _check_capturable(group: Mapping[str, Any]) -> None:
    """Raise ValueError for what a replayed graph would do wrong, since the host decides it in every step."""
    for key, allowed in (
        ("state_dtype", (None,)),
        ("stochastic_rounding", (False,)),
        ("check_finite", (False, "auto")),
        ("refresh", ("together",)),
    ):
        if group[key] not in allowed:
            raise ValueError(
                f"Frugal: capturable = True beside {key} = {group[key]!r}: allowed: {', '.join(map(repr, allowed))}"
            )
    if accelerator_of(group) is None:
        raise ValueError(
            f'Frugal: capturable = True beside state_full = "{group["state_full"]}", state_free = "{group["state_free"]}", '
            f'backend = "{group["backend"]}": a step by formulas makes new state; '
            "allowed: adamw, lion, sgdm with sgd, signsgd, none"
        )


def chosen_backend(group: Mapping[str, Any]) -> str:
    """What takes the steps of a group: the one that ``fused`` or ``foreach`` asks for, or ``backend``."""
    return "fused" if group["fused"] else "foreach" if group["foreach"] else str(group["backend"])


def accelerator_of(group: Mapping[str, Any]) -> InPlace | None:
    """What runs a group's state-full rule on flat states; None if both rules run by their formulas, on nested ones."""
    full, _ = rules_of(group)
    alone = group["split"] == "state_full" or group["state_free"] in FLAT["state_free"]
    return accelerated(full, chosen_backend(group)) if alone else None
