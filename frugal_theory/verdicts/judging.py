"""Judging: a bound held against its evidence at every horizon, with one error level for everything that is judged.

What is exact is compared. What is an average of trials is decided by bets (:mod:`frugal_theory.evidence.betting`): "violated"
needs no assumption about the law of a trial, "holds" the square mean that is known beforehand
(:mod:`frugal_theory.evidence.second_moments`), and both are valid at whatever number of trials they are reached.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from frugal_theory.evidence import betting
from frugal_theory.evidence.evidence import Evidence
from frugal_theory.evidence.exact.expectations import METRICS, averaged_over_sets, expectations
from frugal_theory.evidence.horizons import JUDGED, judged
from frugal_theory.evidence.second_moments import Known
from frugal_theory.instance import Instance
from frugal_theory.theorems import Theorem
from frugal_theory.theorems.theorem import bound_of, excuse_of, step_of
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
    level = error_level(ready, confidence)
    pairs = zip(ready, evidence, strict=True)
    return [verdict(claims, theorem, found, level, confidence) for claims, found in pairs for theorem in claims.theorems]


def error_level(ready: Sequence[Claims], confidence: float) -> float:
    """The probability with which a single verdict may be wrong, so that all of them are right with ``confidence``.

    Bonferroni over the claims of every instance. Horizons and looks at growing numbers of trials share a bet, and need no
    share of the level; a true theorem can only be "violated" wrongly, a false one only "hold". Where the exact expectation is
    itself an average over trials of the sets, a claim is judged twice.
    """
    comparisons = sum(1 for claims in ready for theorem in claims.theorems if claims.excuse(theorem) is None)
    times = 2 if any(averaged_over_sets(claims.instance) for claims in ready) else 1
    return (1 - confidence) / max(1, comparisons * times)


def verdict(claims: Claims, theorem: Theorem, evidence: Mapping[str, Evidence], level: float, family: float) -> Verdict:
    """The verdict on one theorem: its bound held against its metric's ``evidence``.

    ``level``: the probability with which it may be wrong; ``family``: the confidence of the whole experiment, to be shown. What
    trials do not refute is compared with the exact expectation where there is one (Algorithm 2 on a quadratic): at once where
    that costs no more than a run, else if the trials leave it open.
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
        metric=claims.key(theorem),
    )
    if excuse_of(theorem, setting) is None and setting.runs is not None:
        blank = replace(blank, largest_step=step_of(theorem, setting)[0])
    if excuse := claims.excuse(theorem):
        return replace(blank, reason=excuse[0].upper() + excuse[1:] + ".")
    found = evidence[claims.key(theorem)]
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        bound = bound_of(theorem, setting)
    blank = replace(blank, confidence=family)
    first = _Claim(claims, theorem, found, bound, level, blank).verdict()
    if found.source != "monte_carlo" or found.values is None or first.status == "violated":
        return first
    key = claims.key(theorem)
    if key in claims.expectation:
        exact: Evidence | None = claims.expectation[key]
    else:
        settled = first.status == "holds" or (first.status == "shape only" and math.isfinite(first.implied_constant or 0.0))
        exact = None if settled else _exact(claims.instance, key, level, found.trials)
    return first if exact is None else _Claim(claims, theorem, exact, bound, level, blank).verdict()


def _exact(instance: Instance, metric: str, level: float, trials: int) -> Evidence | None:
    """The exact expectation of the metric, or None where there is no way to it; over so many trials of random sets."""
    if metric not in METRICS:
        return None
    try:
        return expectations(instance, [metric], trials=trials, confidence=1 - level)[metric]
    except ValueError:  # not Algorithm 2 on a quadratic with additive noise
        return None


