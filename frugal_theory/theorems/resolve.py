"""The learning rate in numbers: a fraction of the admissible step → α, a function of the experiment alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

from frugal_theory.config import Algorithm, Experiment, FractionOfAdmissible, quoted
from frugal_theory.config.load import ExperimentError
from frugal_theory.theorems import THEOREMS, Setting, Theorem
from frugal_theory.theorems.theorem import excuse_of, step_of

__all__ = ["named", "resolve", "theorems_of"]

AnySetting = TypeVar("AnySetting", bound=Setting)


def theorems_of(experiment: Experiment) -> tuple[Theorem, ...]:
    """The theorems that ``[verify] theorems`` names. Raises ExperimentError if one does not exist."""
    return tuple(named(experiment, name) for name in experiment.verify.theorems)


def named(experiment: Experiment, name: str) -> Theorem:
    """The theorem of this name. Raises ExperimentError if there is none."""
    if name not in THEOREMS:
        raise ExperimentError(
            f'{experiment.name}: verify.theorems names "{name}", which does not exist; allowed: {quoted(THEOREMS)}'
        )
    return THEOREMS[name]


def resolve(setting: AnySetting, experiment: Experiment) -> AnySetting:
    """The setting with its learning rate in numbers: a function of the experiment, whatever is verified with it.

    A fraction is one of the smallest "largest admissible step" among the experiment's theorems that speak of its
    algorithm, or among all theorems if none of those does. Raises ExperimentError if there is no such theorem at all.
    """
    rate = experiment.algorithm.learning_rate
    if not isinstance(rate, FractionOfAdmissible):
        return setting
    steps = _admissible(setting, theorems_of(experiment)) or _admissible(setting, tuple(THEOREMS.values()))
    if not steps:
        raise ExperimentError(
            f"{experiment.name}: algorithm.learning_rate is a fraction of the admissible step, and no theorem speaks of this "
            "algorithm; give a number"
        )
    alpha = rate.fraction_of_admissible * min(steps)
    algorithm: Algorithm = setting.algorithm.model_copy(update={"learning_rate": alpha})
    return setting.having(algorithm=algorithm, learning_rate=alpha)


def _admissible(setting: Setting, theorems: Sequence[Theorem]) -> list[float]:
    """The largest step of every theorem that speaks of the algorithm and limits its step."""
    steps = [step_of(theorem, setting)[0] for theorem in theorems if excuse_of(theorem, setting) is None]
    return [step for step in steps if math.isfinite(step)]
