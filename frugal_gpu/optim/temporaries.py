"""How many numbers a step needs beside parameters, gradients and state: counted from shapes, for one parameter at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from frugal_gpu.optim.backends import FUSED, accelerated, whole_steps
from frugal_gpu.optim.groups import FLAT
from frugal_gpu.optim.layout import Turning, UnitLayout, layout_of
from frugal_gpu.optim.placement import EIGHT
from frugal_gpu.optim.step import CACHED
from frugal_gpu.optim.stepping import MOST
from frugal_gpu.optim.subspaces import at_least_float32, seen_shape
from frugal_theory.algorithm.rules import rule_of
from frugal_theory.algorithm.selection import budget, pieces
from frugal_theory.algorithm.storages import CHUNK
from frugal_theory.config import Algorithm
from frugal_theory.config.registry import SUBSPACES

__all__ = ["need_of", "temporary_numbers"]


def temporary_numbers(
    shape: tuple[int, ...], layout: UnitLayout | Turning | None, fused: bool, rule: str = "adamw", free: str = "signsgd"
) -> float:
    """At most so many numbers, on a CPU, in an ordinary step of a parameter of this shape; a model needs the largest of them.

    ``layout``: how the parameter is cut by its subspace, None for one that is state-full or state-free as a whole. ``fused``:
    the backend of that name; otherwise "foreach".
    """
    numel = math.prod(shape)
    off = numel if free != "none" else 0
    if isinstance(layout, Turning):
        projected = layout.rank * numel / layout.length
        return 2 * numel + projected if fused else 3 * numel + 3 * projected
    if fused:
        return 0.0
    if layout is None:  # an update of a stretch, unless it is made in place: AdamW by torch's own kernel, SGDM in its momentum
        return 0.0 if rule in ("adamw", "sgdm") and free == "none" else float(min(numel, CACHED))
    inside = layout.inside * numel / layout.units
    return off + 4 * inside


def need_of(
    algorithm: Algorithm,
    split: bool | str,
    shapes: Sequence[tuple[int, ...]],
    dtype: torch.dtype,
    state_dtype: str | None,
    together: int,
    decoded: float,
) -> float:
    """At most so many bytes, on a CPU, in an ordinary step of a group: what its largest parameter, or a stretch, takes.

    ``split``: the group's. ``together``: the numbers of all parameters of the optimizer. ``decoded``: the bytes of those
    statistics of the group that wait in another form than that of the arithmetic. A step with a new basis takes more.
    """
    if not shapes:
        return 0.0
    compute = at_least_float32(dtype)
    numbers = [math.prod(shape) for shape in shapes]
    total, largest = sum(numbers), max(numbers)
    free = "none" if split == "state_full" else algorithm.state_free.rule
    alone = free in FLAT["state_free"]
    fast = accelerated(rule_of(algorithm.state_full)) if alone else None
    if fast is None:
        copied = largest
        stepped = max(_by_formula(algorithm, split, shape) for shape in shapes)
    else:
        copied = min(total, MOST + largest)
        fused = FUSED in whole_steps("auto", together) and algorithm.off_set_momentum == "reset"
        needs = [_accelerated(algorithm, split, free, shape, budget(algorithm.density, total), fused) for shape in shapes]
        stepped = max(needs) if fused else max(*needs, _of_a_stretch(algorithm, needs, numbers))
    stands = (2 * compute.itemsize * copied if dtype != compute else 0) + decoded * copied / max(total, 1)
    if decoded:  # the new form of the largest parameter's, and what it takes to make it
        stands += decoded * largest / total / 2 + (ENCODING * min(largest, CHUNK) if state_dtype == EIGHT else 0)
    return compute.itemsize * stepped + stands


ENCODING = 18
"""Bytes for each number that is encoded in eight bits, a chunk at a time."""


def _of_a_stretch(algorithm: Algorithm, needs: Sequence[float], numbers: Sequence[int]) -> float:
    """Numbers for several parameters that are stepped together; the blocks among them have no more than the window inside."""
    total = sum(numbers)
    together = min(total, CACHED)
    share = max((need / count for need, count in zip(needs, numbers, strict=True) if count), default=0.0)
    if SUBSPACES[algorithm.subspace].whole and share > 1:
        return together + 4 * min(together, budget(algorithm.density, total))
    return share * together


def _accelerated(algorithm: Algorithm, split: bool | str, free: str, shape: tuple[int, ...], window: int, fused: bool) -> float:
    """Numbers for one parameter by itself."""
    rule = algorithm.state_full.rule
    if split is not True or algorithm.density in (0, 1):
        whole = algorithm.density == 1 if split is True else split == "state_full"
        return temporary_numbers(shape, None, fused, rule if whole else "sgd", "none" if whole else free)
    matrix = seen_shape(shape, algorithm.experts)
    layout: UnitLayout | Turning | None = None
    if algorithm.set is not None:
        layout = UnitLayout((math.prod(shape),), 0, min(math.prod(shape), len(algorithm.set)))
    elif SUBSPACES[algorithm.subspace].whole:
        if math.prod(pieces(shape, window)) > 1:  # a block that is divided is cut into units
            layout = UnitLayout((math.prod(shape),), 0, min(math.prod(shape), window))
    else:
        layout = layout_of(algorithm.subspace, algorithm.sampling, matrix, algorithm.density, algorithm.side, algorithm.rank)
    if isinstance(layout, UnitLayout) and algorithm.off_set_momentum == "decay":
        layout = UnitLayout(layout.view, layout.dim, layout.units)
    if isinstance(layout, Turning) and (layout.sketch or len(layout.shape) > 2):
        fused = False
    return temporary_numbers(shape, layout, fused, rule, free)


FORMULAS = {"adamw_early_eps": (5.5, 4.0), "muon": (4.5, 6.5), "ldadam": (8.0, 4.0)}
"""Numbers that a rule's formula takes for each of a parameter's, and for each in the set, where it is not ``USUAL``."""

USUAL = (4.5, 4.0)


def _by_formula(algorithm: Algorithm, split: bool | str, shape: tuple[int, ...]) -> float:
    each, inside = FORMULAS.get(algorithm.state_full.rule, USUAL)
    everywhere = split == "state_full" or algorithm.off_set_momentum == "decay" or SUBSPACES[algorithm.subspace].whole
    share = 1.0 if everywhere else algorithm.density
    if split is True and algorithm.rank is not None:
        share = min(1.0, algorithm.rank / max(1, min(shape[0], math.prod(shape[1:])))) if shape else 1.0
    return (each + inside * share) * math.prod(shape)
