"""Where tensors live and in which form: the one place that knows. Rules, parts and backends see plain tensors of one dtype.

Most parameters are stepped as they are. For the others something stands in: a copy in the precision of the arithmetic (bfloat16
and float16 step in float32), the shard that lies on this rank, or the whole of a sharded matrix whose basis needs all of it.
After the step the parameter and its statistics are put back in their own form.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from frugal_gpu.optim.subspaces import Part, at_least_float32
from frugal_theory.algorithm.selection import selection_key, uniform_bits

__all__ = ["STATE_DTYPES", "Stand", "as_dtype", "stand_for", "stored_dtype"]

State = dict[str, Any]

STATE_DTYPES = ("float64", "float32", "bfloat16", "float16")
"""What ``state_dtype`` may be, beside None."""

EXACT = ("step", "count", "basis", "period")
"""Entries of a state that keep their own precision, whatever that of the statistics."""


@dataclass
class Stand:
    """What is stepped in place of a parameter: ``tensor``, with its gradient in ``.grad``, and ``state``."""

    parameter: Tensor
    tensor: Tensor
    state: State
    part: Part
    group: Mapping[str, Any]
    name: str

    @property
    def numbers(self) -> int:
        """How many numbers were copied for it."""
        return 0 if self.tensor.data_ptr() == self.parameter.data_ptr() else self.tensor.numel()

    def put_back(self, states: MutableMapping[Tensor, State]) -> None:
        """The parameter and its state, in their own form."""
        parameter = self.parameter
        if self.tensor.data_ptr() != parameter.data_ptr():
            if self.group["stochastic_rounding"] and parameter.dtype == torch.bfloat16:
                key = selection_key(self.group["seed"], f"{self.name} rounding", self.group["step"])
                self.tensor = stochastically_rounded(self.tensor, key)
            parameter.copy_(self.tensor)
        if self.state:
            states[parameter] = stored(self.state, stored_dtype(self.group, parameter))


def stand_for(
    group: Mapping[str, Any], parameter: Tensor, name: str, part: Part, states: Mapping[Tensor, State]
) -> Stand | None:
    """What stands in for a parameter that has a gradient; None if it is stepped as it is."""
    gradient, compute = parameter.grad, at_least_float32(parameter.dtype)
    assert gradient is not None
    dtype = stored_dtype(group, parameter)
    if parameter.dtype == gradient.dtype == dtype == compute and not group["maximize"]:
        return None
    tensor = parameter.detach().to(compute)
    gradient = gradient.to(compute)
    tensor.grad = -gradient if group["maximize"] else gradient
    return Stand(parameter, tensor, computed(states.get(parameter, {}), compute), part, group, name)


def as_dtype(state_dtype: object) -> str | None:
    """An option ``state_dtype`` by its name. Raises ValueError for what is none."""
    name = str(state_dtype).removeprefix("torch.") if isinstance(state_dtype, torch.dtype) else state_dtype
    if name is not None and name not in STATE_DTYPES:
        raise ValueError(f"Frugal: state_dtype = {state_dtype!r}: allowed: None, {', '.join(map(repr, STATE_DTYPES))}")
    return None if name is None else str(name)


def stored_dtype(group: Mapping[str, Any], parameter: Tensor) -> torch.dtype:
    """The dtype of a parameter's statistics: the group's ``state_dtype``, or that of the arithmetic."""
    name = group["state_dtype"]
    dtype: torch.dtype = at_least_float32(parameter.dtype) if name is None else getattr(torch, name)
    return dtype


def stored(state: Mapping[str, Any], dtype: torch.dtype) -> State:
    """A state as it waits for the next step."""
    return _mapped(state, lambda value: value.to(dtype) if value.is_floating_point() else value)


def computed(state: Mapping[str, Any], dtype: torch.dtype) -> State:
    """The same in the precision of the arithmetic."""
    return stored(state, dtype)


def _mapped(state: Mapping[str, Any], change: Any) -> State:
    result: State = {}
    for key, value in state.items():
        if isinstance(value, Mapping):
            result[key] = _mapped(value, change)
        else:
            result[key] = change(value) if isinstance(value, Tensor) and key not in EXACT else value
    return result


def stochastically_rounded(values: Tensor, key: int, start: int = 0) -> Tensor:
    """float32 numbers rounded to one of their two neighbours in bfloat16, so that the mean is the number itself.

    The dropped 16 bits are compared with random ones, a pure function of ``key`` and the place of a number (from ``start`` on):
    ranks agree, and a resumed run rounds as the straight one does. What is not finite is rounded as ever.
    """
    count = values.numel()
    draws = uniform_bits(key, torch.arange(start // 4, (start + count + 3) // 4, device=values.device))
    noise = draws.view(torch.int16)[start % 4 :][:count].to(torch.int32) & 0xFFFF
    rounded = ((values.contiguous().view(torch.int32).view(-1) + noise) & -0x10000).view(torch.float32).reshape(values.shape)
    return torch.where(values.isfinite(), rounded, values).to(torch.bfloat16)
