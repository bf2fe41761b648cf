"""Bytes of optimizer state, counted from the shapes of a group's parameters: what :class:`frugal_gpu.optim.Frugal` keeps."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from frugal_gpu.optim.backends import accelerated
from frugal_gpu.optim.groups import FLAT
from frugal_gpu.optim.layout import Turning, UnitLayout, layout_of
from frugal_gpu.optim.placement import stored_bytes
from frugal_gpu.optim.subspaces import at_least_float32, seen_shape
from frugal_theory.algorithm.combine import each_expert
from frugal_theory.algorithm.rules import Rule, rule_of
from frugal_theory.algorithm.selection import budget, pieces
from frugal_theory.algorithm.subspaces import block_sizes, blocks_of
from frugal_theory.config import Algorithm
from frugal_theory.config.registry import SUBSPACES

__all__ = ["Keeping", "counted_of_group", "counted_of_split", "residual_bytes", "state_bytes"]

ENOUGH_PERIODS = 64
"""Periods of a schedule over which is counted how often a block has anything in the set."""


@dataclass(frozen=True)
class Keeping:
    """An algorithm, and the form in which its state is kept beside parameters of a dtype."""

    algorithm: Algorithm
    state_dtype: str | None
    dtype: torch.dtype

    @property
    def exact(self) -> int:
        """Bytes of a number that keeps its precision: a count, an entry of a basis."""
        return at_least_float32(self.dtype).itemsize

    def statistic(self, numbers: float) -> float:
        """Bytes of a statistic of so many numbers."""
        return stored_bytes(self.state_dtype, self.dtype, numbers)


Counted = Iterator[tuple[float, float, float]]
"""Of every parameter: bytes of its state, entries of the index of its units in the set, gradients that need not be held."""


def counted_of_group(kept: Keeping, split: bool | str, named: dict[str, tuple[int, ...]]) -> tuple[float, float, float]:
    """The three counts, over all parameters of a group, which is ``split`` or whole."""
    if split == "state_full":
        return sum(state_bytes(kept, seen_shape(shape), False) for shape in named.values()), 0.0, 0.0
    residual = sum(residual_bytes(kept, shape) for shape in named.values())
    counted = np.array([(0.0, 0.0, 0.0), *(counted_of_split(kept, named) if split is True else ())])
    held, index, waiting = (float(value) for value in counted.sum(axis=0))
    return residual + held, index, waiting


def counted_of_split(kept: Keeping, named: dict[str, tuple[int, ...]]) -> Counted:
    """The parameters of a split group."""
    formula, shapes = _by_formula(kept), list(named.values())
    if kept.algorithm.set is not None:
        yield from _of_a_set(kept, kept.algorithm.set, shapes)
    elif kept.algorithm.density in (0, 1):
        yield from (
            (state_bytes(kept, seen_shape(shape, kept.algorithm.experts), formula) * kept.algorithm.density, 0.0, 0.0)
            for shape in shapes
        )
    elif SUBSPACES[kept.algorithm.subspace].whole:
        yield from _of_blocks(kept, named)
    else:
        yield from (_of_one(kept, seen_shape(shape, kept.algorithm.experts)) for shape in shapes)


def _of_one(kept: Keeping, matrix: tuple[int, ...]) -> tuple[float, float, float]:
    """A parameter that chooses by itself."""
    own = kept.algorithm
    layout = layout_of(own.subspace, own.sampling, matrix, own.density, own.side, own.rank)
    if layout is None:
        return state_bytes(kept, matrix, _by_formula(kept)), 0.0, 0.0
    if isinstance(layout, Turning):
        return state_bytes(kept, layout.projected, _by_formula(kept)) + kept.exact * math.prod(layout.columns), 0.0, 0.0
    return _of_units(kept, layout), layout.inside, 0.0


def _of_units(kept: Keeping, layout: UnitLayout) -> float:
    """Bytes of the state of units of which ``layout.inside`` are in the set."""
    everywhere, decay = kept.algorithm.off_set_momentum != "reset", kept.algorithm.off_set_momentum == "decay"
    units = layout.units if everywhere else layout.inside
    whole = state_bytes(kept, layout.view, _by_formula(kept), None if decay else layout.dim)
    return whole if everywhere else _of_some(kept, layout, units)


def _of_some(kept: Keeping, layout: UnitLayout, units: float) -> float:
    """Bytes of the state of so many units, between two whole numbers of them where it is a mean."""
    least, above = math.floor(units), units - math.floor(units)
    sizes = [state_bytes(kept, _cut(layout.view, layout.dim, least + more), _by_formula(kept), layout.dim) for more in (0, 1)]
    return sizes[0] * (1 - above) + sizes[1] * above


def _of_a_set(kept: Keeping, chosen: tuple[int, ...], shapes: list[tuple[int, ...]]) -> Counted:
    """``set`` numbers the coordinates of all the group's parameters one after another."""
    start = 0
    for count in map(math.prod, shapes):
        inside = sum(start <= j < start + count for j in chosen)
        yield _of_units(kept, UnitLayout((count,), 0, inside)), inside, 0.0
        start += count


