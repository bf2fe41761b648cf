"""A GPU: the steps of many tensors in one launch, by :mod:`frugal_gpu.optim.backends.triton_kernels`."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from functools import cache
from importlib.util import find_spec
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from frugal_gpu.optim.backends import foreach
from frugal_gpu.optim.backends.backend import Job, Law
from frugal_gpu.optim.backends.fused import in_memory_order
from frugal_gpu.optim.backends.tables import Table, reciprocals
from frugal_gpu.optim.subspaces import Basis, Free, Full, Units
from frugal_theory.algorithm.parts import ROUNDING

__all__ = ["MULTI_TENSOR", "MultiTensor"]

TYPES = (torch.float32, torch.bfloat16, torch.float16)
FULL_RULES = {foreach.Sgdm: 0, foreach.AdamW: 1, foreach.Lion: 2}
FREE_RULES = {"none": 0, "sgd": 1, "signsgd": 2}

BLOCK = 2048
"""Numbers that a program takes: sixteen a thread, in loads of sixteen bytes."""

UNITS_BLOCK = 512
"""The same of parameters that are split by units: with twice as many a thread runs out of registers."""

WARPS = 4

ROOM = 2**22
"""Numbers of the matrices whose lifted updates are made before their steps are taken; a larger one is alone."""

INTERPRETED = "TRITON_INTERPRET"
"""The variable with which triton runs kernels on a CPU: for tests."""


class Form(NamedTuple):
    """What jobs of one launch have in common."""

    device: torch.device
    kind: str
    x: torch.dtype
    g: torch.dtype
    statistics: torch.dtype
    aligned: bool


class MultiTensor:
    """AdamW, Lion and SGDM on wholes, columns, rows, coordinates and bases; sign, SGD or nothing off them."""

    def __init__(self) -> None:
        self._tables: Any = WeakTensorKeyDictionary()
        self._lookups: Any = WeakTensorKeyDictionary()

    def missing(self) -> str | None:
        """triton and a GPU, or its interpreter."""
        if not _has_triton():
            return "triton (it comes with torch for CUDA)"
        return None if torch.cuda.is_available() or _interpreted() else "a CUDA device"

    def as_it_is(self, law: Law, parameter: Tensor, part: Any, stored: torch.dtype, state: Mapping[str, Any]) -> bool:
        """Whether a parameter with a gradient is stepped in its own form, with float32 arithmetic inside, whatever its type."""
        if type(law.rule) not in FULL_RULES or stored not in TYPES or type(part) not in (Full, Free, Units):
            return False
        statistics = {name: state[name] for name in (*law.rule.vectors, *law.rule.squares, "step") if name in state}
        if any(s.dtype != stored for name, s in statistics.items() if name != "step"):
            return False
        assert parameter.grad is not None
        return _form(law, Job(parameter, parameter.grad, part, statistics)) is not None

    def step_(self, law: Law, jobs: Sequence[Job]) -> list[Job]:
        """Take the steps of tensors of up to 32 bits on a GPU; give back the others."""
        if type(law.rule) not in FULL_RULES:
            return list(jobs)
        left: list[Job] = []
        taken: dict[Form, list[Job]] = defaultdict(list)
        for job in jobs:
            form = _form_again(law, job)
            if form is None:
                left.append(job)
            elif job.parameter.numel():
                taken[form].append(job)
        if taken:
            from frugal_gpu.optim.backends import triton_kernels as kernels

            for form, some in taken.items():
                with torch.cuda.device(form.device) if form.device.type == "cuda" else nullcontext():
                    _Pass(self, kernels, law, form).take(some)
        return left

    def table(self, owner: Tensor, name: Any, device: torch.device) -> Table:
        """The table of this name that is kept for a parameter and those that are stepped with it."""
        kept = self._tables.get(owner)
        if kept is None:
            kept = self._tables[owner] = {}
        if name not in kept:
            kept[name] = Table(device)
        found: Table = kept[name]
        return found

    def room(self, owner: Tensor, name: str, numbers: int, device: torch.device) -> Tensor:
        """At least so many float32 numbers, kept for a parameter and those that are stepped with it."""
        kept = self._tables.setdefault(owner, {})
        if name not in kept or kept[name].numel() < numbers:
            kept[name] = torch.empty(numbers, dtype=torch.float32, device=device)
        found: Tensor = kept[name]
        return found

    def lookup(self, part: Units) -> Tensor:
        """What tells a kernel where the statistics of a number or a unit are, kept as long as the part's index."""
        kept = self._lookups.get(part.index)
        if kept is None or kept[0] != (part.dim, part.shape):
            made = _words(part) if len(part.shape) == 1 else _places(part)
            kept = self._lookups[part.index] = (part.dim, part.shape), made
        found: Tensor = kept[1]
        return found