@dataclass(frozen=True)
class _Claim:
    """One bound, shape (steps,), and one body of evidence for it."""

    claims: Claims
    theorem: Theorem
    found: Evidence
    bound: Array
    level: float
    blank: Verdict

    def verdict(self) -> Verdict:
        """What the evidence says of the bound."""
        blank = replace(self.blank, source=self.found.source, trials=self.found.trials)
        certain = replace(self, blank=blank)
        return certain._compared() if self.found.values is None else certain._wagered(self.found.values)

    # --- evidence that is exact -------------------------------------------------------------------------------

    def _compared(self) -> Verdict:
        """Nothing random is left: every step is compared."""
        mean, bound = self.found.mean, self.bound
        usable = np.isfinite(mean) & np.isfinite(bound)
        if not self.theorem.explicit:
            constant = float(np.max(_share(mean, bound)[usable], initial=0.0))
            return self._shape(int(np.argmax(np.where(usable, _share(mean, bound), -1))), constant, constant, usable)
        above = usable & (mean > bound * (1 + ROUNDING))
        if np.any(above):
            return self._violated(int(np.argmax(np.where(above, _share(mean, bound), -1))))
        if not np.all(usable):
            return self._overflow(usable)
        return self._holds(int(np.argmax(_share(mean, bound))), "")

    # --- averages of trials -----------------------------------------------------------------------------------

    def _wagered(self, values: Array) -> Verdict:
        """Trials are what there is: bets for and against the bound at the horizons at which they were kept."""
        at = judged(self.claims.setting.steps) - 1
        bound, wanted = self.bound[at] * (1 + ROUNDING), -math.log(self.level)
        usable = np.isfinite(values).all(axis=0) & np.isfinite(bound)
        positive = usable & (bound > 0)
        shares = np.where(usable, _share(self.found.mean[at], self.bound[at]), -1.0)
        closest = int(np.argmax(shares))
        if np.any(values < 0):
            where = int(np.argmax((values < 0).any(axis=0)))
            reason = "The metric is negative in some trials, and only what is not can be judged by trials."
            return replace(self._shown(int(at[where])), status="inconclusive", reason=reason)
        if self.theorem.explicit and np.any(usable):
            if np.any(impossible := usable & ((bound < 0) | ((bound == 0) & (values > 0).any(axis=0)))):
                return self._violated(int(at[int(np.argmax(impossible))]))
            if np.any(positive):
                weight = _spread(at + 1)[positive]
                won, where = betting.above(values[:, positive], bound[positive], weight / weight.sum())
                if won >= wanted:
                    return self._violated(int(at[np.flatnonzero(positive)[where]]))
        known = self._known
        if not self.theorem.explicit:
            return self._implied(values, at, usable, known)
        if not np.all(usable):
            return self._overflow(usable[np.searchsorted(at, np.arange(len(self.bound)))])
        ceiling = self.claims.ceilings.get(self.claims.key(self.theorem))
        if ceiling is not None and np.all(ceiling <= self.bound * (1 + ROUNDING)):
            return self._holds(int(at[closest]), ": so does the exact expectation under any noise of these variances")
        held = self._between(at) * self.claims.noise.seen
        square = known.against(held, at)
        nothing = np.minimum(known.square, known.ceiling)[at] <= 0  # trials that show nothing do not say that there is nothing
        won_by = np.where(
            held > 0, betting.below(values, np.where(held > 0, held, 1.0), square), np.where(nothing, np.inf, 0.0)
        )
        if np.all(won_by >= wanted):
            return self._holds(int(at[closest]), f" ({known.how} bounds a trial's square mean)")
        return self._open(values, at, held, square, won_by, known)

    @property
    def _known(self) -> Known:
        return self.claims.known(self.theorem, exact_over_noise=self.found.source == "exact")

    def _between(self, at: Index) -> Array:
        """At every horizon the least value of (k/horizon) · bound over the steps k since the one before, and its own.

        k times the average up to k never falls, so an average above its bound at such a k is above this at the horizon.
        """
        scaled = self.bound * np.arange(1, len(self.bound) + 1)
        return np.minimum.reduceat(scaled, np.concatenate([[0], at[:-1] + 1])) / (at + 1) * (1 + ROUNDING)

    def _open(self, values: Array, at: Index, held: Array, square: Array, won: Array, known: Known) -> Verdict:
        where = int(np.argmin(won))
        wanted, needed = -math.log(self.level), 0.0
        growing = betting.growth_below(values / np.where(held > 0, held, 1.0), square / np.where(held > 0, held, 1.0) ** 2)
        with np.errstate(invalid="ignore"):
            rate = np.max(np.nan_to_num(growing.mean(axis=1), nan=-1.0, neginf=-1.0), axis=0)
        slow = won < wanted
        rates = rate[slow]
        needed = (wanted + math.log(len(betting.PLACES))) / float(rates.min()) if rates.min() > 0 else math.inf
        over = self._needed_above(values, at)
        open_ = replace(self._shown(int(at[where])), status="inconclusive")
        reason = f"At k = {open_.step} the average {open_.measured:.4g} is at {100 * (open_.tightness or 0):.3g} % of the bound"
        if not np.isfinite(square).all():
            reason += f", and nothing can hold by trials alone: {known.how}."
            refuted = over if math.isfinite(over) and over <= MANY_TRIALS else None
            if refuted is None:  # no more trials for this
                return replace(open_, reason=reason, lower=None, upper=None)
            return replace(open_, reason=reason, trials_needed=_two_digits(max(refuted, self.found.trials + 1)))
        needed = min(needed, over)
        if needed > MANY_TRIALS:
            return replace(open_, reason=f"{reason}: too close for these trials to say.")
        count = _two_digits(max(needed, self.found.trials + 1))
        reason += f", in [{open_.lower:.4g}, {open_.upper or math.inf:.4g}] by {self.found.trials:,} trials"
        return replace(open_, reason=f"{reason}; about {count:,} trials would settle it.", trials_needed=count)

    def _needed_above(self, values: Array, at: Index) -> float:
        """About how many trials would refute the bound, if they were like these; inf if they do not speak against it."""
        bound = self.bound[at]
        usable = bound > 0
        if not np.any(usable):
            return math.inf
        with np.errstate(invalid="ignore"):
            rates = np.max(
                np.nan_to_num(betting.growth_above(values[:, usable] / bound[usable]).mean(axis=1), neginf=-1.0), axis=0
            )
        weight = _spread(at + 1)[usable]
        cost = -math.log(self.level) + math.log(len(betting.STAKES)) - np.log(weight / weight.sum())
        with np.errstate(divide="ignore", over="ignore"):
            needed = np.where(rates > 0, cost / np.where(rates > 0, rates, 1.0), np.inf)
        return float(needed.min())

    def _implied(self, values: Array, at: Index, usable: NDArray[np.bool_], known: Known) -> Verdict:
        """The constant that a shape would need: between what the average says and what the trials allow."""
        bound = self.bound[at]
        shares = np.where(usable, _share(self.found.mean[at], bound), -1.0)
        some = np.unique(np.linspace(0, len(at) - 1, JUDGED).astype(int))  # the limit is of these horizons
        level = self.level / len(some)
        upper = [betting.upper_limit(values[:, h], level, float(known.square[at[h]])) for h in some if usable[h]]
        most = float(np.max(_share(np.array(upper), bound[some][usable[some]]), initial=0.0)) if np.all(usable) else math.inf
        return self._shape(int(at[int(np.argmax(shares))]), float(np.max(shares)), most, usable)

    # --- words ------------------------------------------------------------------------------------------------

    def _limits(self, values: Array, square: float) -> tuple[float, float]:
        return betting.lower_limit(values, self.level), betting.upper_limit(values, self.level, square)

    def _shown(self, step: int) -> Verdict:
        """The verdict with the numbers of the 0-based step that speaks for it."""
        mean, bound = float(self.found.mean[step]), float(self.bound[step])
        lower, upper = self._ends(step)
        return replace(
            self.blank,
            measured=mean,
            bound=bound,
            margin=bound - mean,
            tightness=float(_share(np.array([mean]), np.array([bound]))[0]),
            step=step + 1,
            lower=lower,
            upper=upper,
        )

    def _ends(self, step: int) -> tuple[float | None, float | None]:
        """The interval around the average at a step: itself if it is exact, the limits that bets give, or nothing."""
        mean = float(self.found.mean[step])
        if self.found.values is None:
            return mean, mean
        place = np.flatnonzero(judged(self.claims.setting.steps) == step + 1)
        if not len(place) or not np.all(np.isfinite(kept := self.found.values[:, place[0]]) & (kept >= 0)):
            return None, None
        lower, upper = self._limits(kept, float(self._known.square[step]))
        return lower, upper if math.isfinite(upper) else None

    def _holds(self, step: int, by: str) -> Verdict:
        shown = self._shown(step)
        reason = (
            f"At every k up to {len(self.bound)} the average stays below the bound{by}; "
            f"closest at k = {shown.step}, at {100 * (shown.tightness or 0):.3g} % of it."
        )
        return replace(shown, status="holds", reason=reason)

    def _violated(self, step: int) -> Verdict:
        shown = self._shown(step)
        reason = f"At k = {shown.step} the average is {shown.measured:.4g}, above the bound {shown.bound:.4g}."
        return replace(shown, status="violated", reason=reason)

    def _overflow(self, usable: NDArray[np.bool_]) -> Verdict:
        """Nothing that is not a number is judged."""
        step = int(np.argmax(~usable))
        what = "the bound" if not np.isfinite(self.bound[step]) else "the average"
        reason = f"From k = {step + 1} on {what} is not a finite number, and nothing of that kind is judged."
        return replace(self.blank, status="inconclusive", reason=reason, step=step + 1)

    def _shape(self, step: int, estimate: float, constant: float, usable: NDArray[np.bool_]) -> Verdict:
        if not np.all(usable) or not math.isfinite(constant):
            constant = math.inf
            doubt = f"; {self.found.trials} trials set it no limit"
        else:
            doubt = f" (at most {constant:.3g})" if constant > estimate * 1.001 else ""
        reason = (
            f"The constant is hidden in O(·), so this cannot hold or fail; the evidence implies one of {estimate:.3g}{doubt}."
        )
        return replace(self._shown(step), status="shape only", reason=reason, implied_constant=constant, margin=None)


def _share(values: Array, bound: Array) -> Array:
    """``values / bound``; what is not a number is infinite, but nothing under a bound of zero is none of it."""
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.nan_to_num(values / bound, nan=np.inf, posinf=np.inf, neginf=-np.inf)
    return np.where((values == 0) & (bound == 0), 0.0, share)


def _spread(steps: Index) -> Array:
    """The share of a stake that every horizon gets: even in log k."""
    edges = np.log(np.concatenate([[1], steps + 1]))
    share: Array = np.diff(edges)
    return share / share.sum()


def _two_digits(count: float) -> int:
    """A number of trials to two digits, upwards."""
    whole = math.ceil(count)
    unit = 10 ** max(0, len(str(whole)) - 2)
    return -(-whole // unit) * unit
