"""The memory of an optimizer above parameters and gradients: the state that it holds, and the peak during a step."""

from __future__ import annotations

import gc
import time
from typing import Any

import torch
from torch import nn

from benchmarks.gpu.optimizers import AGAIN, LISTS, Make, model_with_gradients, optimizers
from benchmarks.gpu.place import MIB, Deadline, device, wait
from frugal_gpu.optim.state import state_bytes_held

LONG = 10.0
"""Seconds of a first step after which the step into a new period, as long again, is not waited for."""


def memory(preset: str, seconds: float) -> list[dict[str, Any]]:
    """A row an optimizer, in MiB; no optimizer is begun after ``seconds``. Peaks are None without a GPU.

    All have the same parameters and gradients, one after another.
    """
    deadline = Deadline(seconds)
    model = model_with_gradients(preset, device())
    square = torch.eye(64, device=device())
    square @ square  # the workspace of matrix products stays with the process, and is nobody's state
    chosen = [(name, make) for name, make in optimizers(2).items() if name not in (AGAIN, LISTS)]
    return [{"model": preset, "optimizer": name, **_of(model, make)} for name, make in chosen if deadline.left > 0]


def _of(model: nn.Module, make: Make) -> dict[str, Any]:
    """The first step, an ordinary one, and one that enters a new period."""
    base = _allocated()
    optimizer = make(model)
    begin = time.monotonic()
    first = _peak(optimizer) - base
    took = time.monotonic() - begin
    ordinary = _peak(optimizer) - base
    entering = _peak(optimizer) - base if took < LONG else None
    kept = _allocated() - base
    gpu = torch.cuda.is_available()
    return {
        "parameters MiB": 4 * sum(parameter.numel() for parameter in model.parameters()) / MIB,
        "state bytes": state_bytes_held(optimizer),
        "state MiB": state_bytes_held(optimizer) / MIB,
        "kept MiB": kept / MIB if gpu else None,
        "ordinary peak MiB": ordinary / MIB if gpu else None,
        "first peak MiB": first / MIB if gpu else None,
        "entering peak MiB": entering / MIB if gpu and entering is not None else None,
    }


def _allocated() -> int:
    """Bytes in use, without those of objects that nothing but a cycle holds."""
    if not torch.cuda.is_available():
        return 0
    gc.collect()
    wait()
    return torch.cuda.memory_allocated()


def _peak(optimizer: torch.optim.Optimizer) -> int:
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    optimizer.step()
    wait()
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0


COLUMNS = {
    "optimizer": "optimizer",
    "state MiB": "state, MiB",
    "kept MiB": "kept, MiB",
    "ordinary peak MiB": "peak of a step, MiB",
    "first peak MiB": "of the first step",
    "entering peak MiB": "of one into a new period",
}
