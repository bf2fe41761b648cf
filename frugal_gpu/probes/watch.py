"""The probes of a run: when they measure, what they found, and what that took."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from frugal_gpu.probes.objective import MICRO_BATCHES, Objective
from frugal_gpu.probes.probe import Moment, group_of, measure, moved, price_of
from frugal_gpu.probes.timetable import Timetable
from frugal_theory import config
from frugal_theory.config.registry import PROBES

__all__ = ["Visit", "Watch", "sample_size"]


def sample_size(probes: config.Probes, batch_size: int) -> int:
    """The rows of one measurement: ``probes.batch_size``, or a training step's, in equal micro-batches."""
    return MICRO_BATCHES * -(-(probes.batch_size or batch_size) // MICRO_BATCHES)


class Watch:
    """What ``[probes]`` asks for over a run. ``objective``: f. ``density``: of the momentum set."""

    def __init__(self, probes: config.Probes, objective: Objective, steps: int, seed: int, density: float) -> None:
        self.objective, self.density = objective, density
        self.groups: dict[str, list[str]] = {}
        for kind in dict.fromkeys(probes.kinds):
            self.groups.setdefault(group_of(kind), []).append(kind)
            getattr(PROBES[kind], "forget", lambda: None)()
        scale = objective.size / objective.batch_size
        prices = {group: price_of(kinds, scale) for group, kinds in self.groups.items()}
        first = frozenset({"path"} & self.groups.keys())  # Δ is measured at x¹
        self.timetable = Timetable(seed, steps, prices, probes.every, probes.cost, first)

    def visit(self, step: int, rate: float, gradients: Mapping[str, Tensor]) -> Visit:
        """What the groups that are due find before the parameters move. A group that is not due costs nothing."""
        moment = Moment(step, rate, self.objective.model, gradients, self.objective, self.density)
        visit = Visit(self, moment, self.timetable.due(step))
        visit.before()
        return visit

    def sentence(self) -> str | None:
        """What the cost does not allow and, at the end, that it was not kept, in words; None if nothing."""
        timetable, said = self.timetable, []
        if beyond := timetable.unaffordable:
            each = ", ".join(f"{' and '.join(self.groups[g])} (probes.cost = {share:.2g} would)" for g, share in beyond.items())
            said.append(f"probes.cost = {timetable.cost:g} does not pay for measuring twice in this run: {each}")
        if timetable.every is None and timetable.stepped >= timetable.steps and timetable.share > timetable.cost:
            dearest = max(timetable.warming, key=lambda group: timetable.warming[group])
            steps, kinds = timetable.warming[dearest] / timetable.a_step, " and ".join(self.groups[dearest])
            said.append(
                f"measuring took {timetable.share:.1%} of the time: the first measurement of {kinds} took as long as "
                f"{steps:.3g} steps, which nobody knew before"
            )
        return "; ".join(said) or None


@dataclass
class Visit:
    """One step's measurements: :meth:`before` the parameters move, and :meth:`after`."""

    watch: Watch
    moment: Moment
    groups: list[str]

    def __post_init__(self) -> None:
        self.found: dict[str, float | None] = {}
        self.seconds = dict.fromkeys(self.groups, 0.0)

    def before(self) -> None:
        """The measurements at the step's parameters."""
        for group in self.groups:
            self._timed(group, measure)

    def after(self) -> dict[str, Any]:
        """The measurements across the step; returns what belongs into the step's line of metrics.jsonl."""
        for group in self.groups:
            self._timed(group, moved)
            self.watch.timetable.add(group, self.seconds[group])
        if not self.groups:
            return {}
        intervals = {g: [i.begin, i.end] for g in self.groups if (i := self.watch.timetable.interval_of(g))}
        return {"probes": self.found, "intervals": intervals, "probe_seconds": round(sum(self.seconds.values()), 4)}

    def _timed(self, group: str, find: Any) -> None:
        device = next(self.watch.objective.model.parameters()).device
        begin = _now(device)
        self.found.update(find(self.watch.groups[group], self.moment))
        self.seconds[group] += _now(device) - begin


def _now(device: torch.device) -> float:
    """Seconds, when all that the device was given is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
