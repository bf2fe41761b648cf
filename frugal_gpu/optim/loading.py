"""What becomes of a state that is loaded."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

import torch
from torch import Tensor

from frugal_gpu.optim.subspaces import at_least_float32

__all__ = ["own"]

EXACT = ("step", "count", "basis")
"""Entries of a state that keep their own precision, whatever the parameter's."""


def own(groups: Sequence[dict[str, Any]], states: MutableMapping[Tensor, dict[str, Any]], loaded: Mapping[str, Any]) -> None:
    """Make every tensor of a state that torch has just loaded its own, step counts and bases in their full precision."""
    parameters = [parameter for group in groups for parameter in group["params"]]
    saved = [index for group in loaded["param_groups"] for index in group["params"]]
    for index, parameter in zip(saved, parameters, strict=True):
        exact = at_least_float32(parameter.dtype)
        _own(states.get(parameter, {}), loaded["state"].get(index, {}), parameter.device, exact)


def _own(state: dict[str, Any], source: Mapping[str, Any], device: torch.device, exact: torch.dtype) -> None:
    for key, value in state.items():
        if isinstance(value, dict):
            _own(value, source[key], device, exact)
        elif isinstance(value, Tensor):
            kept = source[key].to(device, exact) if key in EXACT else value
            state[key] = kept.clone()
