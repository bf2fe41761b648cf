"""Subspaces on tensors: how a gradient is split into its state-full part and the residual, and joined again.

The choice of units is that of :mod:`frugal_theory.algorithm.selection`: the same integer arithmetic, on the
parameter's device where the draw is large. A matrix here is ``(shape[0], -1)``: trailing dimensions are flattened;
under ``experts`` a parameter of three dimensions is as many matrices as its first one says, each with a draw of its own.

Every part offers ``split(gradient) -> (g_full, g_free)`` and ``join(update, free) -> u``. None stands for "nothing":
no state-full part, no residual, or a state-free rule without an update.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from frugal_gpu.optim.layout import Turning, layout_of
from frugal_theory.algorithm.kinds import Blocks, Drawn, Scheduled
from frugal_theory.algorithm.parts import ROUNDING
from frugal_theory.algorithm.selection import (
    budget,
    independent_units,
    layers,
    selection_key,
    subset,
    uniform_bits,
)
from frugal_theory.algorithm.subspaces import blocks_of, members
from frugal_theory.config.registry import SUBSPACES

__all__ = [
    "Basis",
    "DecayingUnits",
    "Free",
    "Full",
    "HeldUnits",
    "OffBlock",
    "Part",
    "Sketch",
    "Turning",
    "Units",
    "choose_parts",
    "matrix_shape",
    "seen_shape",
    "with_columns",
]

Split = tuple[Tensor | None, Tensor | None]


@dataclass(frozen=True)
class Full:
    """The whole parameter is state-full."""

    def split(self, gradient: Tensor) -> Split:
        """(g, nothing)."""
        return gradient, None

    def join(self, update: Tensor | None, free: Tensor | None) -> Tensor | None:  # noqa: ARG002
        """The state-full update."""
        return update


@dataclass(frozen=True)
class Free:
    """The whole parameter is state-free."""

    def split(self, gradient: Tensor) -> Split:
        """(nothing, g)."""
        return None, gradient

    def join(self, update: Tensor | None, free: Tensor | None) -> Tensor | None:  # noqa: ARG002
        """The state-free update."""
        return free


@dataclass(frozen=True)
class OffBlock:
    """A block off the set under the reading "decay": its statistics see a zero gradient, it moves by the state-free rule."""

    def split(self, gradient: Tensor) -> Split:
        """(0, g)."""
        return torch.zeros_like(gradient), gradient

    def join(self, update: Tensor | None, free: Tensor | None) -> Tensor | None:  # noqa: ARG002
        """The state-free update."""
        return free


@dataclass(frozen=True)
class Units:
    """The units of ``index`` (ascending) along ``dim`` of the gradient seen in ``shape``: coordinates, columns or rows.

    Statistics are compact: they cover the units in the set only.
    """

    index: Tensor
    dim: int
    shape: tuple[int, ...]

    @property
    def covered(self) -> tuple[int, ...]:
        """The shape of the units in the set."""
        return (*self.shape[: self.dim], len(self.index), *self.shape[self.dim + 1 :])

    def split(self, gradient: Tensor) -> Split:
        """(g on the set, g). The residual still has the set's entries; ``join`` overwrites them."""
        gradient = gradient.reshape(self.shape)
        return self.select(gradient), gradient

    def join(self, update: Tensor | None, free: Tensor | None) -> Tensor | None:
        """The update on the set, the state-free update off it."""
        assert update is not None
        return self.lift(update) if free is None else self.write_(free, update)

    def select(self, values: Tensor) -> Tensor:
        """The entries of the units in the set."""
        return values.index_select(self.dim, self.index)

    def write_(self, values: Tensor, compact: Tensor) -> Tensor:
        """Overwrite the entries of the units in the set. On the CPU scatter_ takes a fifth of index_copy_'s time."""
        along = [-1 if axis == self.dim else 1 for axis in range(compact.dim())]
        return values.scatter_(self.dim, self.index.long().view(along).expand_as(compact), compact)

    def lift(self, compact: Tensor) -> Tensor:
        """Zeros off the set, ``compact`` on it; right for counts, one a unit, too."""
        shape = list(compact.shape)
        shape[self.dim] = self.shape[self.dim]
        return self.write_(compact.new_zeros(shape), compact)

    def no_steps(self, dtype: torch.dtype) -> Tensor | int:
        """Zero steps counted, in a tensor with one number a unit of the set that broadcasts against the statistics."""
        return self._zeros(len(self.index), dtype)

    def _zeros(self, units: int, dtype: torch.dtype) -> Tensor:
        shape = [1] * len(self.shape)
        shape[self.dim] = units
        return torch.zeros(shape, dtype=at_least_float32(dtype), device=self.index.device)


