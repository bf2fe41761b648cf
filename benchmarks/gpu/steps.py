"""The time of an optimizer step, all optimizers in turn on one set of parameters and gradients.

Two times of an ordinary step. *Alone*: the device's queue is empty before it, as after a loss was read; with many small
kernels this is the time that Python takes to launch them. *Queued*: the device is given work first, long enough for all of
the step to be launched meanwhile, so that only the device's own time is left; a step that waits for the device (it reads a
number) shows that wait here. The step that enters a new period, which makes a new subspace, is timed apart, alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.gpu.optimizers import AGAIN, FUSED, LEFT_OUT, model_with_gradients, optimizers
from benchmarks.gpu.place import Deadline, device, on_gpu, wait
from frugal_gpu.optim.state import state_bytes_held

PERIOD = 200
"""The update gap that the amortised time is for: the papers' default."""

WARM = 4
"""The first steps, which compile, allocate and make the first subspace, are in no median."""


LARGE = 10**9
"""Numbers of a model of which some optimizers are left out, and AdamW's second times are of the same one."""

SVD = "FRUGAL svd"
PATIENCE = 0.25
"""The share of the time that the new bases of singular vectors may take; they are three in the rounds."""

SIDE = 4096
"""Of the matrices whose products keep the GPU at work: some milliseconds each."""


@dataclass
class Times:
    """Milliseconds of one optimizer's steps, by kind."""

    alone: list[float] = field(default_factory=list)
    queued: list[float] = field(default_factory=list)
    entering: list[float] = field(default_factory=list)


def step_times(preset: str, rounds: int, gap: int, seconds: float) -> list[dict[str, Any]]:
    """A row an optimizer. A round is a step of each; periods begin every ``gap`` rounds.

    No round begins after ``seconds``, but some ordinary steps are always timed, and one that enters a period.
    """
    deadline, place = Deadline(seconds), device()
    model = model_with_gradients(preset, place)
    size = sum(parameter.numel() for parameter in model.parameters())
    every = optimizers(gap)
    left_out = set(LEFT_OUT) if size >= LARGE else set()
    if 3 * _svd_seconds(model, place) > PATIENCE * seconds and seconds > 0:
        left_out.add(SVD)
    made = {name: make(model) for name, make in every.items() if name not in left_out}
    if AGAIN in left_out:
        made = {FUSED: made[FUSED], AGAIN: made[FUSED], **made}
    times = {name: Times() for name in made}
    bandwidth = copied_bytes_a_second(place)
    busy = Busy(place)
    for number in range(rounds):
        if number > gap + WARM and deadline.left < 0:
            break
        for name, optimizer in made.items():
            kept = times[name]
            if number % gap == 0:
                found = alone(optimizer.step, place)
                if number > 0:
                    kept.entering.append(found)
            elif number < WARM:
                alone(optimizer.step, place)
            elif number % 2 == 0 or not on_gpu(place):
                kept.alone.append(alone(optimizer.step, place))
            else:
                kept.queued.append(busy.queued(optimizer.step, 2 * _median(kept.alone)))
    rows = {name: _row(name, times[name], size, state_bytes_held(made[name]), bandwidth) for name in made}
    return [{"model": preset, **(_over(rows[name], rows[FUSED]) if name in rows else {"optimizer": name})} for name in every]


def _svd_seconds(model: nn.Module, place: torch.device) -> float:
    """About how long the singular vectors of all its matrices but embeddings and output take, by those of one."""
    if not on_gpu(place):
        return 0.0
    matrices = [x.grad for name, x in model.named_parameters() if x.dim() == 2 and "layers" in name and x.grad is not None]
    alone(lambda: torch.linalg.svd(matrices[0][:64, :64], full_matrices=False), place)
    return 1e-3 * len(matrices) * alone(lambda: torch.linalg.svd(matrices[0], full_matrices=False), place)


def _row(name: str, times: Times, size: int, state: int, bandwidth: float) -> dict[str, Any]:
    ordinary, entering = _median(times.alone), _median(times.entering)
    has_periods = name.startswith("FRUGAL") and "=" not in name
    return {
        "optimizer": name,
        "alone ms": ordinary,
        "alone ms, quartiles": [float(q) for q in np.percentile(times.alone, [25, 75])],
        "queued ms": _median(times.queued) if times.queued else None,
        "queued ms, quartiles": [float(q) for q in np.percentile(times.queued, [25, 75])] if times.queued else None,
        "floor ms": (floor := 1e3 * (12 * size + 2 * state) / bandwidth),
        "share of copy": floor / _median(times.queued) if times.queued else None,
        "entering ms": entering if has_periods else None,
        "amortised ms": ((PERIOD - 1) * ordinary + entering) / PERIOD if has_periods else ordinary,
        "steps": len(times.alone),
    }


def _over(row: dict[str, Any], reference: dict[str, Any]) -> dict[str, Any]:
    """The row with its ratios to the reference of the same run."""
    ratios = {
        f"{kind} ratio": row[f"{kind} ms"] / reference[f"{kind} ms"]
        for kind in ("alone", "queued", "amortised")
        if row[f"{kind} ms"] is not None
    }
    return {**row, **ratios}


def _median(values: list[float]) -> float:
    return float(np.median(values))


def alone(work: Callable[[], object], place: torch.device) -> float:
    """Milliseconds of a piece of work that begins and ends with an idle device: by CUDA events, on a CPU by its clock."""
    wait()
    if not on_gpu(place):
        begin = time.perf_counter()
        work()
        return 1e3 * (time.perf_counter() - begin)
    return _between(work)


def _between(work: Callable[[], object]) -> float:
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    work()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end)


class Busy:
    """Products of matrices that keep a GPU at work while the host runs ahead."""

    def __init__(self, place: torch.device) -> None:
        if not on_gpu(place):
            return
        self.matrix = torch.randn(SIDE, SIDE, device=place)
        self.product = torch.empty_like(self.matrix)
        self._one()
        self.milliseconds = min(alone(self._one, place) for _ in range(3))

    def _one(self) -> None:
        torch.mm(self.matrix, self.matrix, out=self.product)

    def queued(self, work: Callable[[], object], milliseconds: float) -> float:
        """Milliseconds between what stands before and after the work in the queue, ``milliseconds`` of products before."""
        wait()
        for _ in range(1 + int(milliseconds / self.milliseconds)):
            self._one()
        return _between(work)


def copied_bytes_a_second(place: torch.device) -> float:
    """Bytes read and written a second by a copy that no cache can hold: the best of some."""
    source = torch.randn(2**28 if on_gpu(place) else 2**22, device=place)
    target = torch.empty_like(source)
    best = min(alone(lambda: target.copy_(source), place) for _ in range(8))
    return 2 * 4 * source.numel() / (1e-3 * best)


COLUMNS = {
    "optimizer": "optimizer",
    "alone ms": "alone, ms",
    "alone ratio": "× fused",
    "queued ms": "queued, ms",
    "queued ratio": "× fused ",
    "floor ms": "memory's floor, ms",
    "share of copy": "share of copy",
    "entering ms": "new period, ms",
    "amortised ratio": f"T = {PERIOD}, × fused",
}
