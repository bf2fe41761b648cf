"""What kernels of many tensors are told: a table of addresses on the device, kept from step to step.

A step uploads nothing while no address changes. A new table passes through pinned memory, so the host does not wait for the
device; while a CUDA graph is captured the copy becomes part of the graph, from memory that is the graph's alone from then on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Table", "capturing", "reciprocals"]

LONGEST = 2**24
"""Steps that float32 counts up to, and so the longest table of bias corrections."""


def capturing() -> bool:
    """Whether what the host launches now is captured in a CUDA graph instead of run."""
    begun: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return begun and torch.cuda.is_current_stream_capturing()


@dataclass
class Table:
    """Rows of int64 numbers on a device, and the blocks into which their tensors are cut: program i takes block
    ``blocks[i]``, the number of a row and that of a block in its tensor.

    ``launches``: how many were made of the present rows. A count that every launch moves by one is written as its difference
    to that, and the row stays as it is.
    """

    device: torch.device
    launches: int = 0
    rows: Tensor | None = None
    blocks: Tensor | None = None
    programs: int = 0
    _held: list[list[int]] | None = None
    _cut: tuple[int, list[int]] | None = None
    _spare: Tensor | None = None
    _captured: list[Tensor] = field(default_factory=list)

    def hold(self, rows: list[list[int]], numels: list[int], block: int) -> None:
        """Have these rows on the device, and their tensors cut into blocks of so many numbers.

        Raises RuntimeError while a graph is captured if no step was taken before it.
        """
        inside = capturing()
        if self._cut != (block, numels):
            if inside:
                raise RuntimeError("Frugal: a graph is captured before any step was taken outside it: take one, then capture")
            values = _blocks(numels, block)
            self.blocks, self.programs, self._cut = _sent(values, self.device), len(values), (block, numels)
        if inside:
            self._write_in_a_graph(rows)
        elif rows != self._held:
            values = np.array(rows, dtype=np.int64)
            if self.rows is None or len(self.rows) != len(rows):
                self.rows = _sent(values, self.device)
            else:
                self.rows.copy_(_pinned(values, self.device), non_blocking=True)
            self._held = rows
        if self._spare is None or len(self._spare) != len(rows):
            self._spare = None if inside else _pinned(np.zeros((len(rows), len(rows[0])), dtype=np.int64), self.device)

    def _write_in_a_graph(self, rows: list[list[int]]) -> None:
        """The graph brings its own rows: those on the device may be others' when it runs."""
        if self._spare is None or self.rows is None or len(self._spare) != len(rows) or len(self.rows) != len(rows):
            raise RuntimeError("Frugal: a second graph is captured without a step between: take one outside, then capture")
        self._spare.copy_(torch.tensor(rows, dtype=torch.int64))
        self.rows.copy_(self._spare, non_blocking=True)
        self._captured.append(self._spare)
        self._spare, self._held = None, None


def _blocks(numels: list[int], block: int) -> NDArray[Any]:
    counts = np.array([-(-numel // block) for numel in numels], dtype=np.int64)
    rows = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    begins = np.repeat(np.cumsum(counts) - counts, counts)
    return np.stack([rows, (np.arange(len(rows)) - begins).astype(np.int32)], axis=1)


def _pinned(values: NDArray[Any], device: torch.device) -> Tensor:
    """The same in memory that a device reads without the host's help."""
    host = torch.from_numpy(np.ascontiguousarray(values))
    return host.pin_memory() if device.type == "cuda" else host


def _sent(values: NDArray[Any], device: torch.device) -> Tensor:
    """A new tensor on the device, without waiting for it."""
    return _pinned(values, device).to(device, non_blocking=True, copy=True)


_RECIPROCALS: dict[tuple[float, torch.device], Tensor] = {}


def reciprocals(beta: float, device: torch.device) -> Tensor:
    """1 / (1 − βᵏ) in float32 for k = 0 (set to 1), 1, … until it is 1; made on the device, in double precision."""
    key = beta, device
    if (found := _RECIPROCALS.get(key)) is not None:
        return found
    steps = _length(beta)
    if steps == 2:
        made = torch.ones(2, device=device)
    else:
        powers = torch.arange(steps, dtype=torch.float64, device=device).mul_(math.log(beta))
        made = powers.expm1_().reciprocal_().neg_().to(torch.float32)
        made[0].fill_(1.0)
    if not capturing():  # a graph's own memory is nobody else's
        if len(_RECIPROCALS) >= 32:  # schedulers that move β make one a step
            _RECIPROCALS.clear()
        _RECIPROCALS[key] = made
    return made


@cache
def _length(beta: float) -> int:
    return 2 if beta <= 0 else min(LONGEST, int(-17.5 / math.log(beta)) + 3)
