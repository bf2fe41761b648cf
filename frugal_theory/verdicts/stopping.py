"""Looks: trials are added to what Monte Carlo leaves open, until it is settled or the budget is spent."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from frugal_theory.evidence.evidence import Evidence
from frugal_theory.evidence.few_trials import TRIALS
from frugal_theory.evidence.moments import pooled
from frugal_theory.verdicts.judging import error_level, judge_study
from frugal_theory.verdicts.verdict import Verdict

if TYPE_CHECKING:
    from frugal_theory.verdicts.verify import Study

__all__ = ["More", "next_look", "settle"]

More = Callable[[Mapping[int, tuple[int, int]]], Iterable[tuple[int, Mapping[str, Evidence]]]]
"""Given {study: (first, trials)}, pairs of a study and the evidence of its trials first … trials − 1 alone."""


def settle(
    ready: Sequence[Study],
    evidence: Sequence[Mapping[str, Evidence]],
    confidence: float,
    more: More,
    keep: Callable[[Study, Mapping[str, Evidence]], None] | None = None,
) -> tuple[list[dict[str, Evidence]], list[Verdict]]:
    """The verdicts of all studies, and the evidence behind them, with trials added where that can settle something.

    A study is judged at the numbers of trials that ``Simulation.looks`` names, from the one it has on, and skips those
    that would not be enough. The error level is shared among all looks (:func:`error_level`), so all
    verdicts together are right with ``confidence`` although the data decide when to stop. ``more`` gathers further trials;
    studies go by their number in ``ready``. ``keep`` is called with a study and all its evidence whenever some was added.
    """
    single = 1 - error_level(ready, confidence)
    found = [dict(metrics) for metrics in evidence]
    verdicts = [judge_study(study, metrics, single, confidence) for study, metrics in zip(ready, found, strict=True)]
    while wanted := _wanted(ready, found, verdicts):
        for number, added in more(wanted):
            found[number] = {name: pooled(old, added[name]) for name, old in found[number].items()}
            if keep is not None:
                keep(ready[number], found[number])
            verdicts[number] = judge_study(ready[number], found[number], single, confidence)
    return found, [verdict for group in verdicts for verdict in group]


def next_look(looks: Sequence[int], trials: int, verdicts: Sequence[Verdict]) -> int | None:
    """The number of trials at which to judge again: the first look that is about enough for every open verdict, or the last;
    the very next one while there are too few trials to tell.

    None if nothing is open that trials could settle, or no look is left.
    """
    needed = [v.trials_needed or math.inf for v in verdicts if v.status == "inconclusive" and v.lower is not None]
    later = [look for look in looks if look > trials]
    if not needed or not later:
        return None
    enough = TRIALS[0] if trials < TRIALS[0] else max(needed)
    return next((look for look in later if look >= enough), later[-1])


def _wanted(
    ready: Sequence[Study], found: Sequence[Mapping[str, Evidence]], verdicts: Sequence[Sequence[Verdict]]
) -> dict[int, tuple[int, int]]:
    wanted = {}
    for number, (study, metrics, group) in enumerate(zip(ready, found, verdicts, strict=True)):
        trials = next(iter(metrics.values())).trials
        if look := next_look(study.cell.experiment.simulation.looks, trials, group):
            wanted[number] = (trials, look)
    return wanted
