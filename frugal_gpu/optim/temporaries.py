"""How many numbers a step needs beside parameters, gradients and state: counted from shapes, for one parameter at a time."""

from __future__ import annotations

import math

from frugal_gpu.optim.layout import Turning, UnitLayout
from frugal_gpu.optim.step import CACHED

__all__ = ["temporary_numbers"]


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
    if layout is None:  # an update of a stretch, unless it is made in place: AdamW by torch's own kernel
        return 0.0 if rule == "adamw" and free == "none" else float(min(numel, CACHED))
    inside = layout.inside * numel / layout.units
    return off + 4 * inside
