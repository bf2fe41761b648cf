"""Schedules of the density and the update gap (AdaFRUGAL), for any optimizer of this package."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from frugal_gpu.optim.frugal import Frugal
from frugal_theory.algorithm.schedules import density_at, next_update_gap
from frugal_theory.config import Algorithm

__all__ = ["AdaFrugal", "density_at", "next_update_gap", "schedule_of"]

Group = dict[str, Any]


@dataclass
class AdaFrugal:
    """ρ falls in a straight line, T grows where evaluations stop to improve; by default as AdaFRUGAL has them.

    ``step()`` before every step of the optimizer: where that step begins a period, the period has the density of the line at
    the group's number of steps, so no set changes within one. A group whose density is 0 or 1 at first is left alone.
    ``evaluated(loss)`` after every evaluation lengthens the update gap of all groups if the loss asks for it; the period at
    hand then ends later. ``density = None`` leaves the density as it is.
    """

    optimizer: Frugal
    density: float | None = 0.05
    steps: int = 200_000
    factor: float = 1.5
    most: int = 1000
    enough: float = 0.005
    loss: float | None = None
    first: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.density is not None and not 0 <= self.density <= 1:
            raise ValueError(f"AdaFrugal: density = {self.density}: allowed: a number from 0 to 1")
        if self.steps < 1 or self.most < 1 or not self.factor >= 1:
            raise ValueError("AdaFrugal: allowed: steps >= 1, most >= 1, factor >= 1")
        self.first = self.first or [group["density"] for group in self.optimizer.param_groups]

    def step(self) -> None:
        """Give the groups whose next step begins a period the density of that step."""
        for first, group in zip(self.first, self.optimizer.param_groups, strict=True):
            due = group["step"] == 0 or group["step"] - group["began"] >= group["update_gap"]
            if self.density is not None and _is_split(group) and 0 < first < 1 and due:
                group["density"] = density_at(group["step"], first, self.density, self.steps)

    def evaluated(self, loss: float) -> int:
        """Tell of an evaluation: T grows if the loss is not a share of ``enough`` below the last one's. Returns the first
        group's T."""
        if self.loss is not None:
            improvement = (self.loss - loss) / abs(self.loss) if self.loss else 0.0
            for group in self.optimizer.param_groups:
                gap = group["update_gap"]
                group["update_gap"] = next_update_gap(gap, improvement, factor=self.factor, most=self.most, enough=self.enough)
        self.loss = loss
        return int(self.optimizer.param_groups[0]["update_gap"])

    def shown(self) -> dict[str, Any]:
        """Density and update gap of the first group that is split, for a log."""
        split = next((group for group in self.optimizer.param_groups if _is_split(group)), None)
        return {} if split is None else {key: split[key] for key in ("density", "update_gap")}

    def state_dict(self) -> dict[str, Any]:
        """What is needed to go on, beside the optimizer's own state, which has the present density and update gap."""
        return {"loss": self.loss, "first": list(self.first)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.loss, self.first = state["loss"], list(state["first"])


def _is_split(group: Group) -> bool:
    return group["split"] is True


def schedule_of(algorithm: Algorithm, optimizer: Frugal) -> AdaFrugal | None:
    """The schedules of an ``[algorithm]`` table on its optimizer, before the first step; None if it has none.

    Without ``update_gap_schedule`` evaluations change nothing.
    """
    line, gap = algorithm.density_schedule, algorithm.update_gap_schedule
    if line is None and gap is None:
        return None
    made = AdaFrugal(optimizer, None) if line is None else AdaFrugal(optimizer, line.to, line.steps)
    made.factor, made.most, made.enough = (1.0, 1, 0.0) if gap is None else (gap.factor, gap.most, gap.enough)
    return made
