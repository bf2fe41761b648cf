"""Grounds: what the premises of one instance are tested with. Searches and draws that several need are made once."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from frugal_theory.instance import Instance
from frugal_theory.premises.draws import Draws, draw
from frugal_theory.premises.moments import Finding
from frugal_theory.premises.path import Path, walk
from frugal_theory.premises.premise import Premise
from frugal_theory.premises.search import Search, search

__all__ = ["STATISTICAL", "Grounds", "PremiseTest", "worst"]

STATISTICAL = ("P3", "P4", "P5", "uncorrelated", "symmetric_unimodal", "symmetric")
"""The premises that a true noise is refused by chance; the others are refused by what can be evaluated again."""


@dataclass(frozen=True)
class PremiseTest:
    """One premise and how it is tested: ``test`` is given the :class:`Grounds` of an instance and says what it found.

    ``of_algorithm``: whether that depends on the algorithm. If not, cells with the same problem and noise are tested once.
    ``of_every_theorem``: whether every theorem needs it (but those that spare it); if not, it is tested where a theorem that
    speaks of the cell needs it. ``along``: what the path of the algorithm says of a premise that ``test`` has not refused; that
    depends on the algorithm in any case.
    """

    name: str
    statement: str
    test: Callable[[PremiseTest, Grounds], Premise]
    of_algorithm: bool = True
    of_every_theorem: bool = True
    along: Callable[[PremiseTest, Grounds, Premise], Premise] | None = None

    def found(self, held: bool, how: str, level: float | None = None, power: str = "") -> Premise:
        """The premise with what was found."""
        return Premise(self.name, self.statement, held, how, level, power)


@dataclass
class Grounds:
    """What the premises of one instance are tested with.

    ``level``: the probability that any premise of an instance that meets all of them is refused. ``tests``: by name, the
    premises, which may ask what was found of each other. ``drawn``: draws of the noise, if they have been made.
    """

    instance: Instance
    level: float
    tests: Mapping[str, PremiseTest]
    drawn: Sequence[Draws] | None = None
    known: dict[str, Premise] = field(default_factory=dict)
    final: dict[str, Premise] = field(default_factory=dict)

    def premise(self, name: str) -> Premise:
        """What the test of this premise found, and the path."""
        if name not in self.final:
            test = self.tests[name]
            if name not in self.known:
                self.known[name] = test.test(test, self)
            found = self.known[name]
            alone = test.along is None or not found.held or self.path is None
            self.final[name] = found if alone or test.along is None else test.along(test, self, found)
        return self.final[name]

    # --- f ------------------------------------------------------------------------------------------------------

    @cached_property
    def search(self) -> Search | None:
        """Where f is steep, and how low it is; None if the declared L, which sets the pace, is not a positive number."""
        instance, declared = self.instance, self.instance.setting.smoothness
        if not (math.isfinite(declared) and declared > 0):
            return None
        return search(instance.problem, declared, instance.start, instance.seed)

    # --- the noise ----------------------------------------------------------------------------------------------

    @cached_property
    def draws(self) -> Sequence[Draws]:
        """The noise as it is drawn, at some points."""
        return draw(self.instance) if self.drawn is None else self.drawn

    @cached_property
    def path(self) -> Path | None:
        """Where the algorithm goes; None for draws that are given, and while the learning rate is not known."""
        alpha = self.instance.setting.learning_rate
        if self.drawn is not None or alpha is None or not math.isfinite(alpha):
            return None
        return walk(self.instance)

    @property
    def everywhere(self) -> Sequence[Draws]:
        """The draws, and those of every stage of the path that are finite."""
        stages = self.path.draws[: self.path.stages] if self.path else ()
        return [*self.draws, *(at for at in stages if at.finite)]

    @property
    def half(self) -> float:
        """The level of a premise's tests at fixed points, and of those along the path."""
        return self.share if self.drawn is not None else self.share / 2

    @property
    def share(self) -> float:
        """The level of each premise that is tested by statistics."""
        return self.level / len(STATISTICAL)

    @property
    def noise(self) -> str:
        """The noise in words."""
        setting = self.instance.setting
        return f"{type(setting.noise).__name__} noise" if setting.total_variance else "a gradient without noise"

    @property
    def no_mean(self) -> bool:
        """Whether the noise says itself that it has no mean, so that there is nothing to draw."""
        return self.drawn is None and getattr(self.instance.noise, "degrees_of_freedom", math.inf) <= 1

    @cached_property
    def wild(self) -> str | None:
        """Where draws are not finite, in words; None if all are."""
        points = [at.point for at in self.draws if not at.finite]
        return f"draws of {self.noise} at {points[0]} are not finite" if points else None

    @property
    def untested(self) -> str | None:
        """Why the statistics of P3 and P4, which are those of independent draws, say nothing; None if they do."""
        if self.premise("P5").held:
            return None
        return f"not tested: the {len(self.draws[0].flat)} draws are not independent"


def worst(tests: Sequence[Finding], drawn: Sequence[Draws]) -> tuple[Finding, Draws]:
    """The test closest to refusing, or that does, with its draws."""

    def urgency(finding: Finding) -> float:
        ratio = finding.statistic / finding.critical
        return math.inf if math.isnan(ratio) else ratio

    return max(zip(tests, drawn, strict=True), key=lambda pair: urgency(pair[0]))