MULTI_TENSOR = MultiTensor()


@cache
def _has_triton() -> bool:
    return find_spec("triton") is not None


def _interpreted() -> bool:
    return os.environ.get(INTERPRETED) == "1"


def _plain(x: Tensor, g: Tensor) -> bool:
    """Whether these are a parameter and a gradient of a kind that kernels read, where kernels run."""
    if type(x) not in (Tensor, torch.nn.Parameter) or type(g) is not Tensor or x.dtype not in TYPES or g.dtype not in TYPES:
        return False
    where = x.device
    return where == g.device and (where.type == "cuda" or (where.type == "cpu" and _interpreted()))


def _form_again(law: Law, job: Job) -> Form | None:
    """The same, of a job whose gradient lies where it lay, as it was found."""
    place = job.gradient.data_ptr()
    known = job.known.get("triton")
    if known is None or known[0] != place:
        known = job.known["triton"] = place, _form(law, job)
        job.known.pop("triton row", None)
    form: Form | None = known[1]
    return form


def _form(law: Law, job: Job) -> Form | None:
    """The launch that takes a job; None if none does."""
    x, g, part = job.parameter, job.gradient, job.part
    if not _plain(x, g) or (isinstance(law.alpha, Tensor) and law.alpha.device != x.device):
        return None
    moments = [job.statistics[name] for name in (*law.rule.vectors, *law.rule.squares) if name in job.statistics]
    stored = moments[0].dtype if moments else torch.float32
    if stored not in TYPES or any(s.dtype != stored or s.device != x.device for s in moments):
        return None
    step = job.statistics.get("step")
    if isinstance(step, Tensor) and (step.dtype != torch.float32 or step.device != x.device or not step.is_contiguous()):
        return None
    if type(part) is Full or type(part) is Free:
        fits, name = in_memory_order([x, g, *moments]), "whole"
    elif type(part) is Units:
        assert isinstance(part, Units)
        fits = all(t.is_contiguous() for t in (x, g, *moments)) and len(part.index) < 2**31
        name = "coordinates" if len(part.shape) == 1 else ("rows", "columns")[part.dim]
        moments = []
    else:
        fits = (
            isinstance(part, Basis)
            and type(part) is Basis
            and part.columns.dim() == 2
            and part.columns.dtype == torch.float32
            and all(t.is_contiguous() for t in (x, g, *moments))
        )
        name, moments = "basis", []
    if not fits:
        return None
    aligned = all(t.data_ptr() % 16 == 0 for t in (x, g, *moments))
    return Form(x.device, name, x.dtype, g.dtype, stored, aligned)


