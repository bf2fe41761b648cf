"""Judging: a bound held against its evidence at a few horizons, with one error level for everything that is judged."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from frugal_theory.evidence.evidence import Evidence
from frugal_theory.evidence.exact.expectations import METRICS, averaged_over_sets, expectations
from frugal_theory.evidence.few_trials import TRIALS
from frugal_theory.evidence.horizons import horizons
from frugal_theory.evidence.moments import NO_INTERVAL
from frugal_theory.instance import Instance
from frugal_theory.theorems import Setting, Theorem
from frugal_theory.verdicts.claims import Claims
from frugal_theory.verdicts.verdict import Verdict

__all__ = ["error_level", "judge", "verdict"]

Array = NDArray[np.float64]
Index = NDArray[np.int64]

MANY_TRIALS = 10**12
"""More trials than this are not said to settle anything."""

ROUNDING = 1e-9
"""Relative rounding of a sum over thousands of steps: a bound that is attained exactly must not look violated."""


def judge(ready: Sequence[Claims], evidence: Sequence[Mapping[str, Evidence]], confidence: float) -> list[Verdict]:
    """The verdicts on all claims, from their evidence, with one error level for the whole family (:func:`error_level`)."""
    single = 1 - error_level(ready, confidence)
    pairs = zip(ready, evidence, strict=True)
    return [verdict(claims, theorem, found, single, confidence) for claims, found in pairs for theorem in claims.theorems]


def error_level(ready: Sequence[Claims], confidence: float) -> float:
    """The probability with which a single interval may miss, so that all verdicts are right with ``confidence``.

    Bonferroni over every comparison of every instance, every horizon, and every number of trials at which a verdict is
    attempted (``Simulation.looks``), whether or not it comes to that. So it is valid whatever decides when to stop. Where
    the exact expectation is itself an average over trials of the sets, a look has two intervals.
    """
    comparisons = sum(1 for claims in ready for theorem in claims.theorems if claims.excuse(theorem) is None)
    judged = max((len(horizons(claims.setting.steps)) for claims in ready), default=1)
    looks = max((len(claims.instance.looks) for claims in ready), default=1)
    intervals = 2 if any(averaged_over_sets(claims.instance) for claims in ready) else 1
    return (1 - confidence) / max(1, comparisons * judged * looks * intervals)


def verdict(claims: Claims, theorem: Theorem, evidence: Mapping[str, Evidence], single: float, family: float) -> Verdict:
    """The verdict on one theorem: its bound held against its metric's ``evidence`` at a few horizons.

    ``single``: the confidence of each interval; ``family``: that of the whole experiment, to be shown. What Monte Carlo
    leaves open is settled by the exact expectation where there is one (Algorithm 2 on a quadratic).
    """
    setting = claims.setting
    blank = Verdict(
        theorem.name,
        "not applicable",
        "",
        learning_rate=setting.alpha,
        premises=claims.premises_of(theorem),
        cell=claims.cell.settings,
        label=claims.cell.label,
        metric=theorem.metric,
    )
    if theorem.covers(setting) is None and setting.runs is not None:
        blank = replace(blank, largest_step=theorem.largest_step(setting)[0])
    if excuse := claims.excuse(theorem):
        return replace(blank, reason=excuse[0].upper() + excuse[1:] + ".")

    found, bound = evidence[theorem.metric], theorem.bound(setting)
    lower, upper = found.interval(single)
    fewest = _fewest_trials(setting, single)
    if few := found.deviation is not None and found.trials < fewest:
        lower, upper = np.full_like(lower, -np.inf), np.full_like(upper, np.inf)
    at = horizons(setting.steps) - 1
    mean, lower, upper, bound = found.mean[at], lower[at], upper[at], bound[at]
    worst = int(np.argmax(_share(mean, bound)))
    steps = found.steps[at]
    blank = replace(blank, confidence=family, source=found.source, trials=found.trials)
    shown = _shown(blank, worst, steps, mean, lower, upper, bound)
    slack = bound * (1 + ROUNDING)
    if not theorem.explicit:
        constant = float(np.max(_share(upper, bound)))
        judged = _shape_only(shown, found, constant, float(np.max(_share(mean, bound))))
        settled = math.isfinite(constant)
    elif np.any(lower > slack) or not np.all(np.isfinite(mean)):
        return _violated(shown, steps, mean, lower, upper, bound)
    elif NO_INTERVAL in found.notes:
        reason = (
            f"For a Monte Carlo average of ‖g‖² {NO_INTERVAL}; "
            f"the average itself is at {100 * _share(mean, bound)[worst]:.3g} % of the bound."
        )
        judged, settled = replace(shown, status="inconclusive", reason=reason, lower=None, upper=None), False
    elif np.all(upper <= slack):
        reason = (
            f"At {len(at)} horizons up to k = {setting.steps} the average stays below the bound; "
            f"closest at k = {shown.step}, at {100 * _share(mean, bound)[worst]:.3g} % of it."
        )
        return replace(shown, status="holds", reason=reason)
    else:
        judged, settled = _inconclusive(shown, found, at, upper, bound, single, fewest=fewest if few else 0), False
    if settled or found.source != "monte_carlo":
        return judged
    exact = _exact(claims.instance, theorem.metric, single, found.trials)
    return judged if exact is None else verdict(claims, theorem, exact, single, family)


def _exact(instance: Instance, metric: str, confidence: float, trials: int) -> dict[str, Evidence] | None:
    """The exact expectation of the metric, or None where there is no way to it; over so many trials of random sets."""
    if metric not in METRICS:
        return None
    try:
        return expectations(instance, [metric], trials=trials, confidence=confidence)
    except ValueError:  # not Algorithm 2 on a quadratic with additive noise
        return None


def _fewest_trials(setting: Setting, single: float) -> int:
    """Trials from which on it is less likely than 1 − ``single`` that all of them draw one unit alike.

    Fewer can agree closely because none has seen what happens when that unit is in the set, or when it is not; no
    statistic of theirs shows it. 1 where the set is not drawn, or does not matter.
    """
    runs = setting.runs
    if runs is None or runs.law != "redrawn" or setting.is_sgd:
        return 1
    shares = np.concatenate([np.ravel(share) for share in runs.share.values()])
    drawn = shares[(shares > 0) & (shares < 1)]
    if drawn.size == 0:
        return 1
    return math.ceil(math.log(1 - single) / math.log1p(-float(np.min(np.minimum(drawn, 1 - drawn)))))


def _shape_only(verdict: Verdict, found: Evidence, constant: float, estimate: float) -> Verdict:
    if not math.isfinite(constant):
        doubt = (
            f"; {NO_INTERVAL}"
            if NO_INTERVAL in found.notes
            else f"; {found.trials} trials are too few or too skewed for a limit"
        )
    else:
        doubt = f" (at most {constant:.3g})" if constant > estimate * 1.001 else ""
    reason = f"The constant is hidden in O(·), so this cannot hold or fail; the evidence implies one of {estimate:.3g}{doubt}."
    return replace(verdict, status="shape only", reason=reason, implied_constant=constant, margin=None)


def _violated(verdict: Verdict, steps: Index, mean: Array, lower: Array, upper: Array, bound: Array) -> Verdict:
    worst = int(np.argmax(_share(np.where(np.isfinite(mean), lower, np.inf), bound)))  # what diverged speaks first
    reason = f"At k = {steps[worst]} the average is {mean[worst]:.4g}, above the bound {bound[worst]:.4g}."
    shown = _shown(verdict, worst, steps, mean, lower, upper, bound)
    return replace(shown, status="violated", reason=reason)


def _share(values: Array, bound: Array) -> Array:
    """``values / bound``; what is not a number is infinite, but nothing under a bound of zero is none of it."""
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.nan_to_num(values / bound, nan=np.inf, posinf=np.inf, neginf=-np.inf)
    return np.where((values == 0) & (bound == 0), 0.0, share)


def _shown(verdict: Verdict, worst: int, steps: Index, mean: Array, lower: Array, upper: Array, bound: Array) -> Verdict:
    """The verdict with the numbers of the horizon that speaks for it."""
    return replace(
        verdict,
        measured=float(mean[worst]),
        bound=float(bound[worst]),
        margin=float(bound[worst] - mean[worst]),
        tightness=float(_share(mean, bound)[worst]),
        lower=float(lower[worst]),
        upper=float(upper[worst]),
        step=int(steps[worst]),
    )


def _inconclusive(
    verdict: Verdict, found: Evidence, at: Index, upper: Array, bound: Array, single: float, fewest: int = 0
) -> Verdict:
    worst = int(np.argmax(_share(upper, bound)))
    where = found.at(int(at[worst]))
    reason = f"At k = {where.steps[0]} the interval around {where.mean[0]:.4g} " + (
        f"reaches {upper[worst]:.4g}, past the bound {bound[worst]:.4g}"
        if math.isfinite(upper[worst])
        else f"is open: trials too few ({found.trials}) or too skewed to say more"
    )
    needed = _trials_needed(where, float(bound[worst]), single)
    needed = None if needed is None else max(needed, fewest)
    more = f"; about {needed:,} trials would settle it." if needed is not None else "."
    return replace(verdict, status="inconclusive", reason=reason + more, trials_needed=needed)


def _trials_needed(found: Evidence, bound: float, confidence: float) -> int | None:
    """The number of trials, to two digits, at which the interval would clear the bound if the mean, the deviation and the
    skewness of a trial stayed as they are; None beyond MANY_TRIALS, or without such statistics (of one or two trials)."""
    if found.deviation is None or found.trials < TRIALS[0]:
        return None

    def clear(trials: int) -> bool:
        lower, upper = replace(found, trials=trials).interval(confidence)
        return bool(upper[0] <= bound or lower[0] > bound)

    few, many = found.trials, 2 * found.trials
    while not clear(many):
        few, many = many, 2 * many
        if many > MANY_TRIALS:
            return None
    while many - few > max(1, many // 100):
        middle = (few + many) // 2
        few, many = (few, middle) if clear(middle) else (middle, many)
    unit = 10 ** max(0, len(str(many)) - 2)
    return -(-many // unit) * unit