def _of_blocks(kept: Keeping, named: dict[str, tuple[int, ...]]) -> Counted:
    """Blocks, each in the set with its share of the time, and the pieces of those that are divided.

    The state of k units is a + bk: what they share is there while any of them is in the set.
    """
    kind: Any = blocks_of(kept.algorithm.subspace, kept.algorithm.order)
    shapes, formula = list(named.values()), _by_formula(kept)
    sizes, block_of = block_sizes(kept.algorithm, named)
    total = int(sizes.sum())
    window, everywhere = budget(kept.algorithm.density, total), kept.algorithm.off_set_momentum != "reset"
    shares = _shares(kept, kind, sizes)[block_of]
    touched = _touched(kept, kind, shapes, block_of) if kind.scheduled else []
    for block, (shape, share) in enumerate(zip(shapes, shares, strict=True)):
        count = math.prod(pieces(shape, window)) if kind.divided is not None else 1
        size = math.prod(shape)
        if count == 1:
            on = state_bytes(kept, _matrix(shape), formula)
            off = on if everywhere else _off(kept, _matrix(shape), 0)
            held = on * share + off * (1 - share)
            yield held, 0.0, (1 - share) * size if kept.algorithm.state_free.rule == "none" else 0.0
            continue
        rows, columns = len(shape) > 1 and count == shape[0], len(shape) == 2 and shape[0] == 1
        layout = UnitLayout(_matrix(shape) if rows or columns else (size,), int(columns), count)
        if everywhere:
            yield _of_units(kept, layout), count * share, 0.0
            continue
        any_unit = touched[block] if kind.scheduled else min(1.0, share + (size - size // count) / total)
        off = _off(kept, layout.view, layout.dim)
        inside = _of_some(kept, layout, max(1.0, count * share / any_unit)) if any_unit else 0.0
        yield inside * any_unit + off * (1 - any_unit), count * share, 0.0


def _touched(kept: Keeping, kind: Any, shapes: list[tuple[int, ...]], block_of: NDArray[np.intp]) -> list[float]:
    """How often each block has anything in the set, in a round of the schedule or as much of it as matters here."""
    total = sum(map(math.prod, shapes))
    periods = min(ENOUGH_PERIODS, total // math.gcd(total, max(1, budget(kept.algorithm.density, total))))
    sets = [kind.members(0, period, shapes, kept.algorithm.density, block_of) for period in range(periods)]
    return [sum(bool(inside[block].any()) for inside in sets) / periods for block in range(len(shapes))]


def _off(kept: Keeping, view: tuple[int, ...], dim: int) -> float:
    """Bytes that a block off the set keeps: none, but for those that units share where a rule's formula is run."""
    formula = _by_formula(kept)
    if accelerated(rule_of(kept.algorithm.state_full)) and not formula:
        return 0.0
    return state_bytes(kept, _cut(view, dim, 0), formula)


def _cut(view: tuple[int, ...], dim: int, units: int) -> tuple[int, ...]:
    return (*view[:dim], units, *view[dim + 1 :])


def _shares(kept: Keeping, kind: Any, sizes: NDArray[np.int64]) -> NDArray[np.float64]:
    """How much of the time each block is in the set: its probability, or its frequency in a round."""
    total = int(sizes.sum())
    window = max(1, budget(kept.algorithm.density, total))
    if kind.share is not None:
        share = kind.share(sizes, kept.algorithm.density)
    elif kind.divided is not None:
        share = 1 / -(-total // window) if kept.algorithm.order == "mirror" else window / total
    else:
        share = kept.algorithm.density
    return np.broadcast_to(np.asarray(share, dtype=np.float64), sizes.shape)


def _matrix(shape: tuple[int, ...]) -> tuple[int, ...]:
    """How a parameter is seen: a vector, or a matrix with trailing dimensions flattened."""
    return (math.prod(shape),) if len(shape) < 2 else (shape[0], math.prod(shape[1:]))


def _by_formula(kept: Keeping) -> bool:
    """Whether a split parameter's rules are run by their formulas, whatever accelerators there are."""
    return kept.algorithm.state_free.rule not in FLAT["state_free"]


def state_bytes(kept: Keeping, seen: tuple[int, ...], by_formula: bool, counted_along: int | None = None) -> float:
    """Bytes of the state of the state-full rule for a part of this shape; steps are counted by unit, or in no tensor."""
    rule = each_expert(rule_of(kept.algorithm.state_full), kept.algorithm.experts)
    if not by_formula and (fast := accelerated(rule)) is not None:
        by_unit = seen[counted_along] if fast.counts and counted_along is not None else 0
        return len(fast.vectors + fast.squares) * kept.statistic(math.prod(seen)) + kept.exact * by_unit
    state = rule.init(torch.empty(seen, device="meta"))
    by_name: tuple[str, ...] = getattr(rule, "counts", ())
    once = 1 if len(seen) > 1 else math.prod(seen)
    counted = len(by_name) * (once if counted_along is None else seen[counted_along])
    held = {key: value for key, value in state.items() if key not in by_name}
    return kept.exact * counted + _statistics(kept, rule, held)


def _statistics(kept: Keeping, rule: Rule, state: dict[str, Any]) -> float:
    """Bytes of a rule's own entries: what is no moment of the gradient is not kept in eight bits."""
    moments = (*rule.vectors, *rule.squares)
    short = replace(kept, state_dtype=None) if kept.state_dtype == "8bit" else kept
    return sum((kept if key in moments else short).statistic(value.numel()) for key, value in state.items())


def residual_bytes(kept: Keeping, shape: tuple[int, ...]) -> float:
    """Bytes of the state of the state-free rule, which sees the whole parameter; most have none."""
    rule = each_expert(rule_of(kept.algorithm.state_free), kept.algorithm.experts)
    return _statistics(kept, rule, rule.init(torch.empty(seen_shape(shape, kept.algorithm.experts), device="meta")))