@dataclass(frozen=True)
class HeldUnits(Units):
    """Units under the reading "hold": statistics cover every unit and are frozen off the set."""

    def no_steps(self, dtype: torch.dtype) -> Tensor | int:
        """The same with one number for every unit."""
        return self._zeros(self.shape[self.dim], dtype)


@dataclass(frozen=True)
class DecayingUnits(Units):
    """Units under the reading "decay": statistics cover every unit and see a zero gradient off the set."""

    @property
    def covered(self) -> tuple[int, ...]:
        """Every unit."""
        return self.shape

    def split(self, gradient: Tensor) -> Split:
        """(g with zeros off the set, g)."""
        compact, rest = super().split(gradient)
        assert compact is not None
        return self.lift(compact), rest

    def join(self, update: Tensor | None, free: Tensor | None) -> Tensor | None:
        """The update on the set, the state-free update off it."""
        assert update is not None
        return super().join(self.select(update), free)

    def no_steps(self, dtype: torch.dtype) -> Tensor | int:  # noqa: ARG002
        """One number for all units: with zero gradients, time passes off the set too."""
        return 0


@dataclass(frozen=True)
class Basis:
    """Orthonormal columns Q, shape (length, rank), acting from the left (QᵀG), the right (GQ) or on a vector (Qᵀg).

    Of E experts there are E of them side by side, (E, length, rank), each for its own matrix of the gradient (E, m, n).

    Q is float32 or float64 and so is the arithmetic with it; statistics and updates have the gradient's dtype.
    """

    columns: Tensor
    side: str
    shape: tuple[int, ...]

    def split(self, gradient: Tensor) -> Split:
        """(P g, g − PᵀP g), the residual without rounding noise (see ``frugal_theory.algorithm.parts.ROUNDING``)."""
        exact = gradient.reshape(self.shape).to(self.columns.dtype)
        full = self.project(exact)
        rest = exact - self.lift(full)
        largest = exact.abs().amax(dim=(-2, -1), keepdim=True) if len(self.shape) > 2 else exact.abs().max()
        floor = ROUNDING * torch.finfo(rest.dtype).eps * largest
        rest.masked_fill_(rest.abs() <= floor, 0.0)
        return full.to(gradient.dtype), rest.to(gradient.dtype)

    def join(self, update: Tensor | None, free: Tensor | None) -> Tensor | None:
        """Pᵀu plus the state-free update."""
        assert update is not None
        lifted = self.lift(update.to(self.columns.dtype)).to(update.dtype)
        return lifted if free is None else lifted.add_(free)

    def turn(self, old: Basis, statistic: Tensor, square: bool) -> Tensor:
        """Statistics of the old basis in the coordinates of this one: Rm with R = QᵀQ_old, (R∘R)v for second moments."""
        rotation = self.columns.mT @ old.columns
        if square:
            rotation = rotation.square()
        exact = statistic.to(rotation.dtype)
        turned = exact @ rotation.mT if self.side == "right" else rotation @ exact
        return turned.to(statistic.dtype)

    @property
    def projected(self) -> tuple[int, ...]:
        """The shape of P g."""
        rank, ahead = self.columns.shape[-1], self.shape[:-2]
        return {"left": (*ahead, rank, self.shape[-1]), "right": (*self.shape[:-1], rank)}.get(self.side, (rank,))

    def project(self, exact: Tensor, out: Tensor | None = None) -> Tensor:
        """P g of a gradient in the dtype of the columns."""
        pair = (exact, self.columns) if self.side == "right" else (self.columns.mT, exact)
        return torch.matmul(*pair, out=out)

    def lift(self, update: Tensor, out: Tensor | None = None) -> Tensor:
        """Pᵀu."""
        pair = (update, self.columns.mT) if self.side == "right" else (self.columns, update)
        return torch.matmul(*pair, out=out)


