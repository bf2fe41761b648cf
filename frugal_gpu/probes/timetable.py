"""When probes measure: one step drawn at random in each interval, intervals as long as the cost asks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from frugal_theory.algorithm.selection import selection_key, uniform_bits

__all__ = ["Interval", "Timetable"]

SETTLED = 3
"""Training steps after which times are believed that are shorter than what was said beforehand: the first ones warm up."""


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
    measured at the draws) has the average over the steps of the intervals as its expectation, whatever the lengths, as each is
    settled before its draw. The first interval of the groups of ``first`` is step 1 alone, so that x¹ is measured.

    ``prices``: what one measurement of each group costs, about, in training steps; as soon as there are times, they count.
    ``every``: the length of the intervals; None: so that measurements stay within the share ``cost`` of the run's time. Then

    - those groups take part, the cheapest first, of which an equal part of that time pays for two measurements each;
    - each begins when those before it have measured once, and is in proportion to its time with the others from then on;
    - no interval is begun that its part does not pay for by the end of the run, and nothing is measured that what is left of
      the whole does not pay for. A group ends then.

    So by the end of the run the share is above ``cost`` only by as much as the dearest first measurement was dearer than it
    seemed: than its price, times the largest factor by which another group's first measurement was above its own.
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
    warming: dict[str, float] = field(default_factory=dict)
    step_seconds: float = 0.0
    stepped: int = 0
    warming_step: float | None = None

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
        if not self.counts.get(group):
            self.warming[group] = seconds
        self.seconds[group] = self.seconds.get(group, 0.0) + seconds
        self.counts[group] = self.counts.get(group, 0) + 1

    def stepped_in(self, seconds: float) -> None:
        """A training step took so long, what probes took of it left out."""
        if not self.stepped:
            self.warming_step = seconds
        self.step_seconds += seconds
        self.stepped += 1

    @property
    def spent(self) -> float:
        """The seconds that measurements took."""
        return math.fsum(self.seconds.values())

    @property
    def share(self) -> float:
        """The share of the run's time that measurements took."""
        return self.spent / (self.spent + self.step_seconds) if self.spent else 0.0

    @property
    def a_step(self) -> float:
        """Seconds of a training step to come; 1 before the first."""
        return _usual(self.step_seconds, self.stepped, self.warming_step) or 1.0

    def price(self, group: str) -> float:
        """Seconds of a measurement to come, as they were measured, or as was said beforehand."""
        said = self.prices[group] * self.a_step
        found = _usual(self.seconds.get(group, 0.0), self.counts.get(group, 0), self.warming.get(group))
        if not found:
            return said
        return found if self.stepped >= SETTLED else max(found, said)

    def likely(self, group: str) -> float:
        """The same; of a first one as much above what was said as the first one of another group was that is most above it."""
        if self.counts.get(group):
            return self.price(group)
        above = [self.warming.get(g, self.price(g)) / (self.prices[g] * self.a_step) for g in self.prices if self.counts.get(g)]
        return self.price(group) * max([1.0, *above])

    def taking_part(self) -> list[str]:
        """The groups that measure, in the order in which they begin."""
        order = sorted(self.prices, key=lambda group: (group not in self.first, self.price(group)))
        whole = self._allowed(self.steps)
        order = [g for g in order if 2 * self.price(g) <= whole and (self.counts.get(g) or self._is_paid(g))]
        while order:
            part = (whole - self._others(order)) / len(order)
            if all(2 * self.price(group) <= part for group in order):
                break
            order.pop()
        return order

    @property
    def unaffordable(self) -> dict[str, float]:
        """Groups that the cost does not allow to measure twice in this run, with the cost that would."""
        if self.every is not None:
            return {}
        over, taking_part = self.stepped >= self.steps, self.taking_part()
        beyond = [g for g in self.prices if self.counts.get(g, 0) < 2 and (over or g not in taking_part)]
        return {group: self._cost_for(group) for group in beyond}

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps, as plain values."""
        intervals = {group: None if i is None else [i.begin, i.end, i.at] for group, i in self.interval.items()}
        return {
            "interval": intervals,
            "seconds": dict(self.seconds),
            "counts": dict(self.counts),
            "warming": dict(self.warming),
            "step_seconds": self.step_seconds,
            "stepped": self.stepped,
            "warming_step": self.warming_step,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on where a checkpoint left off."""
        kept = {group: found for group, found in state["interval"].items() if group in self.prices}
        self.interval = {group: None if found is None else Interval(*found) for group, found in kept.items()}
        self.seconds, self.counts = dict(state["seconds"]), dict(state["counts"])
        self.step_seconds, self.stepped = state["step_seconds"], state["stepped"]
        self.warming, self.warming_step = dict(state.get("warming", {})), state.get("warming_step")

    def _allowed(self, step: int) -> float:
        """The seconds that all measurements may take by the end of a step: a share ``cost`` of the run's, theirs included."""
        return self.cost / (1 - self.cost) * (self.step_seconds + (step - self.stepped) * self.a_step)

    def _others(self, groups: list[str]) -> float:
        return math.fsum(seconds for group, seconds in self.seconds.items() if group not in groups)

    def _cost_for(self, group: str) -> float:
        """The least cost at which a group would measure twice, beside those that are cheaper."""
        price = self.likely(group)
        those = [g for g in self.prices if g == group or g in self.first or self.likely(g) <= price]
        missing = self.spent + (2 - self.counts.get(group, 0)) * price
        all_ = max(missing, 2 * len(those) * max(map(self.likely, those)))
        return all_ / (all_ + self.step_seconds + (self.steps - self.stepped) * self.a_step)

    def _at(self, group: str, step: int) -> Interval | None:
        found = self.interval.get(group)
        if found is None and group in self.interval:
            return None
        if found is None or step > found.end:
            found = self._next(group, step)
            if found is not None or self.counts.get(group):
                self.interval[group] = found
        if found is None or found.at != step or self.every is not None or self._is_paid(group):
            return found
        if self.counts.get(group):
            self.interval[group] = None
        else:
            del self.interval[group]
        return None

    def _is_paid(self, group: str) -> bool:
        """Whether what is left by the end of the run pays for a measurement now."""
        return self.spent + self.likely(group) <= self._allowed(self.steps) * (1 + 1e-9)

    def _next(self, group: str, begin: int) -> Interval | None:
        """The interval that begins at a step; None if it would not be paid for."""
        left = self.steps - begin + 1
        length = self._length(group, begin) if self.every is None else self.every
        if length is None:
            return None
        if begin == 1 and group in self.first:
            return Interval(1, 1, 1)
        if left - length < 1:
            length = left
        bits = uniform_bits(selection_key(self.seed, f"probe {group}", begin), np.arange(1, dtype=np.int64))
        place = int(bits.view(np.uint64)[0] % np.uint64(length))
        return Interval(begin, begin + length - 1, begin + place)

    def _length(self, group: str, begin: int) -> int | None:
        """As short as the cost allows, what has been spent included; all that is left if that would not pay for another."""
        taking_part = self.taking_part()
        if group not in taking_part:
            return None
        waits = taking_part[: taking_part.index(group)] if not self.counts.get(group) else []
        if not all(self.counts.get(other) for other in waits):
            return None
        others, spent, price = self._others(taking_part), self.seconds.get(group, 0.0), self.price(group)

        def paid(times: int) -> float:
            """The step by whose end the group's part pays for so many measurements more."""
            needed = (others + (spent + times * price) * len(taking_part)) * (1 - self.cost) / self.cost
            return self.stepped + (needed - self.step_seconds) / self.a_step - 1e-9

        if paid(1) > self.steps:
            return None
        return self.steps - begin + 1 if paid(2) > self.steps else max(1, math.ceil(paid(1)) - begin + 1)


def _usual(total: float, count: int, first: float | None) -> float:
    """The mean of times without the first, which warms up, if there are others; 0 without any."""
    if count == 0:
        return 0.0
    return (total - first) / (count - 1) if count > 1 and first is not None else total / count
