"""One step of Algorithm 1 by accelerated rules on lists of tensors, a stretch at a time: split, update, join, apply."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from frugal_gpu.optim.backends.backend import Chosen, InPlace, Job, Law
from frugal_gpu.optim.backends.foreach import AdamW, state_free_update
from frugal_gpu.optim.backends.tables import capturing
from frugal_gpu.optim.subspaces import Basis, Free, Full, HeldUnits, OffBlock, Part, Units
from frugal_theory.config.registry import SUBSPACES

__all__ = ["CACHED", "divides", "is_frozen", "job_of", "move_scale", "step_in_stretches", "stretch"]

CACHED = 2**17
"""Numbers of a stretch on a CPU: with the temporaries of a rule they stay in its cache."""

QUEUED = 2**21
"""At least as many on other devices, where every launch costs a few microseconds."""


def job_of(
    rule: InPlace,
    parameter: Tensor,
    part: Chosen,
    states: Mapping[Tensor, dict[str, Any]],
    counted: bool = False,
    dtype: torch.dtype | None = None,
) -> Job:
    """The job of a parameter that has a gradient, with the statistics of its state-full part: zeros where there are none yet.

    ``states`` is the optimizer's defaultdict. ``counted``: steps are counted in tensors, on the parameter's device. ``dtype``:
    of statistics that are made, by default the gradient's.
    """
    gradient = parameter.grad
    assert gradient is not None
    if isinstance(part, Free):
        return Job(parameter, gradient, part, {})
    state = states[parameter]
    names = rule.vectors + rule.squares
    if names[0] not in state:
        if capturing():  # every replay would begin with zeros
            raise RuntimeError(
                "Frugal: a parameter has its first gradient while a graph is captured: take a step outside first"
            )
        like = _state_full_part(part, gradient)
        state.update({name: torch.zeros_like(like, dtype=dtype, device=gradient.device) for name in names})
        if rule.counts:
            state["step"] = _no_steps(part, gradient, counted)
    if isinstance(state.get("step"), int) and rule.counts:
        if counted:
            state["step"] = torch.full((), float(state["step"]), device=gradient.device)
        else:
            state["step"] += 1
    return Job(parameter, gradient, part, {name: state[name] for name in (*names, *(("step",) if rule.counts else ()))})


def _no_steps(part: Chosen, gradient: Tensor, counted: bool) -> Tensor | int:
    steps = part.no_steps(gradient.dtype) if isinstance(part, Units) else 0
    return torch.zeros((), device=gradient.device) if counted and isinstance(steps, int) else steps


def _state_full_part(part: Chosen, gradient: Tensor) -> Tensor:
    """A tensor with the shape, dtype and strides of what the statistics cover, without memory of its own."""
    if isinstance(part, Full | OffBlock):
        return gradient
    if isinstance(part, HeldUnits):
        shape = part.shape
    elif isinstance(part, Units):
        shape = part.covered
    else:
        assert isinstance(part, Basis)
        shape = part.projected
    return torch.empty(shape, dtype=gradient.dtype, device="meta")


def step_in_stretches(law: Law, jobs: Sequence[Job]) -> None:
    """The steps of these jobs: those of one device, dtype and way to count together, a stretch of numbers at a time.

    So the temporaries of a step are a few stretches, or a few times the largest parameter that is split by units or a basis.
    """
    alike: dict[Any, list[Job]] = defaultdict(list)
    for job in _by_torch(law, jobs):
        alike[job.parameter.device, job.parameter.dtype, type(job.statistics.get("step"))].append(job)
    for (device, _, _), some in alike.items():
        if isinstance(some[0].statistics.get("step"), Tensor):
            _count(some)
        for pieces in stretches(some, stretch(device, sum(job.parameter.numel() for job in some))):
            _apply(law, [_share(piece) for piece in pieces])


def _by_torch(law: Law, jobs: Sequence[Job]) -> list[Job]:
    """torch's fused AdamW on the whole parameters that it takes: no temporaries, one launch. Gives back the other jobs."""
    rule = law.rule
    if type(rule) is not AdamW or law.split_scale == 0:
        return list(jobs)
    taken: dict[Any, list[Job]] = defaultdict(list)
    left: list[Job] = []
    for job in jobs:
        x, statistics = job.parameter, job.statistics
        alike = (job.gradient, *(statistics.get(name, x) for name in ("exp_avg", "exp_avg_sq")))
        same = all(t.dtype == x.dtype and t.device == x.device and t.stride() == x.stride() for t in alike)
        known = isinstance(job.part, Full) and type(x) in (Tensor, torch.nn.Parameter) and x.device.type in ("cpu", "cuda")
        if known and same and x.is_contiguous() and x.dtype in (torch.float32, torch.float64):
            taken[x.device, x.dtype].append(job)
        else:
            left.append(job)
    for (device, _), some in taken.items():
        counts = [job.statistics["step"] for job in some]
        steps = [c.add_(1.0) if isinstance(c, Tensor) else torch.full((), float(c), device=device) for c in counts]
        torch._fused_adamw_(
            [job.parameter for job in some],
            [job.gradient for job in some],
            [job.statistics["exp_avg"] for job in some],
            [job.statistics["exp_avg_sq"] for job in some],
            [],
            steps,
            lr=law.alpha * law.split_scale,
            beta1=rule.betas[0],
            beta2=rule.betas[1],
            weight_decay=law.decay / law.split_scale,
            eps=rule.eps,
            amsgrad=False,
            maximize=False,
        )
    return left


