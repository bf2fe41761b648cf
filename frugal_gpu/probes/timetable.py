"""When probes measure: one step drawn at random in each interval, intervals as long as the cost asks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from frugal_theory.algorithm.selection import selection_key, uniform_bits

__all__ = ["Interval", "Timetable"]


@dataclass(frozen=True)
class Interval:
    """Steps ``begin`` … ``end``, and the one of them, ``at``, at which a group measures."""

    begin: int
    end: int
    at: int


@dataclass
class Timetable:
    """The intervals of every group of probes over ``steps`` training steps, made one after the other.

    The step in an interval is drawn uniformly, by a hash of (seed, group, first step of the interval): Σ (length/K)·(what is
    measured at the draws) has the average over all K steps as its expectation, whatever the lengths, as each is settled
    before its draw. The first interval of the groups of ``first`` is step 1 alone, so that x¹ is measured.

    ``prices``: what one measurement of each group costs, about, in training steps; as soon as there are times, they count.
    ``every``: the length of the intervals; None: so that measurements stay within the share ``cost`` of the run's time, each
    group within an equal share of that.
    """

    seed: int
    steps: int
    prices: Mapping[str, float]
    every: int | None
    cost: float
    first: frozenset[str] = frozenset()
    interval: dict[str, Interval | None] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    step_seconds: float = 0.0
    stepped: int = 0

    def due(self, step: int) -> list[str]:
        """The groups that measure at a step. Steps are asked for in order."""
        return [group for group in self.prices if (found := self._at(group, step)) is not None and found.at == step]

    def interval_of(self, group: str) -> Interval:
        """The interval that a group is in."""
        found = self.interval[group]
        assert found is not None
        return found

    def add(self, group: str, seconds: float) -> None:
        """A measurement took so long."""
        self.seconds[group] = self.seconds.get(group, 0.0) + seconds
        self.counts[group] = self.counts.get(group, 0) + 1

    def stepped_in(self, seconds: float) -> None:
        """A training step took so long, what probes took of it left out."""
        self.step_seconds += seconds
        self.stepped += 1

    @property
    def share(self) -> float:
        """The share of the run's time that measurements took."""
        spent = math.fsum(self.seconds.values())
        return spent / (spent + self.step_seconds) if spent else 0.0

    def price(self, group: str) -> float:
        """What a measurement costs, in training steps: as measured, or as said."""
        if not self.counts.get(group) or not self.stepped or not self.step_seconds:
            return self.prices[group]
        return self.seconds[group] / self.counts[group] / (self.step_seconds / self.stepped)

    @property
    def unaffordable(self) -> dict[str, float]:
        """Groups that the cost does not allow to measure twice in this run, with the cost that would."""
        if self.every is not None:
            return {}
        return {
            group: (all_ := len(self.prices) * 2 * price) / (self.steps + all_)
            for group, price in self.prices.items()
            if 2 * price > self._allowed(self.steps)
        }

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps, as plain values."""
        intervals = {group: None if i is None else [i.begin, i.end, i.at] for group, i in self.interval.items()}
        return {
            "interval": intervals,
            "seconds": dict(self.seconds),
            "counts": dict(self.counts),
            "step_seconds": self.step_seconds,
            "stepped": self.stepped,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on where a checkpoint left off."""
        kept = {group: found for group, found in state["interval"].items() if group in self.prices}
        self.interval = {group: None if found is None else Interval(*found) for group, found in kept.items()}
        self.seconds, self.counts = dict(state["seconds"]), dict(state["counts"])
        self.step_seconds, self.stepped = state["step_seconds"], state["stepped"]

    def _allowed(self, steps: float) -> float:
        """What a group may spend by the end of so many steps, in training steps."""
        return self.cost / len(self.prices) * steps / (1 - self.cost)

    def _at(self, group: str, step: int) -> Interval | None:
        if self.every is None and group in self.unaffordable and not self.counts.get(group):
            return None
        found = self.interval.get(group)
        if found is None or step > found.end:
            found = self._next(group, step)
            self.interval[group] = found
        return found

    def _next(self, group: str, begin: int) -> Interval:
        """The interval that begins at a step."""
        left = self.steps - begin + 1
        if begin == 1 and group in self.first:
            return Interval(1, 1, 1)
        length = self.every or self._length(group, begin)
        if left - length < (length if self.every is None else 1):  # what is left would not pay for another
            length = left
        bits = uniform_bits(selection_key(self.seed, f"probe {group}", begin), np.arange(1, dtype=np.int64))
        place = int(bits.view(np.uint64)[0] % np.uint64(length))
        return Interval(begin, begin + length - 1, begin + place)

    def _length(self, group: str, begin: int) -> int:
        """As short as the cost allows, what has been spent included."""
        price = self.price(group)
        wanted = price * (self.counts.get(group, 0) + 1) / self._allowed(1.0)
        return max(1, min(self.steps - begin + 1, math.ceil(wanted) - begin + 1))
