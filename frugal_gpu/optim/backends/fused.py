"""The CPU: the step of every parameter in one pass over its numbers, by :mod:`frugal_gpu.optim.backends.kernels`."""

from __future__ import annotations

import itertools
import os
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from frugal_gpu.optim.backends import foreach
from frugal_gpu.optim.backends.announcing import prepare
from frugal_gpu.optim.backends.backend import Job, Law
from frugal_gpu.optim.subspaces import Basis, Free, Full, Units
from frugal_theory.algorithm.parts import ROUNDING

__all__ = ["FUSED", "Fused", "in_memory_order"]

TYPES = (torch.float32, torch.float64)
KNOWN = (foreach.Sgdm, foreach.AdamW, foreach.Lion)

SHARE = 2**16
"""Numbers below which a thread is not worth waking."""

PORTIONS = 8
"""Portions of the work for every thread, so that one that is held up leaves the rest to the others."""

LOOKED_UP = 2**16
"""The bias corrections of units are tables of at most so many steps."""


class Fused:
    """AdamW, Lion and SGDM on wholes, columns, rows, coordinates and bases; sign, SGD or nothing off them."""

    def missing(self) -> str | None:
        """numba is an extra."""
        return None if find_spec("numba") else "numba (pip install 'frugal-lab[fast]')"

    def as_it_is(self, *_: Any) -> bool:
        """Its tensors are of one type."""
        return False

    def step_(self, law: Law, jobs: Sequence[Job]) -> list[Job]:
        """Take the steps of contiguous float32 and float64 tensors on a CPU; give back the others."""
        if type(law.rule) not in KNOWN or isinstance(law.alpha, Tensor):
            return list(jobs)
        left: list[Job] = []
        taken: dict[torch.dtype, list[Job]] = defaultdict(list)
        for job in jobs:
            if (known := job.known.get("fused")) is None:
                known = job.known["fused"] = _knows(job)
            if not known:
                left.append(job)
            elif job.parameter.numel():
                taken[job.parameter.dtype].append(job)
        for dtype, some in taken.items():
            _Pass(law, dtype).take(some)
        return left


FUSED = Fused()


def _knows(job: Job) -> bool:
    x, g, part = job.parameter, job.gradient, job.part
    plain = type(x) in (Tensor, torch.nn.Parameter) and type(g) is Tensor and x.device.type == "cpu" == g.device.type
    if not plain or x.dtype not in TYPES or g.dtype != x.dtype:
        return False
    statistics = [s for s in job.statistics.values() if isinstance(s, Tensor)]
    if any(s.dtype != x.dtype or s.device != x.device for s in statistics):
        return False
    if type(part) in (Full, Free):
        moments = [s for name, s in job.statistics.items() if name != "step"]
        return not isinstance(job.statistics.get("step"), Tensor) and in_memory_order([x, g, *moments])
    fits = type(part) is Basis and part.columns.dim() == 2 and part.columns.dtype == x.dtype and part.columns.is_contiguous()
    fits |= type(part) is Units and part.index.dtype == torch.int32
    return fits and all(t.is_contiguous() for t in (x, g, *statistics))


def in_memory_order(tensors: Sequence[Tensor]) -> bool:
    """Whether tensors of one shape can be walked through in the order of their numbers in memory, all in the same."""
    x, *others = tensors
    if all(t.is_contiguous() for t in tensors):
        return True
    return _dense(x) and all(t.stride() == x.stride() for t in others)


def _dense(x: Tensor) -> bool:
    """Whether a tensor fills a stretch of memory without holes and overlaps, in whatever order."""
    along = sorted((stride, size) for stride, size in zip(x.stride(), x.shape, strict=True) if size > 1)
    expected = 1
    for stride, size in along:
        if stride != expected:
            return False
        expected *= size
    return True


