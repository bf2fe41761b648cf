"""Arithmetic in fewer bits: what is computed in which dtype, and what keeps small gradients of float16 from vanishing."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

__all__ = ["arithmetic", "scaler", "weights"]

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
"""Of the matrix products, where weights stay float32."""


def arithmetic(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """The context in which losses are computed."""
    if precision not in DTYPES:
        return nullcontext()
    return torch.autocast(device.type, DTYPES[precision])


def weights(precision: str) -> torch.dtype:
    """The dtype of the weights."""
    return torch.bfloat16 if precision == "pure-bf16" else torch.float32


def scaler(precision: str, device: torch.device) -> torch.amp.GradScaler | None:
    """For float16, the scale of the loss: halved after an overflow, doubled after 2000 steps without one."""
    return torch.amp.GradScaler(device.type) if precision == "fp16" else None
