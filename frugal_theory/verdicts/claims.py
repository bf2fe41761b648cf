"""Claims: the theorems held against one instance, with the premises that were tested."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from frugal_theory.config import Experiment
from frugal_theory.config.cells import Cell, cells
from frugal_theory.instance import Instance, instance_of
from frugal_theory.metrics import Metric
from frugal_theory.premises import LEVEL, PREMISES, check_premises
from frugal_theory.premises.premise import Premise
from frugal_theory.theorems import Setting, Theorem
from frugal_theory.theorems.resolve import theorems_of
from frugal_theory.theorems.theorem import further_premises, spared_premises

__all__ = ["Claims", "claims_of"]


@dataclass(frozen=True)
class Claims:
    """What the theorems claim of one instance, and why some of them may claim nothing."""

    instance: Instance
    theorems: tuple[Theorem, ...]
    premises: tuple[Premise, ...] = ()

    @property
    def cell(self) -> Cell:
        """The instance's cell."""
        return self.instance.cell

    @property
    def setting(self) -> Setting:
        """The instance's setting."""
        return self.instance.setting

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that the theorems need, the squared gradient norm always among them."""
        needed = [t.metric for t in self.theorems if self.excuse(t) is None]
        return tuple(dict.fromkeys(["squared_gradient_norm", *needed]))

    @property
    def measures(self) -> dict[str, Metric]:
        """The metrics that depend on the setting, by name: those that a theorem brings with it (``measure``)."""
        own = [t for t in self.theorems if hasattr(t, "measure") and self.excuse(t) is None]
        return {t.metric: t.measure(self.setting) for t in own}

    def premises_of(self, theorem: Theorem) -> tuple[Premise, ...]:
        """Of the premises that were tested those that the theorem needs; all of them if it does not speak of the algorithm."""
        if theorem.covers(self.setting) is not None:
            return tuple(premise for premise in self.premises if PREMISES[premise.name].of_every_theorem)
        wanted, spared = further_premises(theorem, self.setting), spared_premises(theorem)
        every = (p for p in self.premises if PREMISES[p.name].of_every_theorem or p.name in wanted)
        return tuple(premise for premise in every if premise.name not in spared)

    def excuse(self, theorem: Theorem) -> str | None:
        """Why the theorem is not applicable, or None: the algorithm, then a premise, then the step size."""
        if reason := theorem.covers(self.setting):
            return reason
        for premise in self.premises_of(theorem):
            if not premise.held:
                return f"premise {premise.name} fails: {premise.how}"
        largest, admitted = theorem.largest_step(self.setting)
        alpha = self.setting.alpha
        if alpha > largest or (alpha == largest and not admitted):
            sign = "at most" if admitted else "below"
            return f"the learning rate {alpha:.4g} is too large: the theorem admits α {sign} {largest:.4g}"
        return None


def claims_of(experiment: Experiment, theorems: Sequence[Theorem] | None = None) -> list[Claims]:
    """The claims on every cell of the experiment; nothing is simulated yet. ``theorems`` replaces those that the file names."""
    chosen = theorems_of(experiment) if theorems is None else tuple(theorems)
    tested: dict[bytes, dict[str, Premise]] = {}
    ready = [instance_of(cell) for cell in cells(experiment)]
    level = LEVEL / len(ready)  # of the premises of all cells together
    return [
        Claims(
            instance, chosen, check_premises(instance, level=level, known=tested, further=_further(instance.setting, chosen))
        )
        for instance in ready
    ]


def _further(setting: Setting, theorems: Sequence[Theorem]) -> list[str]:
    """What the theorems that speak of the setting need beside the premises of every theorem."""
    return [name for theorem in theorems if theorem.covers(setting) is None for name in further_premises(theorem, setting)]
