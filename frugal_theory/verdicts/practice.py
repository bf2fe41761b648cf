"""Practice: theorems that need only constants and the law of the method, held against training runs of a real model.

The constants are measured along the path, so nothing is proved here: a run is *consistent* with a theorem or *contradicts* it
together with the measured constants. L and σ_j² are suprema, and what is measured of them is at least so large and no more; a
larger value makes a bound larger, or the learning rate inadmissible. A run is one draw of what the theorem bounds the
expectation of: with one run a claim "E X ≤ b", X ≥ 0, is refused at level δ only where X > b/δ (Markov); runs that differ in
their seeds alone are bets against it (:mod:`frugal_theory.evidence.betting`). ``docs/practice.md`` says more.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from frugal_theory.algorithm.run_lengths import RunLengths
from frugal_theory.config import Algorithm
from frugal_theory.evidence import betting
from frugal_theory.premises.premise import Premise
from frugal_theory.theorems import THEOREMS, Constant, Constants, Law, Setting, Theorem
from frugal_theory.theorems.theorem import bound_of, further_premises, spared_premises
from frugal_theory.verdicts.verdict import Verdict

__all__ = ["Measured", "Observation", "PracticeVerdict", "judge", "measured_of"]

HALF = 0.5
"""Of the level: for the constants' intervals; the other half is for the evidence."""

GENERAL = ("P1", "P2", "P3", "P4", "P5", "P6")
"""The premises of every theorem."""

FROM_MEASUREMENT = ("coordinate_smoothness",)
"""Further premises that measured constants meet by themselves: −L I ⪯ ∇²f ⪯ L I serves for every coordinate."""


@dataclass(frozen=True)
class Observation:
    """What a run says of the average of a metric over its stretch.

    ``value`` in [``lower``, ``upper``]: the average over the run's steps; None where it has no estimate without bias.
    ``excess``: a number ≥ 0 that is never less than the metric on average: its expectation is at most the metric's plus
    ``allowance``. What refuses a claim is the excess alone, for which no law is assumed.
    """

    value: float | None
    lower: float | None
    upper: float | None
    excess: float
    allowance: float


@dataclass(frozen=True)
class Measured:
    """One run: the constants measured on it, its law, and what it shows over its first ``steps`` steps, of constant α.

    ``observed``: by metric. ``premises``: P1–P6, each with how it is known or why it fails. ``obstacle``: why nothing can be
    said of the run by any theorem, or None.
    """

    constants: Constants
    law: Law
    steps: int
    observed: Mapping[str, Observation] = field(default_factory=dict)
    premises: tuple[Premise, ...] = ()
    obstacle: str | None = None

    @property
    def setting(self) -> Setting:
        """What theorems see."""
        return Setting(self.constants, self.law, self.steps)


@dataclass(frozen=True)
class PracticeVerdict(Verdict):
    """A verdict on measured constants. ``trials``: the number of runs. ``step``: the horizon, the stretch of constant α.

    ``lower`` and ``upper`` enclose the average over the steps of the run (of several runs their mean), not its expectation.
    ``halved``: the bound with L, Δ or the variances halved, by name; ``dominant``: the one whose halving takes most off it.
    ``refuted_above``: what a run's average would have to exceed to refute the theorem and the measured constants together.
    """

    halved: dict[str, float] = field(default_factory=dict)
    dominant: str | None = None
    refuted_above: float | None = None


SYMBOLS = {"smoothness": "L", "gap": "Δ", "variance": "σ²"}
"""How constants are called in a reason."""