def stretch(device: torch.device, total: int) -> int:
    """How many numbers are stepped at a time, of ``total`` on a device."""
    return CACHED if device.type == "cpu" else max(QUEUED, total // 32)


def stretches(jobs: Sequence[Job], most: int) -> Iterator[list[Job]]:
    """The jobs in lists of at most ``most`` numbers, whole parameters cut where they are longer; a split one is not cut."""
    batch: list[Job] = []
    size = 0
    for job in jobs:
        for piece in _pieces(job, most):
            if batch and size + piece.parameter.numel() > most:
                yield batch
                batch, size = [], 0
            batch.append(piece)
            size += piece.parameter.numel()
    if batch:
        yield batch


def _pieces(job: Job, most: int) -> Iterator[Job]:
    tensors = [job.parameter, job.gradient, *(s for name, s in job.statistics.items() if name != "step")]
    whole = isinstance(job.part, Full | Free | OffBlock)
    if not whole or job.parameter.numel() <= most or not all(tensor.is_contiguous() for tensor in tensors):
        yield job
        return
    for begin in range(0, job.parameter.numel(), most):
        x, g, *statistics = (tensor.view(-1)[begin : begin + most] for tensor in tensors)
        names = [name for name in job.statistics if name != "step"]
        cut: dict[str, Any] = dict(zip(names, statistics, strict=True))
        yield Job(x, g, job.part, {name: cut.get(name, value) for name, value in job.statistics.items()})


def _count(jobs: Sequence[Job]) -> None:
    """Count this step in the tensors that count by unit, under "hold" for the units in the set only."""
    counts = [job.statistics["step"] for job in jobs if not isinstance(job.part, HeldUnits)]
    if counts:
        torch._foreach_add_(counts, 1.0)
    for job in jobs:
        if isinstance(job.part, HeldUnits):
            steps = job.statistics["step"]
            job.part.write_(steps, job.part.select(steps) + 1.0)


@dataclass
class Share:
    """One parameter's share of a step: its gradient in two parts, the statistics, and what the rules make of them.

    ``held`` are the full-size statistics of which ``statistics`` is the selection, under the reading "hold" only.
    """

    parameter: Tensor
    part: Chosen
    g_full: Tensor | None
    g_free: Tensor | None
    statistics: dict[str, Any] = field(default_factory=dict)
    held: dict[str, Any] = field(default_factory=dict)
    update: Tensor | None = None
    free: Tensor | None = None


def _share(job: Job) -> Share:
    g_full, g_free = job.part.split(job.gradient)
    if g_full is not None and isinstance(job.part, HeldUnits):
        seen = {name: job.part.select(s) for name, s in job.statistics.items()}
        return Share(job.parameter, job.part, g_full, g_free, seen, job.statistics)
    return Share(job.parameter, job.part, g_full, g_free, job.statistics)


def _apply(law: Law, shares: Sequence[Share]) -> None:
    """Run both rules on shares of one kind and move their parameters: x ← (1 − α · decay) x − α · scale · u."""
    _state_full(law.rule, [share for share in shares if share.g_full is not None])
    if law.free != "none":
        _state_free(law, [share for share in shares if share.g_free is not None])
    shares = [share for share in shares if not is_frozen(law.free, share.part, law.divided)]
    if shares and law.decay != 0:
        torch._foreach_mul_([share.parameter for share in shares], 1 - law.alpha * law.decay)
    moves = [(share.parameter, u) for share in shares if (u := share.part.join(share.update, share.free)) is not None]
    if not moves:
        return
    parameters, updates = [x for x, _ in moves], [u.reshape(x.shape) for x, u in moves]
    if isinstance(law.alpha, Tensor):
        torch._foreach_sub_(parameters, torch._foreach_mul(updates, law.alpha * law.split_scale))
    else:
        torch._foreach_add_(parameters, updates, alpha=-law.alpha * law.split_scale)


def move_scale(group: Mapping[str, Any]) -> float:
    """The factor on the learning rate, and not on the decay, of a group that is split."""
    return float(group["split_lr_scale"]) if group["split"] is True else 1.0


def divides(group: Mapping[str, Any]) -> bool:
    """Whether the subspace takes parameters whole, and in units only those that are larger than its window."""
    return bool(SUBSPACES[group["subspace"]].whole) and group["set"] is None


def is_frozen(free: str, part: Part, divided: bool) -> bool:
    """Whether a parameter is off the set as a whole with nothing to move it: it does not decay then.

    ``divided``: whether units are those of a block that was divided (:func:`divides`); elsewhere a parameter without units in
    the set is not off it as a whole.
    """
    if free != "none":
        return False
    return isinstance(part, Free | OffBlock) or (divided and isinstance(part, Units) and len(part.index) == 0)


def _state_full(rule: InPlace, shares: Sequence[Share]) -> None:
    if not shares:
        return
    statistics = {name: [share.statistics[name] for share in shares] for name in shares[0].statistics}
    counts = statistics.pop("step", [])
    updates = rule.update_(statistics, [share.g_full for share in shares if share.g_full is not None], counts)
    for share, update in zip(shares, updates, strict=True):
        share.update = update.to(share.parameter.dtype)
        if isinstance(share.part, HeldUnits):
            for name, stored in share.held.items():
                if name != "step":
                    share.part.write_(stored, share.statistics[name])


def _state_free(law: Law, shares: Sequence[Share]) -> None:
    if not shares:
        return
    residuals = [share.g_free for share in shares if share.g_free is not None]
    updates = state_free_update(law.free, law.scale, residuals)
    for share, update in zip(shares, updates, strict=True):
        share.free = update