@dataclass(frozen=True)
class Sketch(Basis):
    """Columns that need not be orthonormal: the state-full rule sees P g, and everything is left to the state-free rule."""

    def split(self, gradient: Tensor) -> Split:
        """(P g, g)."""
        exact = gradient.reshape(self.shape).to(self.columns.dtype)
        full = exact @ self.columns if self.side == "right" else self.columns.mT @ exact
        return full.to(gradient.dtype), gradient.reshape(self.shape)

    def join(self, update: Tensor | None, free: Tensor | None) -> Tensor | None:  # noqa: ARG002
        """The state-free update."""
        return free


def with_columns(part: Turning, columns: Tensor) -> Basis:
    """The part with the directions that it has at present."""
    return (Sketch if part.sketch else Basis)(columns, part.side, part.shape)


Part = Full | Free | OffBlock | Units | Turning | Basis

_UNITS = {"reset": Units, "decay": DecayingUnits, "hold": HeldUnits}


def choose_parts(group: Mapping[str, Any], names: Sequence[str], blocks_key: str, period: int) -> list[Part]:
    """The state-full part of every parameter of a group in one period, in the group's order.

    A pure function of the group's options, the parameters' names and shapes, and the period. Parts with a basis come
    back as :class:`Turning`: the basis itself may depend on the gradient and is made by
    :func:`frugal_gpu.optim.bases.choose_basis`.
    """
    parameters: list[Tensor] = group["params"]
    if group["split"] in ("state_full", "state_free"):
        return [Full() if group["split"] == "state_full" else Free()] * len(parameters)
    if group["set"] is not None:
        return _fixed_set(group["set"], parameters, group["off_set_momentum"])
    if group["density"] in (0, 1):
        return [Full() if group["density"] == 1 else Free()] * len(parameters)
    if (blocks := blocks_of(group["subspace"], group["order"])) is not None:
        return _of_blocks(blocks, names, blocks_key, group, period)
    return [_choose_part(group, name, period, parameter) for name, parameter in zip(names, parameters, strict=True)]


def _of_blocks(blocks: Blocks, names: Sequence[str], own_key: str, group: Mapping[str, Any], period: int) -> list[Part]:
    """Whole parameters, and units of those that a subspace of blocks divides. What is frozen is no block.

    Where no parameter asks for a gradient they are not frozen, but tensors whose gradients are set by hand, as the copies of
    CPU offload. The window walks over the group's parameters, or over the ``whole`` that they are a share of (see ``plan``).
    """
    by_hand = not any(x.requires_grad for x in group["params"])
    trained = [(name, tuple(x.shape)) for name, x in zip(names, group["params"], strict=True) if x.requires_grad or by_hand]
    whole = group.get("whole") or {"key": own_key, "blocks": trained}
    shapes = [tuple(shape) for _, shape in whole["blocks"]]
    if not shapes:
        return [Free()] * len(names)
    key = selection_key(group["seed"], whole["key"], period)
    block_of = layers([name for name, _ in whole["blocks"]]) if group["blocks"] == "layer" else None
    members = blocks.members(key, period, shapes, group["density"], block_of)
    inside = dict(zip((name for name, _ in whole["blocks"]), members, strict=True))
    reading = group["off_set_momentum"]
    return [
        _of_block(inside[name], x, reading) if name in inside and (x.requires_grad or by_hand) else Free()
        for name, x in zip(names, group["params"], strict=True)
    ]


def _of_block(inside: NDArray[np.bool_], parameter: Tensor, reading: str) -> Part:
    """What of a block is in the set: all or nothing, or the units of the axis along which it is divided."""
    if inside.size == 1:
        off: Part = OffBlock() if reading == "decay" else Free()
        return Full() if inside.any() else off
    if reading == "reset" and not inside.any():
        return Free()
    cut = [axis for axis, count in enumerate(inside.shape) if count > 1]
    rows, columns = cut == [0], cut == [1] and parameter.dim() == 2
    index = _short(torch.from_numpy(np.flatnonzero(inside)).to(parameter.device), inside.size)
    return _UNITS[reading](index, int(columns), matrix_shape(parameter) if rows or columns else (parameter.numel(),))