def judge(
    runs: Sequence[Measured], theorems: Iterable[Theorem] | None = None, confidence: float = 0.99
) -> list[PracticeVerdict]:
    """The verdicts of runs that differ in nothing but their seeds, one a theorem (all theorems by default).

    All verdicts together contradict a true theorem with true constants with probability at most 1 − ``confidence``. The
    constants of several runs are taken together: the largest of each. Raises ValueError for no run, or for runs whose law,
    learning rate or stretch differ.
    """
    joint = _together(runs)
    chosen = list(THEOREMS.values() if theorems is None else theorems)
    excuses = {theorem.name: _excuse(theorem, joint) for theorem in chosen}
    judged = sum(1 for theorem in chosen if excuses[theorem.name] is None)
    level = HALF * (1 - confidence) / max(1, judged)
    return [_verdict(theorem, excuses[theorem.name], joint, runs, level, confidence) for theorem in chosen]


def _together(runs: Sequence[Measured]) -> Measured:
    """One run that stands for all of them, with the largest of each constant."""
    if not runs:
        raise ValueError("there is no run to judge")
    first = runs[0]
    for other in runs[1:]:
        same = (
            other.steps == first.steps
            and other.law.learning_rate == first.law.learning_rate
            and _seedless(other.law.algorithm) == _seedless(first.law.algorithm)
        )
        if not same:
            raise ValueError("runs that are judged together must differ in their seeds alone")
    if len(runs) == 1:
        return first
    constants = Constants(
        smoothness=_largest([run.constants.smoothness for run in runs]),
        gap=_largest([run.constants.gap for run in runs]),
        variance=_largest_arrays([run.constants.variance for run in runs]),
    )
    worst = {p.name: p for p in first.premises}
    for run in runs[1:]:
        worst.update({p.name: p for p in run.premises if not p.held})
    obstacle = next((run.obstacle for run in runs if run.obstacle), None)
    return replace(first, constants=constants, premises=tuple(worst.values()), obstacle=obstacle)


def _seedless(algorithm: Algorithm) -> Algorithm:
    return algorithm.model_copy(update={"seed": None})


def _largest(found: Sequence[Constant[float]]) -> Constant[float]:
    best = max(found, key=lambda constant: constant.value)
    return replace(best, lower=max(c.lower for c in found), upper=max(c.upper for c in found))


def _largest_arrays(found: Sequence[Constant[Any]]) -> Constant[Any]:
    def most(part: str) -> dict[str, Any]:
        names = getattr(found[0], part)
        return {name: np.maximum.reduce([getattr(c, part)[name] for c in found]) for name in names}

    return replace(found[0], value=most("value"), lower=most("lower"), upper=most("upper"))


def _excuse(theorem: Theorem, run: Measured) -> str | None:
    """Why the theorem is not applicable, or None."""
    setting = run.setting
    try:
        reason = theorem.covers(setting)
    except ValueError as error:
        reason = str(error)
    if reason:
        return reason
    if run.law.runs is None and "P6" not in spared_premises(theorem):
        return "premise P6 fails: the law of the momentum set is not known beforehand"
    for premise in _premises(theorem, run):
        if not premise.held:
            return f"premise {premise.name} fails: {premise.how}"
    if run.obstacle:
        return run.obstacle
    if not _metric_is_observed(theorem, run):
        return f"its metric, {theorem.metric.replace('_', ' ')}, is not measured in training"
    largest, admitted = theorem.largest_step(setting)
    alpha = setting.alpha
    if alpha > largest or (alpha == largest and not admitted):
        sign = "at most" if admitted else "below"
        return (
            f"the learning rate {alpha:.4g} is not admissible: with the measured L, {setting.smoothness:.4g}, the "
            f"theorem admits α {sign} {largest:.4g}"
        )
    return None


def _premises(theorem: Theorem, run: Measured) -> tuple[Premise, ...]:
    """Those that the theorem needs: P1–P6 without what it spares, and further ones that no measurement meets."""
    spared = spared_premises(theorem)
    general = tuple(p for p in run.premises if p.name in GENERAL and p.name not in spared)
    further = tuple(
        Premise(name, f"premise {name} of docs/premises.md", False, "nothing measured in training says that it is met")
        for name in further_premises(theorem, run.setting)
        if name not in FROM_MEASUREMENT
    )
    return general + further


