"""Claims: the theorems held against one instance, with the premises that were tested."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from frugal_theory.config import Experiment, quoted
from frugal_theory.config.cells import Cell, cells
from frugal_theory.config.changing import changing
from frugal_theory.config.one_line import ExperimentError
from frugal_theory.evidence.evidence import Evidence
from frugal_theory.evidence.exact.expectations import METRICS as EXACT
from frugal_theory.evidence.exact.expectations import at_most, decouples, expectations, has_expectation
from frugal_theory.evidence.second_moments import Known, known_squares
from frugal_theory.instance import Instance, instance_of
from frugal_theory.metrics import METRICS, Metric
from frugal_theory.premises import LEVEL, PREMISES, check_premises
from frugal_theory.premises.check import key_of
from frugal_theory.premises.draws import draw
from frugal_theory.premises.noise_tail import known_moments, noise_tail
from frugal_theory.premises.premise import Premise
from frugal_theory.problems.noise import has_mean_zero
from frugal_theory.theorems import Setting, Theorem
from frugal_theory.theorems.resolve import named, theorems_of
from frugal_theory.theorems.theorem import excuse_of, further_premises, spared_premises, step_of

__all__ = ["Claims", "Findings", "Found", "FourthMoment", "claims_of", "fourth_moment"]

INDEX, SHOWN = 4.0, 0.8
"""Draws must show a tail index above the one, so that there is a fourth moment, and more than the other share of the declared
variance, to speak of the kurtosis."""

SLACK = 0.8
"""What a noise of one's own says of its kurtosis is not believed below this share of what its draws show."""


class FourthMoment(NamedTuple):
    """q with E‖ξ‖⁴ ≤ qσ⁴ given the past, None if nobody can say, and how much of the declared variance σ² it speaks of.

    ``seen`` is 1 where q is known beforehand. Where draws say it, the rest of the variance may come in jumps that neither they
    nor the trials have met, and a bound is held against the trials times this share only.
    """

    kurtosis: float | None
    seen: float = 1.0


UNKNOWN = FourthMoment(None)


class Found(NamedTuple):
    """What was found of a cell before it is simulated."""

    premises: tuple[Premise, ...]
    noise: FourthMoment


class Findings(Protocol):
    """What keeps the findings of every cell, by the cell's place in the experiment, 0, 1, …, while the next are tested."""

    def load(self, number: int, instance: Instance) -> Found | None:
        """What was found of that cell, and this very instance of it, before, if it is known."""
        ...

    def save(self, number: int, instance: Instance, found: Found) -> None:
        """Keep it."""
        ...


@dataclass(frozen=True)
class Claims:
    """What the theorems claim of one instance, and why some of them may claim nothing.

    ``noise``: what is known of the noise's fourth moment.
    """

    instance: Instance
    theorems: tuple[Theorem, ...]
    premises: tuple[Premise, ...] = ()
    noise: FourthMoment = UNKNOWN

    @property
    def cell(self) -> Cell:
        """The instance's cell."""
        return self.instance.cell

    @property
    def setting(self) -> Setting:
        """The instance's setting."""
        return self.instance.setting

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that the theorems need, by :meth:`key`, the squared gradient norm always among them."""
        needed = [self.key(t) for t in self.theorems if self.excuse(t) is None]
        return tuple(dict.fromkeys(["squared_gradient_norm", *needed]))

    @cached_property
    def measures(self) -> dict[str, Metric]:
        """The metrics that depend on the setting, by :meth:`key`: those that a theorem brings with it (``measure``)."""
        own = [t for t in self.theorems if hasattr(t, "measure") and self.excuse(t) is None]
        return {self.key(t): t.measure(self.setting) for t in own}

    @cached_property
    def _own(self) -> Counter[str]:
        """How many theorems bring a metric of their own under each name."""
        return Counter(t.metric for t in self.theorems if hasattr(t, "measure"))

    def key(self, theorem: Theorem) -> str:
        """Under which name evidence holds the theorem's metric.

        That is the metric's name. But a theorem that brings its own under a name that is that of another is judged by its own,
        be it that of a theorem of the same name.
        """
        name = theorem.metric
        if not hasattr(theorem, "measure") or (name not in METRICS and self._own[name] == 1):
            return name
        alike = [t for t in self.theorems if t.metric == name and t.name == theorem.name]
        place = next((i for i, one in enumerate(alike) if one is theorem), 0)
        return f"{name} ({theorem.name})" if place == 0 else f"{name} ({theorem.name}, {place + 1})"

    def metric(self, theorem: Theorem) -> Metric:
        """The function that measures the theorem's metric."""
        return self.measures[self.key(theorem)] if hasattr(theorem, "measure") else METRICS[theorem.metric]

    def known(self, theorem: Theorem, *, exact_over_noise: bool = False) -> Known:
        """What is known beforehand of the theorem's metric in a single trial."""
        key = (self.key(theorem), exact_over_noise)
        if key not in self._known:
            metric = self.metric(theorem)
            self._known[key] = known_squares(
                self.instance, metric, self.noise.kurtosis, exact_over_noise=exact_over_noise, bounded=self._bounded
            )
        return self._known[key]

    @property
    def _bounded(self) -> bool:
        """Whether the declared bound of gradients was tested, and held."""
        return any(premise.name == "bounded" and premise.held for premise in self.premises)

    @cached_property
    def _known(self) -> dict[tuple[str, bool], Known]:
        return {}

    @cached_property
    def expectation(self) -> dict[str, Evidence]:
        """Exact expectations that cost no more than a run: where coordinates, or eigen-directions, move by themselves."""
        own = {name: metric for name, metric in self.measures.items() if has_expectation(self.instance, metric)}
        wanted = [name for name in self.metrics if name in EXACT or name in own]
        return expectations(self.instance, wanted, measures=own) if decouples(self.instance) else {}

    @cached_property
    def ceilings(self) -> dict[str, NDArray[np.float64]]:
        """Upper bounds of expectations, by metric, under any noise of the declared variances; not every metric has one."""
        return {} if self.expectation else at_most(self.instance, self.metrics)

    def premises_of(self, theorem: Theorem) -> tuple[Premise, ...]:
        """Of the premises that were tested those that the theorem needs; all of them if it does not speak of the algorithm."""
        if excuse_of(theorem, self.setting) is not None:
            return tuple(premise for premise in self.premises if PREMISES[premise.name].of_every_theorem)
        wanted, spared = further_premises(theorem, self.setting), spared_premises(theorem)
        every = (p for p in self.premises if PREMISES[p.name].of_every_theorem or p.name in wanted)
        return tuple(premise for premise in every if premise.name not in spared)

    def excuse(self, theorem: Theorem) -> str | None:
        """Why the theorem is not applicable, or None: the algorithm, then a premise, then the step size."""
        if reason := changing(self.setting.algorithm):
            return reason
        if reason := excuse_of(theorem, self.setting):
            return reason
        for premise in self.premises_of(theorem):
            if not premise.held:
                return f"premise {premise.name} fails: {premise.how}"
        largest, admitted = step_of(theorem, self.setting)
        alpha = self.setting.alpha
        if not (alpha < largest or (alpha == largest and admitted)):
            sign = "at most" if admitted else "below"
            return f"the learning rate {alpha:.4g} is too large: the theorem admits α {sign} {largest:.4g}"
        return None


