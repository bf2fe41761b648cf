"""CUDA graphs: what the host, which decides when a period begins, must know of steps that it does not take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from frugal_gpu.optim.backends.tables import capturing

__all__ = ["count_replays", "is_captured"]


def is_captured(groups: Sequence[dict[str, Any]]) -> bool:
    """Whether a step that begins now is captured in a graph. RuntimeError if it would count on the host then."""
    captured = capturing()
    if captured and not all(group["capturable"] for group in groups):
        raise RuntimeError("Frugal: step() is captured in a graph and capturable = False; allowed: True in every group")
    return captured


def count_replays(groups: Sequence[dict[str, Any]], steps: int) -> None:
    """Count steps of a replayed graph in every group. ValueError if they reach beyond a group's present period."""
    if steps < 0:
        raise ValueError(f"Frugal: {steps} replayed steps: allowed: a number >= 0")
    for group in groups:
        left = group["update_gap"] - (group["step"] - group["began"])
        if steps > left:
            raise ValueError(
                f"Frugal: {steps} replayed steps: allowed: at most {max(left, 0)}, then a step begins the next period"
            )
    for group in groups:
        group["step"] += steps
