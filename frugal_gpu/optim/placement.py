"""Where tensors live and in which form: the one place that knows. Rules, parts and backends see plain tensors of one dtype.

Most parameters are stepped as they are. For the others something stands in: a copy in the precision of the arithmetic (bfloat16
and float16 step in float32), the shard that lies on this rank, or the whole of a sharded matrix whose basis needs all of it.
After the step the parameter and its statistics are put back in their own form.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from frugal_gpu.optim.flags import accelerator_of
from frugal_gpu.optim.groups import rules_of
from frugal_gpu.optim.subspaces import Part, Turning, Units, at_least_float32
from frugal_theory.algorithm.selection import selection_key, uniform_bits
from frugal_theory.algorithm.storages import SIGNED8, UNSIGNED8, Coded, bytes_in_8

__all__ = [
    "EIGHT",
    "STATE_DTYPES",
    "Stand",
    "as_dtype",
    "check_eight",
    "computed",
    "is_coded",
    "is_copied",
    "stand_for",
    "stored",
    "stored_bytes",
    "stored_dtype",
]

State = dict[str, Any]

EIGHT = "8bit"
"""Moments in eight bits (:class:`frugal_theory.algorithm.storages.Dynamic8`); all other entries of a state as without it."""

STATE_DTYPES = ("float64", "float32", "bfloat16", "float16", EIGHT)
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
    copied: int = 0
    """Numbers of its statistics that were copied."""

    @property
    def numbers(self) -> int:
        """How many numbers were copied for it, in its tensor or its state, whichever is more."""
        return max(0 if self._is_itself else self.tensor.numel(), self.copied)

    @property
    def _is_itself(self) -> bool:
        own = local(self.parameter)
        return self.tensor.data_ptr() == own.data_ptr() and self.tensor.shape == own.shape

    def put_back(self, states: MutableMapping[Tensor, State]) -> None:
        """The parameter and its state, in their own form."""
        own, values = local(self.parameter), self.tensor
        if not self._is_itself:
            start, _ = shard_of(self.parameter)
            whole = is_sharded(self.parameter) and values.shape != own.shape
            if self.group["stochastic_rounding"] and own.dtype == torch.bfloat16:
                key = selection_key(self.group["seed"], f"{self.name} rounding", self.group["step"])
                before = 0 if whole or values.dim() == 0 else start * math.prod(values.shape[1:])
                values = stochastically_rounded(values, key, before)
            own.copy_(values[start : start + own.shape[0]] if whole else values)
        if self.state:
            states[self.parameter] = stored(self.state, self.group, self.parameter)


def stand_for(
    group: Mapping[str, Any], parameter: Tensor, name: str, part: Part, states: Mapping[Tensor, State]
) -> Stand | None:
    """What stands in for a parameter that has a gradient; None if it is stepped as it is."""
    gradient, compute = parameter.grad, at_least_float32(parameter.dtype)
    assert gradient is not None
    sharded = is_sharded(parameter)
    plain = parameter.dtype == gradient.dtype == stored_dtype(group, parameter) == compute
    held = states.get(parameter, {})
    if plain and not sharded and not group["maximize"] and group["state_dtype"] != EIGHT and not is_coded(held):
        return None
    if sharded and gathered(group, part):
        tensor, gradient = parameter.detach().full_tensor(), gradient.full_tensor()  # type: ignore[attr-defined]
    else:
        tensor, gradient = local(parameter.detach()), local(gradient)
    tensor, gradient = tensor.to(compute), gradient.to(compute)
    tensor.grad = -gradient if group["maximize"] else gradient
    return Stand(parameter, tensor, computed(held, compute), part, group, name, _in_another_form(held, compute))


def is_copied(group: Mapping[str, Any], states: Mapping[Tensor, State], parameter: Tensor) -> bool:
    """Whether more than its type stands between a parameter and a step: a sign, a rounding by chance, a code, a shard."""
    if group["maximize"] or group["state_dtype"] == EIGHT or is_sharded(parameter) or is_coded(states.get(parameter, {})):
        return True
    return group["stochastic_rounding"] and parameter.dtype == torch.bfloat16


def is_sharded(x: Tensor) -> bool:
    """Whether a tensor is a DTensor, of which a rank holds a part; none is before its module has been imported."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(x, module.DTensor)