def matrix_shape(parameter: Tensor, experts: bool = False) -> tuple[int, ...]:
    """(numel,) of a scalar or vector, (shape[0], everything else) of the others; (E, m, n) as it is under ``experts``."""
    return seen_shape(tuple(parameter.shape), experts)


def seen_shape(shape: tuple[int, ...], experts: bool = False) -> tuple[int, ...]:
    """The same of a shape."""
    if experts and len(shape) == 3 and shape[0] > 0:
        return shape
    return (math.prod(shape),) if len(shape) < 2 else (shape[0], math.prod(shape[1:]))


def at_least_float32(dtype: torch.dtype) -> torch.dtype:
    """The dtype of step counts, factorisations and bases: float64 stays, everything shorter is float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def _choose_part(group: Mapping[str, Any], name: str, period: int, parameter: Tensor) -> Part:
    kind, shape = group["subspace"], matrix_shape(parameter, group["experts"])
    units = _UNITS[group["off_set_momentum"]]
    experts = range(shape[0]) if len(shape) == 3 else None
    keys = [selection_key(group["seed"], name if e is None else f"{name}.{e}", period) for e in experts or [None]]
    if SUBSPACES.is_added(kind) and isinstance(SUBSPACES[kind], Drawn | Scheduled):  # its NumPy code; coordinates
        each = tuple(parameter.shape) if experts is None else shape[1:]
        drawn = [members(SUBSPACES[kind], key, period, each, group["density"]) for key in keys]
        inside = np.concatenate([np.broadcast_to(own, each).reshape(-1) for own in drawn])
        index = torch.from_numpy(np.flatnonzero(inside)).to(parameter.device)
        return units(_short(index, parameter.numel()), 0, (parameter.numel(),))
    layout = layout_of(kind, group["sampling"], shape, group["density"], group["side"], group["rank"])
    if layout is None:
        return Full()
    if isinstance(layout, Turning):
        return replace(layout, projector=group["projector"])
    if experts is None:
        return units(_drawn(group, keys[0], layout.units, parameter.device), layout.dim, layout.view)
    (m, n), found = shape[1:], []
    for e, key in enumerate(keys):
        if kind == "columns":
            along = torch.arange(0, m * n, n, device=parameter.device)
            own = (along[:, None] + _drawn(group, key, n, parameter.device)).reshape(-1)
        else:
            own = _drawn(group, key, layout.units // shape[0], parameter.device)
        found.append(own + e * (layout.units // shape[0]))
    return units(_short(torch.cat(found), layout.units), layout.dim, layout.view)


def _fixed_set(members: Sequence[int], parameters: Sequence[Tensor], reading: str) -> list[Part]:
    """``set = [...]`` numbers the coordinates of all the group's parameters one after another."""
    units = _UNITS[reading]
    ordered = np.sort(np.asarray(members, dtype=np.int64))
    parts: list[Part] = []
    start = 0
    for parameter in parameters:
        end = start + parameter.numel()
        inside = ordered[(ordered >= start) & (ordered < end)] - start
        parts.append(units(torch.from_numpy(inside).to(parameter.device), 0, (parameter.numel(),)))
        start = end
    return parts


def _drawn(group: Mapping[str, Any], key: int, count: int, device: torch.device) -> Tensor:
    """The units of a draw, in ascending order: each by itself, or a given number of them."""
    if group["subspace"] == "coordinates" and group["sampling"] == "independent":
        drawn: Tensor = independent_units(key, torch.arange(count, device=device), group["density"])
        return _short(drawn.nonzero().squeeze(1), count)
    return _subset(key, count, group["density"], device)


def _subset(key: int, count: int, density: float, device: torch.device) -> Tensor:
    """The units of :func:`frugal_theory.algorithm.selection.subset`, drawn on the device unless that is the CPU."""
    size = budget(density, count)
    if device.type == "cpu" or size in (0, count):  # NumPy's partition is ten times faster than torch.topk there
        return _short(torch.from_numpy(subset(key, count, size)).to(device), count)
    bits: Tensor = uniform_bits(key, torch.arange(count, device=device))
    return _short(bits.topk(size, largest=False, sorted=False).indices.sort().values, count)


def _short(index: Tensor, count: int) -> Tensor:
    """An index into ``count`` units in half the memory: it is kept for a whole period."""
    return index.to(torch.int32) if count < 2**31 else index
