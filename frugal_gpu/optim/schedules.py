"""Schedules of the density and the update gap (AdaFRUGAL), for any optimizer of this package."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from frugal_gpu.optim.frugal import Frugal

__all__ = ["AdaFrugal", "density_at", "next_update_gap"]


def density_at(step: int, first: float, last: float, steps: int) -> float:
    """ρ(k) = ρ₀ − (ρ₀ − ρ₁) · min(1, k/K): from ``first`` to ``last`` in a straight line of K = ``steps`` steps.

    >>> [density_at(step, 0.25, 0.05, 200_000) for step in (0, 100_000, 200_000, 300_000)]
    [0.25, 0.15, 0.05, 0.05]
    """
    return first + (last - first) * (step / steps) if step < steps else last


def next_update_gap(gap: int, improvement: float, *, factor: float = 1.5, most: int = 1000, enough: float = 0.005) -> int:
    """T after an evaluation: ``factor`` times as long, up to ``most``, if the loss improved by a share less than ``enough``."""
    return max(gap, min(most, round(factor * gap))) if improvement < enough else gap


@dataclass
class AdaFrugal:
    """ρ falls in a straight line, T grows where evaluations stop to improve; by default as AdaFRUGAL has them.

    ``step()`` after every step of the optimizer, as with learning-rate schedulers: the density changes where a period begins,
    so no set changes within one, and a group whose density is 0 or 1 is left alone. ``evaluated(loss)`` after every evaluation
    gives the update gap that it asks for; to set it in the groups is left to the caller.
    """

    optimizer: Frugal
    density: float = 0.05
    steps: int = 200_000
    factor: float = 1.5
    most: int = 1000
    enough: float = 0.005
    taken: int = 0
    loss: float | None = None
    gap: int | None = None
    first: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not 0 <= self.density <= 1:
            raise ValueError(f"AdaFrugal: density = {self.density}: allowed: a number from 0 to 1")
        if self.steps < 1 or self.most < 1 or not self.factor >= 1:
            raise ValueError("AdaFrugal: allowed: steps >= 1, most >= 1, factor >= 1")
        self.first = self.first or [group["density"] for group in self.optimizer.param_groups]

    def step(self) -> None:
        """Count a step; where a period ends, the next one has the density of its first step."""
        self.taken += 1
        for first, group in zip(self.first, self.optimizer.param_groups, strict=True):
            if group["split"] is True and 0 < first < 1 and group["step"] % group["update_gap"] == 0:
                group["density"] = density_at(self.taken, first, self.density, self.steps)

    def evaluated(self, loss: float) -> int:
        """The update gap that an evaluation asks for: longer if the loss is not a share of ``enough`` below the last one's."""
        gap = self.gap or self.optimizer.param_groups[0]["update_gap"]
        if self.loss is not None:
            improvement = (self.loss - loss) / abs(self.loss) if self.loss else 0.0
            gap = next_update_gap(gap, improvement, factor=self.factor, most=self.most, enough=self.enough)
        self.loss, self.gap = loss, gap
        return gap

    def state_dict(self) -> dict[str, Any]:
        """What is needed to go on."""
        return {"taken": self.taken, "loss": self.loss, "gap": self.gap, "first": list(self.first)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.taken, self.loss, self.gap, self.first = state["taken"], state["loss"], state["gap"], list(state["first"])
