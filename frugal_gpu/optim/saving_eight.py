"""Moments in eight bits in the whole form of a state, and back, bit for bit.

Codes have scales by blocks of 256 of what is in the set, and which numbers are a block follows the period. So the whole form
has for each moment two float32 tensors in the parameter's shape: its numbers and, under ``KEY + SCALE``, the scale of each.
Both together give back the code exactly, as a number is a value of the map times its scale. (The numbers alone do not: the map
has no −1, so a block whose largest number is negative would get another scale.) A moment that is too short to be coded has the
scale ``PLAIN`` everywhere. On disk it takes the space of two moments. Shards have no such form: on other ranks other numbers
would be a block.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from frugal_theory.algorithm.storages import BLOCK, SIGNED8, UNSIGNED8, dynamic_map

__all__ = ["SCALE", "coded_again", "joined", "parted", "scales_of"]

State = dict[str, Any]

SCALE = "_scale"
"""What the scales of a moment are called, after its name."""

PLAIN = -1.0
"""The scale of numbers that are kept as they are."""

NESTED = ("full", "free")


def scales_of(state: Mapping[str, Any], moments: Mapping[str, tuple[str, ...]]) -> State:
    """The state with the scale of every number in the place of its moments. ``moments``: the names of those of a rule, by the
    entry that has its state ("" for the state itself)."""
    result: State = {}
    for key, value in state.items():
        if key in NESTED and key in moments and isinstance(value, Mapping):
            result[key] = scales_of(value, {"": moments[key]})
        elif key not in moments.get("", ()):
            result[key] = value
        elif isinstance(value, Mapping):
            codes = value["codes"]
            result[key] = value["scales"].repeat_interleave(BLOCK)[: codes.numel()].reshape(codes.shape)
        else:
            result[key] = torch.full_like(value, PLAIN)
    return result


def joined(whole: State, scales: State, moments: Mapping[str, tuple[str, ...]]) -> State:
    """Numbers and their scales in one whole form."""
    result = dict(whole)
    for key in moments.get("", ()):
        if key in whole:
            result[key + SCALE] = scales[key]
    for key in NESTED:
        if key in moments and key in whole:
            result[key] = joined(whole[key], scales[key], {"": moments[key]})
    return result


def parted(whole: Mapping[str, Any]) -> tuple[State, State]:
    """The two again, each as a whole form of its own."""
    plain: State = {}
    scales: State = {}
    for key, value in whole.items():
        if isinstance(value, Mapping):
            plain[key], scales[key] = parted(value)
        elif not key.endswith(SCALE):
            plain[key] = value
            scales[key] = whole.get(key + SCALE, value)
    return plain, scales


def coded_again(numbers: State, scales: State, signed: Mapping[str, Mapping[str, bool]]) -> State:
    """The state as it waits for a step: codes where numbers have a scale. ``signed``: by entry and moment."""
    result: State = {}
    for key, value in numbers.items():
        if key in NESTED and isinstance(value, Mapping):
            result[key] = coded_again(dict(value), scales[key], {"": signed.get(key, {})})
        elif key in signed.get("", {}) and isinstance(value, Tensor) and value.numel() and bool((scales[key] >= 0).all()):
            result[key] = _codes(value, scales[key], signed[""][key])
        else:
            result[key] = value
    return result


def _codes(numbers: Tensor, scales: Tensor, signed: bool) -> State:
    values = torch.as_tensor(dynamic_map((SIGNED8 if signed else UNSIGNED8).signed), device=numbers.device)
    middles = (values[1:] + values[:-1]) / 2
    flat, each = numbers.reshape(-1).float(), scales.reshape(-1).float()
    within = flat / torch.where(each > 0, each, 1.0)
    codes = torch.searchsorted(middles, within).to(torch.uint8).reshape(numbers.shape)
    return {"codes": codes, "scales": each[::BLOCK].clone(), "signed": signed}