def claims_of(
    experiment: Experiment,
    theorems: Sequence[Theorem | str] | None = None,
    progress: Callable[[int, int], None] | None = None,
    kept: Findings | None = None,
) -> list[Claims]:
    """The claims on every cell of the experiment; nothing is simulated yet. ``theorems``, or their names, replace those that
    the file names.

    ``progress(done, total)`` is called when the premises of a cell have been tested. ``kept``: what another call has found of
    the same experiment and theorems, which is not tested again; what this one finds is kept there.
    """
    wanted = theorems_of(experiment) if theorems is None else theorems
    chosen = tuple(named(experiment, one) if isinstance(one, str) else one for one in wanted)
    ready = [instance_of(cell) for cell in cells(experiment)]
    found = _finder(chosen, LEVEL / len(ready))  # the level is that of the premises of all cells together
    claims = []
    for number, instance in enumerate(ready):
        known = None if kept is None else kept.load(number, instance)
        one = found(instance) if known is None else known
        if kept is not None and known is None:
            kept.save(number, instance, one)
        claims.append(Claims(instance, chosen, one.premises, one.noise))
        if progress is not None:
            progress(number + 1, len(ready))
    return claims


def _finder(theorems: Sequence[Theorem], level: float) -> Callable[[Instance], Found]:
    """What tests the premises of one cell after the other; those of equal problems once."""
    tested: dict[bytes, dict[str, Premise]] = {}
    tails: dict[bytes, FourthMoment] = {}

    def found(instance: Instance) -> Found:
        with np.errstate(all="ignore"):  # what overflows is seen in the numbers, and refused there
            further = _further(instance.setting, theorems)
            premises = check_premises(instance, level=level, known=tested, further=further)
        key = key_of(instance)
        if key is None:
            return Found(premises, fourth_moment(instance))
        if key not in tails:
            tails[key] = fourth_moment(instance)
        return Found(premises, tails[key])

    return found


def fourth_moment(instance: Instance) -> FourthMoment:
    """What is known of the noise's fourth moment: beforehand, or by its draws.

    Draws say something where tails are light enough for a fourth moment (an index above :data:`INDEX`) and most of the declared
    variance has been seen. What is missing of it may come in jumps too rare to have shown, in trials too.
    """
    known = known_moments(instance)
    if known is not None and has_mean_zero(instance.noise):
        return FourthMoment(known.whole)
    tail = noise_tail(instance, draw(instance))
    if known is not None and known.whole >= SLACK * tail.fourth:
        return FourthMoment(known.whole)
    if tail.index > INDEX and tail.shown_lower > SHOWN and math.isfinite(tail.fourth_upper):
        return FourthMoment(max(1.0, tail.fourth_upper), min(1.0, tail.shown_lower))
    return FourthMoment(None)


def _further(setting: Setting, theorems: Sequence[Theorem]) -> list[str]:
    """What the theorems that speak of the setting need beside the premises of every theorem."""
    named: list[str] = []
    for theorem in theorems:
        if excuse_of(theorem, setting) is None:
            named += _known(theorem, further_premises(theorem, setting))
    return named


def _known(theorem: Theorem, names: Sequence[str]) -> Sequence[str]:
    """The names, if all are of premises. One that is not would be tested by nothing, and the theorem hold without it."""
    for name in names:
        if name not in PREMISES:
            raise ExperimentError(
                f'{theorem.name}: needs the premise "{name}", which does not exist; allowed: {quoted(PREMISES)}'
            )
    return names