class _Pass:
    """The steps of tensors of one dtype under one law."""

    def __init__(self, law: Law, dtype: torch.dtype) -> None:
        from frugal_gpu.optim.backends import kernels

        self.kernels = kernels
        self.law, self.rule, self.alpha = law, law.rule, float(law.alpha)
        self.dtype = dtype
        self._kept: dict[int, tuple[float, float]] = {}
        self.numpy = np.dtype(str(dtype).removeprefix("torch."))
        rule: Any = law.rule
        first, second = rule.betas if hasattr(rule, "betas") else (rule.beta, 0.0)
        self.betas, self.eps = (float(first), float(second)), float(getattr(rule, "eps", 0.0))
        counted = rule.counts
        self.known = tuple(_reciprocals(beta) if counted else np.ones(1) for beta in self.betas)
        self.full = kernels.FULL_RULES[{foreach.Sgdm: "sgdm", foreach.AdamW: "adamw", foreach.Lion: "lion"}[type(rule)]]
        self.free = kernels.FREE_RULES[law.free]
        numbers = (self.alpha * law.split_scale, law.scale, *self.betas, self.eps, 1 - self.betas[0], 1 - self.betas[1])
        self.scalars = np.array([1 - self.alpha * law.decay, *numbers], dtype=self.numpy)

    def take(self, jobs: Sequence[Job]) -> None:
        """All of them: first everything without a basis in one go, then the others one by one."""
        counts = [
            j.statistics["step"] for j in jobs if isinstance(j.part, Units) and len(j.part.shape) > 1 and self.rule.counts
        ]
        if counts:  # of columns and rows; coordinates are counted where they are stepped
            torch._foreach_add_(counts, 1.0)
        rows: list[Any] = []
        factors: list[tuple[float, float, float]] = []
        start = 0
        for job in jobs:
            if not isinstance(job.part, Basis):
                rows.append(row := self._row(job, start))
                factors.append(self._factors(job))
                start += row[2]
        self._run(rows, factors, start)
        bases = [job for job in jobs if isinstance(job.part, Basis)]
        room = torch.empty(2, max((job.parameter.numel() for job in bases), default=0), dtype=self.dtype)
        for job in bases:
            self._step_basis(job, room)

    def _row(self, job: Job, start: int) -> Any:
        row = job.known.get("fused row")
        if row is None:
            row = job.known["fused row"] = self._new_row(job)
        return row[0], start, *row[2:6], job.gradient.data_ptr(), *row[7:]

    def _new_row(self, job: Job) -> Any:
        kernels, part, x = self.kernels, job.part, job.parameter
        first, second = self._moments(job)
        common = {"start": 0, "numel": x.numel(), "x": x.data_ptr(), "g": 0, "first": first, "second": second}
        if not isinstance(part, Units):
            kind = kernels.FULL if isinstance(part, Full) else kernels.FREE
            return kernels.Row(kind, units=1, inside=0, **common)
        steps = job.statistics["step"].data_ptr() if self.rule.counts else 0
        kind = kernels.COORDINATES if len(part.shape) == 1 else (kernels.ROWS, kernels.COLUMNS)[part.dim]
        units = 1 if len(part.shape) == 1 else part.shape[1]
        members = part.index.data_ptr()
        return kernels.Row(kind, units=units, inside=len(part.index), steps=steps, members=members, **common)

    def _moments(self, job: Job) -> tuple[int, int]:
        pointers = [job.statistics[name].data_ptr() for name in self.rule.vectors + self.rule.squares if name in job.statistics]
        first, second, *_ = (*pointers, 0, 0)
        return first, second

    def _factors(self, job: Job, floor: float = 0.0) -> tuple[float, float, float]:
        """1 / (1 − βᵏ) of a tensor whose steps are counted as a whole, and the rounding of a residual."""
        count = job.statistics.get("step", 0)
        if not self.rule.counts or not isinstance(count, int) or count == 0:
            return 1.0, 1.0, floor
        if (kept := self._kept.get(count)) is None:  # most tensors have the same count
            kept = self._kept[count] = 1 / (1 - self.betas[0] ** count), 1 / (1 - self.betas[1] ** count)
        return *kept, floor

    def _step_basis(self, job: Job, room: Tensor) -> None:
        """R = P g; x ← κx − α (P⁻¹ rule(R) + free(g − P⁻¹R)): matrix products into ``room``, one pass over the rest."""
        part, kernels = job.part, self.kernels
        assert isinstance(part, Basis)
        gradient, numel = job.gradient.view(part.shape), job.parameter.numel()
        before, after = (room[i, :numel].view(part.shape) for i in (0, 1))
        inside = torch.empty(part.projected, dtype=self.dtype)
        part.project(gradient, inside)
        factors = self._factors(job)
        floor = 0.0
        if self.law.free != "none":
            part.lift(inside, before)
            largest = max(abs(float(extreme)) for extreme in torch.aminmax(gradient))  # a norm takes five times as long
            floor = ROUNDING * torch.finfo(self.dtype).eps * largest
        first, second = self._moments(job)
        at = inside.data_ptr()
        row = kernels.Row(kernels.UPDATE, 0, inside.numel(), 1, 0, at, at, first, second)
        self._run([row], [factors], inside.numel())
        part.lift(inside, after)
        projected = before.data_ptr() if self.law.free != "none" else 0
        x, g = job.parameter.data_ptr(), job.gradient.data_ptr()
        row = kernels.Row(kernels.LIFTED, 0, numel, 1, 0, x, g, projected, lifted=after.data_ptr())
        self._run([row], [(1.0, 1.0, floor)], numel)

    def _run(self, rows: Sequence[Any], factors: Sequence[tuple[float, float, float]], total: int) -> None:
        """The step of all rows, shared among torch's threads."""
        if not total:
            return
        table = np.array(rows, dtype=np.int64)
        values = np.array(factors, dtype=self.numpy)
        betas = np.array(self.betas)
        threads = min(torch.get_num_threads(), 1 + total // SHARE)
        portions = threads * PORTIONS if threads > 1 else 1
        bounds = [total * i // portions for i in range(portions + 1)]
        turn = itertools.count()

        def work() -> None:
            while (i := next(turn)) < portions:
                self.kernels.advance(*law, bounds[i], bounds[i + 1])

        law = (table, values, self.full, self.free, self.scalars, *self.known, betas)
        prepare(str(self.numpy), lambda: self.kernels.advance(*law, 0, 0))  # a call without numbers compiles, too
        others = [_threads(os.getpid(), threads - 1).submit(work) for _ in range(threads - 1)]
        work()
        for other in others:
            other.result()


@lru_cache(maxsize=4)
def _threads(process: int, count: int) -> ThreadPoolExecutor:  # noqa: ARG001  # a forked process has none of its parent's
    return ThreadPoolExecutor(count, thread_name_prefix="frugal")


@lru_cache(maxsize=16)
def _reciprocals(beta: float) -> NDArray[np.float64]:
    """1 / (1 − βᵏ) for k = 0 (set to 1), 1, … until it is 1 in double precision, or for a limited number of steps."""
    steps = 2 if beta == 0 else min(LOOKED_UP, int(-37.0 / np.log(beta)) + 2)
    powers = beta ** np.arange(steps, dtype=np.float64)
    return 1 / np.concatenate([[1.0], 1 - powers[1:]])