def _weight(theorem: Theorem, run: Measured) -> float | None:
    """w with w‖g‖² ≤ metric ≤ ‖g‖², or None where the metric is another.

    The run-length weights lie between 1 − β and 1 on the set, where momentum lives at least one step, and are lr_scale off it.
    """
    if hasattr(theorem, "measure") or theorem.metric not in ("squared_gradient_norm", "weighted_squared_gradient_norm"):
        return None
    runs = run.law.runs
    if theorem.metric == "squared_gradient_norm" or runs is None:
        return 1.0
    inside = 1.0 if runs.law == "fixed" else 1 - runs.beta
    if runs.full:
        return 1.0
    outside = runs.off_set_weight
    if not 0 < outside <= 1:
        return None
    return outside if runs.empty else min(inside, outside)


def _metric_is_observed(theorem: Theorem, run: Measured) -> bool:
    if hasattr(theorem, "measure"):
        return False
    if theorem.metric == "gradient_one_norm":
        return theorem.metric in run.observed
    return _weight(theorem, run) is not None and "squared_gradient_norm" in run.observed


def _verdict(
    theorem: Theorem, excuse: str | None, joint: Measured, runs: Sequence[Measured], level: float, family: float
) -> PracticeVerdict:
    setting = joint.setting
    blank = PracticeVerdict(
        theorem.name,
        "not applicable",
        "",
        learning_rate=setting.learning_rate,
        premises=_premises(theorem, joint) if theorem.covers(setting) is None else (),
        metric=theorem.metric,
        source="training",
        trials=len(runs),
    )
    if theorem.covers(setting) is None and joint.law.runs is not None and setting.learning_rate is not None:
        blank = replace(blank, largest_step=theorem.largest_step(setting)[0])
    if excuse:
        return replace(blank, reason=f"{excuse[0].upper()}{excuse[1:]}.")
    bound = _bound_at(theorem, setting)
    halved = {name: _bound_at(theorem, _halved(setting, name)) for name in SYMBOLS}
    weight = _weight(theorem, joint) or 1.0
    name = "gradient_one_norm" if theorem.metric == "gradient_one_norm" else "squared_gradient_norm"
    seen = [run.observed[name] for run in runs]
    allowed = bound / weight + max(one.allowance for one in seen)
    refuted_above = allowed / level if len(runs) == 1 else None
    value, lower, upper = (_mean([getattr(one, part) for one in seen]) for part in ("value", "lower", "upper"))
    least = min(halved.values()) if math.isfinite(bound) else math.nan
    dominant = next((SYMBOLS[n] for n, value_ in halved.items() if value_ == least), None) if bound > 0 else None
    found = replace(
        blank,
        measured=value if value is not None else _mean([one.excess for one in seen]),
        bound=bound,
        lower=lower,
        upper=upper,
        step=joint.steps,
        confidence=family,
        halved=halved,
        dominant=dominant,
        refuted_above=refuted_above,
    )
    measured = found.measured
    assert measured is not None
    found = replace(found, margin=bound - measured, tightness=measured / bound if bound > 0 else math.inf)
    if not math.isfinite(bound):
        return replace(found, status="inconclusive", reason="The bound is not a finite number.", margin=None, tightness=None)
    if not theorem.explicit:
        reason = "The constant is hidden in O(·), so no run can be consistent with it or contradict it."
        return replace(found, status="inconclusive", reason=reason, implied_constant=measured / bound if bound > 0 else None)
    return _decided(found, seen, allowed, level, bound, halved)