def local(x: Tensor) -> Tensor:
    """What of a tensor lies on this rank: all of a plain one."""
    own: Tensor = x.to_local() if is_sharded(x) else x  # type: ignore[attr-defined]
    return own


def shard_of(x: Tensor) -> tuple[int, tuple[int, ...]]:
    """The first row of a tensor that lies on this rank, and the shape of what does."""
    if not is_sharded(x):
        return 0, tuple(x.shape)
    from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

    shape, offset = compute_local_shape_and_global_offset(x.shape, x.device_mesh, x.placements)  # type: ignore[attr-defined]
    return (offset[0] if offset else 0), tuple(shape)


def gathered(group: Mapping[str, Any], part: Part) -> bool:
    """Whether a sharded parameter's step needs all of its gradient: a basis, or a rule that sees more than a coordinate."""
    return isinstance(part, Turning) or not all(getattr(rule, "elementwise", True) for rule in rules_of(group))


def local_part(group: Mapping[str, Any], part: Part, parameter: Tensor) -> Part:
    """What of a parameter's part lies on this rank, for a parameter that is sharded by rows."""
    if not is_sharded(parameter) or not isinstance(part, Units) or gathered(group, part):
        return part
    first, shape = shard_of(parameter)
    rest = math.prod(shape[1:])
    each = rest if len(part.shape) == 1 else max(1, part.shape[0] // parameter.shape[0])  # units of a row, or rows of an expert
    view = (math.prod(shape),) if len(part.shape) == 1 else (shape[0] * each, rest // each)
    if part.dim == 1:
        return type(part)(part.index, part.dim, view)
    begin, count = first * each, shape[0] * each
    inside = part.index[(part.index >= begin) & (part.index < begin + count)] - begin
    return type(part)(inside, part.dim, view)


def like_of(group: Mapping[str, Any], part: Part, parameter: Tensor) -> Tensor:
    """A plain tensor of the shape in which a parameter is stepped on this rank."""
    if is_sharded(parameter) and gathered(group, part):
        return torch.zeros(parameter.shape, dtype=parameter.dtype, device=parameter.device)
    return local(parameter)


def placed_like(values: Tensor, parameter: Tensor) -> Tensor:
    """This rank's rows of something that has a row for each of a parameter's, placed as the parameter is."""
    if not is_sharded(parameter):
        return values
    from torch.distributed.tensor import DTensor

    shape = torch.Size((*parameter.shape[:1], *values.shape[1:]))
    stride = torch.empty(shape, device="meta").stride()
    mesh, placements = parameter.device_mesh, parameter.placements  # type: ignore[attr-defined]
    placed: Tensor = DTensor.from_local(values.contiguous(), mesh, placements, shape=shape, stride=stride, run_check=False)
    return placed


def check_placed(name: str, parameter: Tensor, state_dtype: str | None) -> None:
    """Raise ValueError for a parameter that is sharded in a way that hides its matrix, or that its state cannot follow."""
    if is_sharded(parameter) and state_dtype == EIGHT:
        raise ValueError(f'Frugal: {name} is sharded, and state_dtype = "{EIGHT}" has no whole form; float types are allowed')
    if getattr(parameter, "_is_flat_param", False) or getattr(parameter, "_fsdp_flattened", False):
        raise ValueError(
            f"Frugal: {name} is a flat shard of FullyShardedDataParallel, in which rows and columns are lost; "
            "fully_shard (FSDP2) is allowed"
        )
    if is_sharded(parameter):
        for placement in parameter.placements:  # type: ignore[attr-defined]
            if not (placement.is_replicate() or placement.is_shard(0)):
                raise ValueError(f"Frugal: {name} is placed as {placement}; Shard(dim=0) and Replicate() are allowed")


def agreed(flag: bool, parameters: Sequence[Tensor]) -> bool:
    """Whether a flag is set on any rank that shares one of these parameters; the flag itself if none is sharded."""
    meshes = {x.device_mesh: x.device for x in parameters if is_sharded(x)}  # type: ignore[attr-defined]
    for mesh, device in meshes.items():
        told = torch.tensor([int(flag)], device=device)
        for group in mesh.get_all_groups():
            torch.distributed.all_reduce(told, torch.distributed.ReduceOp.MAX, group=group)
        flag = bool(told.item())
    return flag


def as_dtype(state_dtype: object) -> str | None:
    """An option ``state_dtype`` by its name. Raises ValueError for what is none."""
    name = str(state_dtype).removeprefix("torch.") if isinstance(state_dtype, torch.dtype) else state_dtype
    if name is not None and name not in STATE_DTYPES:
        raise ValueError(f"Frugal: state_dtype = {state_dtype!r}: allowed: None, {', '.join(map(repr, STATE_DTYPES))}")
    return None if name is None else str(name)


def check_eight(group: Mapping[str, Any]) -> None:
    """Raise ValueError where statistics that stand still would be rounded again in every step."""
    if group["state_dtype"] == EIGHT and group["off_set_momentum"] == "hold":
        raise ValueError(
            f'Frugal: off_set_momentum = "hold" with state_dtype = "{EIGHT}": what is held would be rounded again in every '
            'step; "reset", "decay" are allowed'
        )


def stored_dtype(group: Mapping[str, Any], parameter: Tensor) -> torch.dtype:
    """The dtype of a parameter's statistics: the group's ``state_dtype``, or that of the arithmetic; of what is not in eight
    bits, where that is asked for."""
    return _float_of(group["state_dtype"], parameter.dtype)


def _float_of(name: str | None, dtype: torch.dtype) -> torch.dtype:
    found: torch.dtype = at_least_float32(dtype) if name in (None, EIGHT) else getattr(torch, name)
    return found


def stored_bytes(name: str | None, dtype: torch.dtype, numbers: float) -> float:
    """Bytes of a moment of so many numbers under a ``state_dtype``, of a parameter of a dtype."""
    return bytes_in_8(numbers) if name == EIGHT else numbers * _float_of(name, dtype).itemsize


def stored(state: Mapping[str, Any], group: Mapping[str, Any], parameter: Tensor) -> State:
    """A state as it waits for the next step."""
    dtype = stored_dtype(group, parameter)
    if group["state_dtype"] != EIGHT:
        return _in(state, dtype)
    full, free = rules_of(group)
    fast = accelerator_of(group)
    if "full" not in state:
        return _coded(state, fast or full, dtype)
    nested = {"full": _coded(state["full"], full, dtype), "free": _coded(state["free"], free, dtype)}
    return {key: nested.get(key, value) for key, value in state.items()}


def computed(state: Mapping[str, Any], dtype: torch.dtype) -> State:
    """The same in the precision of the arithmetic, whatever form it waits in."""
    return _in(state, dtype)


def is_coded(state: Mapping[str, Any]) -> bool:
    """Whether anything in a state is in eight bits."""
    nested = [value for value in state.values() if isinstance(value, Mapping)]
    return "codes" in state or any(map(is_coded, nested))


def _in(state: Mapping[str, Any], dtype: torch.dtype) -> State:
    result: State = {}
    for key, value in state.items():
        if isinstance(value, Mapping):
            coded = "codes" in value
            result[key] = _decoded(value, dtype) if coded else _in(value, dtype)
        else:
            kept = not isinstance(value, Tensor) or key in EXACT or not value.is_floating_point()
            result[key] = value if kept else value.to(dtype)
    return result


def _coded(state: Mapping[str, Any], rule: Any, dtype: torch.dtype) -> State:
    """The moments of a rule in eight bits, those that cannot be negative with a map of their own."""
    result = _in(state, dtype)
    for key in (*rule.vectors, *rule.squares):
        if key not in result or not isinstance(result[key], Tensor):
            continue
        signed = key not in rule.squares
        code = (SIGNED8 if signed else UNSIGNED8).encode(result[key])
        if isinstance(code, Coded):
            result[key] = {"codes": code.codes, "scales": code.scales, "signed": signed}
    return result


def _decoded(value: Mapping[str, Any], dtype: torch.dtype) -> Tensor:
    storage = SIGNED8 if value["signed"] else UNSIGNED8
    numbers: Tensor = storage.decode(Coded(value["codes"], value["scales"]), torch.empty(0, dtype=dtype))
    return numbers


def _in_another_form(state: Mapping[str, Any], dtype: torch.dtype) -> int:
    """Numbers of a state's statistics that are not of this dtype."""
    count = 0
    for key, value in state.items():
        if isinstance(value, Mapping):
            count += value["codes"].numel() if "codes" in value else _in_another_form(value, dtype)
        elif isinstance(value, Tensor) and key not in EXACT and value.is_floating_point() and value.dtype != dtype:
            count += value.numel()
    return count


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
