"""Looks: trials are added to what Monte Carlo leaves open, until it is settled or the budget is spent."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from frugal_theory.evidence.evidence import Evidence
from frugal_theory.evidence.moments import pooled
from frugal_theory.evidence.monte_carlo.simulation import BATCH
from frugal_theory.verdicts.claims import Claims
from frugal_theory.verdicts.judging import error_level, verdict
from frugal_theory.verdicts.verdict import Verdict

__all__ = ["More", "next_look", "settle"]

CAUTION = 1.15
"""So many times the trials that would be enough if they came out like those before."""

More = Callable[[Mapping[int, tuple[int, int]]], Iterable[tuple[int, Mapping[str, Evidence]]]]
"""Given {number of claims: (first, trials)}, pairs of that number and the evidence of trials first … trials − 1 alone."""


def settle(
    ready: Sequence[Claims],
    evidence: Iterable[Mapping[str, Evidence]],
    confidence: float,
    more: More,
    keep: Callable[[Claims, Mapping[str, Evidence]], None] | None = None,
) -> tuple[list[dict[str, Evidence]], list[Verdict]]:
    """The verdicts on all claims, and the evidence behind them, with trials added where that can settle something.

    Claims are judged again at the number of trials that seems enough (:func:`next_look`), until they are settled or the budget
    is spent. Bets are valid at every number of trials, so all verdicts together are right with ``confidence``
    although the data decide when to stop. ``more`` gathers further trials;
    claims go by their number in ``ready``. ``keep`` is called with claims and all their evidence whenever some was added.
    """
    level = error_level(ready, confidence)
    found = [dict(metrics) for metrics in evidence]
    verdicts: list[list[Verdict]] = [[] for _ in ready]
    fresh: Iterable[int] = range(len(ready))
    while fresh:
        for number in fresh:
            claims = ready[number]
            verdicts[number] = [verdict(claims, theorem, found[number], level, confidence) for theorem in claims.theorems]
        wanted = _wanted(ready, found, verdicts)
        for number, added in more(wanted) if wanted else ():
            found[number] = {name: pooled(old, added[name]) for name, old in found[number].items()}
            if keep is not None:
                keep(ready[number], found[number])
        fresh = list(wanted)
    return found, [verdict_ for group in verdicts for verdict_ in group]


def next_look(budget: int, trials: int, verdicts: Sequence[Verdict]) -> int | None:
    """The number of trials at which to judge again: about enough for every open verdict, at most four times those there are.

    None if nothing is open that trials could settle, or the budget is spent.
    """
    open_ = [v for v in verdicts if v.status == "inconclusive" and v.lower is not None]
    if not open_ or trials >= budget:
        return None
    needed = max(CAUTION * v.trials_needed if v.trials_needed else 2 * trials for v in open_)
    wanted = min(max(needed, trials + BATCH), 4 * max(trials, BATCH))
    return min(budget, trials + BATCH * math.ceil((wanted - trials) / BATCH))


def _wanted(
    ready: Sequence[Claims], found: Sequence[Mapping[str, Evidence]], verdicts: Sequence[Sequence[Verdict]]
) -> dict[int, tuple[int, int]]:
    wanted = {}
    for number, (claims, metrics, group) in enumerate(zip(ready, found, verdicts, strict=True)):
        trials = next(iter(metrics.values())).trials
        if look := next_look(claims.instance.budget, trials, group):
            wanted[number] = (trials, look)
    return wanted
