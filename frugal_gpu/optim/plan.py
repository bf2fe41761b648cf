"""Several optimizers that are one together: one a parameter, or one a share of the parameters.

Updates in backward and offloading to the CPU make an optimizer of every parameter, ZeRO one of every rank's share. Each alone
would hold the density of what it has; with a plan all of them draw from the whole, and are the method.
"""

from __future__ import annotations

import math
import warnings
import weakref
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from frugal_gpu.optim.groups import names_of
from frugal_theory.config.registry import SUBSPACES

if TYPE_CHECKING:
    from frugal_gpu.optim.frugal import Frugal

__all__ = ["Plan", "warn_of_many"]

MANY = 4
"""So many optimizers of one nameless parameter each, with the same options, are taken for one that was cut up."""

_NAMELESS: weakref.WeakSet[Frugal] = weakref.WeakSet()


class Plan:
    """What makes the optimizers of shares of the parameters: ``plan([parameter])``, in place of the class ``Frugal``.

    A parameter is known by itself, or, where it is a copy of one (as on the CPU), by its shape and turn: copies come in the
    order of the plan. Each optimizer keeps its own count of steps, so all of them are to take every step.

    >>> import torch
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4))
    >>> plan = Plan.of(model.named_parameters(), density=0.5)
    >>> optimizers = {parameter: plan([parameter]) for parameter in model.parameters()}
    """

    def __init__(self, whole: Frugal) -> None:
        self._make = type(whole)
        self._groups: list[dict[str, Any]] = []
        self._places: dict[Tensor, tuple[int, str, int]] = {}
        for index, group in enumerate(whole.param_groups):
            names = names_of(whole.param_groups, index)
            options = {k: v for k, v in group.items() if k not in ("params", "param_names", "step")}
            if group["split"] is True and SUBSPACES[group["subspace"]].whole:
                trained = [(n, list(p.shape)) for n, p in zip(names, group["params"], strict=True) if p.requires_grad]
                options["whole"] = {"key": "blocks" if index == 0 else f"blocks.{index}", "blocks": trained}
            elif group["refresh"] == "staggered":
                options["whole"] = {"turning": list(whole._periods.own_periods(whole.param_groups, index))}
            self._groups.append(options)
            start = 0
            for name, parameter in zip(names, group["params"], strict=True):
                self._places[parameter] = index, name, start
                start += parameter.numel()
        self._waiting = list(self._places)

    @classmethod
    def of(cls, params: Any, **options: Any) -> Plan:
        """The plan of an optimizer with these arguments."""
        from frugal_gpu.optim.frugal import Frugal

        return cls(Frugal(params, **options))

    def __call__(self, params: Iterable[Any], **options: Any) -> Frugal:
        """The optimizer of some of the plan's parameters; ``options`` replace the plan's. ValueError for others' parameters."""
        return self._make([self._group(parameter, {**options, **own}) for parameter, own in _each(params)])

    def _group(self, parameter: Tensor, options: dict[str, Any]) -> dict[str, Any]:
        index, name, start = self._places[self._planned(parameter)]
        group = {**self._groups[index], **options, "params": [(name, parameter)]}
        if group.get("set") is not None:
            end = start + math.prod(parameter.shape)
            group["set"] = tuple(j - start for j in group["set"] if start <= j < end)
        return group

    def _planned(self, parameter: Tensor) -> Tensor:
        """The parameter of the plan that this one is, or is a copy of."""
        if parameter in self._places:
            found = parameter
        else:
            found = next((x for x in self._waiting if x.shape == parameter.shape), parameter)
        if found not in self._places:
            raise ValueError(
                f"Frugal: a parameter of shape {tuple(parameter.shape)} is none of the plan's, nor the copy of one that is left"
            )
        self._waiting = [x for x in self._waiting if x is not found]
        return found


def _each(params: Iterable[Any]) -> Iterator[tuple[Tensor, dict[str, Any]]]:
    """Every parameter of what an optimizer is given, with the options of its group."""
    for item in params:
        options: Mapping[str, Any] = item if isinstance(item, Mapping) else {"params": [item]}
        own = {key: value for key, value in options.items() if key not in ("params", "param_names", "step", "whole")}
        listed = [options["params"]] if isinstance(options["params"], Tensor) else options["params"]
        for parameter in listed:
            yield (parameter[1] if isinstance(parameter, tuple) else parameter), own


def warn_of_many(optimizer: Frugal) -> None:
    """Warn where an optimizer seems to be one of many that each have a single parameter without a name.

    They would all draw the same units, and blocks would be divided where they are meant to take turns.
    """
    (group, *others) = optimizer.param_groups
    if others or len(group["params"]) != 1 or "param_names" in group or group["split"] is not True:
        return
    if group["density"] in (0, 1) or group["set"] is not None:
        return
    _NAMELESS.add(optimizer)
    options = _options(group)
    if sum(_options(other.param_groups[0]) == options for other in list(_NAMELESS)) == MANY:
        warnings.warn(
            f"Frugal: {MANY} optimizers of one nameless parameter each: they draw the same units, and every block is divided. "
            "If they are one method, make them by Frugal.plan(model.named_parameters(), ...)",
            stacklevel=4,
        )


def _options(group: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in group.items() if key in ("density", "subspace", "seed", "update_gap", "state_full")}
