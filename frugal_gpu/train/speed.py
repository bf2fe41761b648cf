"""How fast a run was, and what it needed: tokens a second, the share of the device's peak, and memory."""

from __future__ import annotations

import sys
from typing import Any

import torch

__all__ = ["flops_per_token", "peak_flops", "peak_memory", "speed"]

PEAKS = {"H100": 989.4e12, "H200": 989.4e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12}
"""Dense bfloat16 FLOP a second of NVIDIA's data sheets (SXM where there are several), by a part of the device's name."""


def flops_per_token(model: Any, length: int) -> float:
    """FLOP of forward and backward a token, 6N + 12·L·h·T (PaLM, arXiv 2204.02311, appendix B): N parameters without the
    input embedding unless it is the head, too; L layers of width h, T the sequence length."""
    table = model.get_input_embeddings().weight
    tied = getattr(model.get_output_embeddings(), "weight", None) is table
    count = sum(parameter.numel() for parameter in model.parameters()) - (0 if tied else table.numel())
    shape = model.config
    return 6.0 * count + 12.0 * shape.num_hidden_layers * shape.hidden_size * length


def peak_flops(device: torch.device) -> float | None:
    """The device's peak in bfloat16; None where it is not known."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((peak for part, peak in PEAKS.items() if part in name), None)


def peak_memory(device: torch.device) -> int | None:
    """Bytes that this process has held at once, at most: on the GPU, or of the process itself; None where that is not known."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def speed(model: Any, device: torch.device, processes: int, length: int, tokens: int, seconds: float) -> dict[str, Any]:
    """What summary.json says of it. ``mfu``, the share of the peak, counts the time of the probes, too."""
    rate = tokens / seconds if seconds > 0 else 0.0
    work, peak = flops_per_token(model, length), peak_flops(device)
    return {
        "tokens_per_second": round(rate, 1),
        "flops_per_token": work,
        "mfu": None if peak is None else round(work * rate / (peak * processes), 4),
        "peak_memory_bytes": peak_memory(device),
    }