def _decided(
    found: PracticeVerdict,
    seen: Sequence[Observation],
    allowed: float,
    level: float,
    bound: float,
    halved: Mapping[str, float],
) -> PracticeVerdict:
    """Contradicted, consistent or inconclusive, with the reason."""
    count, steps = len(seen), found.step
    excess = np.array([one.excess for one in seen])
    if count == 1:
        refused = bool(excess[0] > allowed / level)
    else:
        refused = betting.above(excess[:, None], np.array([allowed]), np.ones(1))[0] >= -math.log(level)
    who = "the run's average" if count == 1 else f"the mean of the averages of {count} runs"
    worst = found.upper if found.upper is not None else found.measured
    assert found.measured is not None
    assert worst is not None
    share = 100 * found.measured / bound
    if refused:
        how = f"more than {1 / level:.3g} times what is allowed" if count == 1 else f"refused at level {level:.2g}"
        reason = (
            f"Over {steps} steps {who} is {found.measured:.4g} and the bound {bound:.4g}: {how}. The theorem, or a constant "
            "measured as at least so large, is wrong."
        )
        return replace(found, status="contradicted", reason=reason)
    if worst <= bound:
        factor = bound / found.measured if found.measured > 0 else math.inf
        loose = f", {factor:.3g} times it" if math.isfinite(factor) else ""
        saved = 100 * (1 - min(halved.values()) / bound)
        reason = (
            f"Over {steps} steps {who} is {found.measured:.4g}, at most {worst:.4g}, under the bound {bound:.4g}{loose}; "
            f"{found.dominant} counts most, half of it would take {saved:.2g} % off the bound."
        )
        return replace(found, status="consistent", reason=reason)
    reason = f"Over {steps} steps {who} is {found.measured:.4g}, up to {worst:.4g}, at {share:.3g} % of the bound {bound:.4g}"
    if count == 1:
        reason += f"; one run refutes an expectation only where it exceeds {allowed / level:.3g}"
    return replace(found, status="inconclusive", reason=f"{reason}; more runs with other seeds would say more.")


def _bound_at(theorem: Theorem, setting: Setting) -> float:
    """The bound at the last horizon."""
    with np.errstate(all="ignore"):
        return float(bound_of(theorem, setting)[-1])


def _halved(setting: Setting, name: str) -> Setting:
    if name == "variance":
        return setting.having(variance={key: np.asarray(value) / 2 for key, value in setting.variance.items()})
    return setting.having(**{name: getattr(setting.constants, name).value / 2})


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if len(known) == len(values) and known else None


# --- as it is kept ----------------------------------------------------------------------------------------


def measured_of(record: Mapping[str, Any], algorithm: Algorithm) -> Measured:
    """A run from its ``constants.json``. Variances are by tensor there, the same for all of its coordinates."""
    shapes = {name: tuple(shape) for name, shape in record["shapes"].items()}

    def spread(part: str) -> dict[str, Any]:
        totals = record["variance"][part]
        return {name: np.broadcast_to(np.float64(totals[name] / max(1, math.prod(s))), s) for name, s in shapes.items()}

    def constant(name: str) -> Constant[float]:
        entry = record[name]
        value = _number(entry["value"], math.nan)
        return Constant(value, _number(entry["lower"], value), _number(entry["upper"], math.inf), "measured", entry["source"])

    largest, source = spread("value"), record["variance"]["source"]
    variance: Constant[Mapping[str, Any]] = Constant(largest, spread("lower"), largest, "measured", source)
    constants = Constants(smoothness=constant("smoothness"), gap=constant("gap"), variance=variance)
    law = record.get("law")
    runs = None
    if law is not None:
        runs = RunLengths(algorithm, shapes, law["law"], {name: np.asarray(float(p)) for name, p in law["share"].items()})
    observed = {name: Observation(**entry) for name, entry in record["observed"].items()}
    premises = tuple(Premise(p["name"], p["statement"], p["held"], p["how"]) for p in record["premises"])
    return Measured(
        constants, Law(algorithm, record["learning_rate"], runs), record["stretch"], observed, premises, record["obstacle"]
    )


def _number(value: Any, missing: float) -> float:
    return missing if value is None else float(value)
