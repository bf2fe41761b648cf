"""The state that an optimizer holds, as measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

__all__ = ["state_bytes_held"]


def state_bytes_held(optimizer: torch.optim.Optimizer) -> int:
    """Bytes of every tensor in an optimizer's state."""
    return sum(_bytes(state) for state in optimizer.state.values())


def _bytes(state: Mapping[str, Any]) -> int:
    tensors = [value for value in state.values() if isinstance(value, torch.Tensor)]
    nested = [value for value in state.values() if isinstance(value, Mapping)]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors) + sum(map(_bytes, nested))