class _Pass:
    """The steps of tensors of one form under one law."""

    def __init__(self, whole: MultiTensor, kernels: Any, law: Law, form: Form) -> None:
        import triton.language as tl

        self.whole, self.kernels, self.law, self.form, rule = whole, kernels, law, form, law.rule
        given: Any = rule
        first, second = given.betas if hasattr(given, "betas") else (given.beta, 0.0)
        self.block = BLOCK if form.kind in ("whole", "basis") else UNITS_BLOCK
        self.moments = (*rule.vectors, *rule.squares)
        self.tables = [reciprocals(beta if rule.counts else 0.0, form.device) for beta in (first, second)]
        self.rule: dict[str, Any] = {
            **{"beta_1": float(first), "beta_2": float(second), "eps": float(getattr(rule, "eps", 0.0))},
            **{"rest_1": 1.0 - first, "rest_2": 1.0 - second, "FULL": FULL_RULES[type(rule)]},
            **{"ones": self.tables[0], "twos": self.tables[1]},
            **{"last_1": len(self.tables[0]) - 1, "last_2": len(self.tables[1]) - 1},
        }
        on_device = isinstance(law.alpha, Tensor)
        alpha, decay = (1.0, law.decay) if on_device else (law.alpha * law.split_scale, 1.0 - law.alpha * law.decay)
        self.move: dict[str, Any] = {
            **{"alpha_at": law.alpha if on_device else self.tables[0], "alpha": alpha, "decay": float(decay)},
            **{"split": float(law.split_scale), "scale": float(law.scale), "ON_DEVICE": on_device},
            **{"FREE": FREE_RULES[law.free], "ALIGNED": form.aligned},
        }
        types = {torch.float32: tl.float32, torch.bfloat16: tl.bfloat16, torch.float16: tl.float16}
        self.x, self.g, self.statistics = (types[dtype] for dtype in (form.x, form.g, form.statistics))

    def take(self, jobs: Sequence[Job]) -> None:
        """All of them."""
        own = self.law.owner
        self.owner = jobs[0].parameter if own is None or len(jobs) == 1 else own
        if self.law.rule.counts and self.form.kind != "coordinates":
            self._count(jobs)
        if self.form.kind == "basis":
            for some in _stretches(jobs, ROOM):
                self._step_bases(some)
            return
        table = self._table(self.owner, self.form, [job.parameter.numel() for job in jobs], jobs)
        types = {"X": self.x, "G": self.g, "S": self.statistics}
        if self.form.kind == "whole":
            self._run(self.kernels.step_whole, table, launches=table.launches, **self.rule, **self.move, **types)
        else:
            by = ("rows", "columns", "coordinates").index(self.form.kind)
            self._run(self.kernels.step_units, table, **self.rule, **self.move, **types, BY=by)

    def _run(self, kernel: Any, table: Table, block: int | None = None, **arguments: Any) -> None:
        kernel[(table.programs,)](table.rows, table.blocks, BLOCK=block or self.block, num_warps=WARPS, **arguments)

    def _count(self, jobs: Sequence[Job]) -> None:
        """Count this step in the tensors that count on the device."""
        steps = [job.statistics["step"] for job in jobs if isinstance(job.statistics.get("step"), Tensor)]
        if not steps:
            return
        rows = [[0, step.numel(), step.data_ptr(), *[0] * (self.kernels.FIELDS - 3)] for step in steps]
        table = self.whole.table(self.owner, ("counts", self.form), self.form.device)
        table.hold(rows, [step.numel() for step in steps], 1024)
        self._run(self.kernels.count_up, table, block=1024)

    def _table(self, owner: Tensor, name: Any, numels: list[int], jobs: Sequence[Job], xs: Sequence[int] = ()) -> Table:
        """The table of these jobs, one launch on; ``xs``: addresses in place of the parameters', of projected gradients."""
        table = self.whole.table(owner, name, self.form.device)
        table.launches += 1
        rows = [
            self._row(job, numel, xs[i] if xs else job.parameter.data_ptr(), table.launches)
            for i, (job, numel) in enumerate(zip(jobs, numels, strict=True))
        ]
        table.hold(rows, numels, self.block)
        return table

    def _row(self, job: Job, numel: int, x: int, launches: int) -> list[int]:
        """The row of a job, as long as it lies where it lay the one of the step before."""
        row: list[int] | None = job.known.get("triton row")
        step = job.statistics.get("step", 0)
        since = step - launches if isinstance(step, int) and self.law.rule.counts and not isinstance(job.part, Free) else 0
        if row is None or row[2] != x or row[10] != since:
            row = job.known["triton row"] = self._new_row(job, numel, x, since)
        return row

    def _new_row(self, job: Job, numel: int, x: int, since: int) -> list[int]:
        part, statistics, step = job.part, job.statistics, job.statistics.get("step", 0)
        pointers = [statistics[name].data_ptr() for name in self.moments if name in statistics]
        first, second, *_ = (*pointers, 0, 0)
        lookup = width = inside = 0
        if isinstance(part, Units):
            lookup, inside = self.whole.lookup(part).data_ptr(), len(part.index)
            width = 0 if len(part.shape) == 1 else part.shape[1]
        steps = step.data_ptr() if isinstance(step, Tensor) else 0
        kind = 1 if isinstance(part, Free) else 0
        return [kind, numel, x, job.gradient.data_ptr(), first, second, steps, lookup, width, inside, since, 0]

    def _step_bases(self, jobs: Sequence[Job]) -> None:
        """R = P g; x ← κx − α (P⁻¹ rule(R) + free(g − P⁻¹R)): products by torch, the rest in two launches.

        The room in which that is done is the same for all stretches of a group.
        """
        free, device, first = self.law.free != "none", self.form.device, jobs[0].parameter
        owner = self.owner
        numels = [job.parameter.numel() for job in jobs]
        bases = [job.part for job in jobs if isinstance(job.part, Basis)]
        sizes = [torch.Size(part.projected).numel() for part in bases]
        after = self._cut(owner, "after", numels)
        before = self._cut(owner, "before", numels) if free else after
        inside = self._cut(owner, "inside", sizes)
        floors = self.whole.room(owner, "floors", len(jobs), device)
        if free:
            norms = torch._foreach_norm([job.gradient for job in jobs], float("inf"))
            torch.stack(norms, out=floors[: len(jobs)])
        for i, (job, part) in enumerate(zip(jobs, bases, strict=True)):
            exact = job.gradient.view(part.shape).to(torch.float32)
            part.project(exact, inside[i].view(part.projected))
            if free:
                part.lift(inside[i].view(part.projected), before[i].view(part.shape))
        name = "projected", self.form
        table = self._table(first, name, sizes, jobs, [room.data_ptr() for room in inside])
        self._run(self.kernels.update_projected, table, launches=table.launches, **self.rule, S=self.statistics)
        for i, part in enumerate(bases):
            part.lift(inside[i].view(part.projected), after[i].view(part.shape))
        lifted = self.whole.table(first, ("lifted", self.form), device)
        rows = [
            [0, n, j.parameter.data_ptr(), j.gradient.data_ptr(), a.data_ptr(), b.data_ptr(), 0, floors[i].data_ptr(), *[0] * 4]
            for i, (j, n, a, b) in enumerate(zip(jobs, numels, after, before, strict=True))
        ]
        lifted.hold(rows, numels, self.block)
        rounding = ROUNDING * torch.finfo(torch.float32).eps
        self._run(self.kernels.step_lifted, lifted, **self.move, rounding=rounding, X=self.x, G=self.g)

    def _cut(self, owner: Tensor, name: str, sizes: Sequence[int]) -> list[Tensor]:
        """Stretches of so many numbers, each at a multiple of sixteen bytes."""
        padded = [-(-size // 4) * 4 for size in sizes]
        room = self.whole.room(owner, name, sum(padded), self.form.device)
        return [piece[:size] for piece, size in zip(torch.split(room[: sum(padded)], padded), sizes, strict=True)]


def _stretches(jobs: Sequence[Job], most: int) -> list[list[Job]]:
    """The jobs in lists of at most so many numbers, or of one job."""
    lists: list[list[Job]] = [[]]
    size = 0
    for job in jobs:
        if lists[-1] and size + job.parameter.numel() > most:
            lists.append([])
            size = 0
        lists[-1].append(job)
        size += job.parameter.numel()
    return lists


def _places(part: Units) -> Tensor:
    """For every row or column its place in the set; −1 off it."""
    places = torch.full((part.shape[part.dim],), -1, dtype=torch.int32, device=part.index.device)
    members = torch.arange(len(part.index), dtype=torch.int32, device=part.index.device)
    return places.index_copy_(0, part.index.long(), members)


def _words(part: Units) -> Tensor:
    """For every 32 numbers a word: the lower half has a bit for each that is in the set, the upper the rank of the first."""
    index, count = part.index, -(-part.shape[0] // 32)
    words = torch.zeros(count, dtype=torch.int64, device=index.device)
    bits = torch.ones_like(index, dtype=torch.int64) << (index & 31).long()
    words.index_add_(0, (index >> 5).long(), bits)
    begins = torch.arange(0, 32 * count, 32, dtype=index.dtype, device=index.device)
    return words.bitwise_or_(torch.searchsorted(index, begins) << 32)
