"""Rungs of a ladder: what is known of one average, each from its own source, and whether one rung lies below another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["OUT_OF_ORDER", "Comparison", "Order", "Rung", "compare"]

Array = NDArray[np.float64]
Index = NDArray[np.int64]

Order = Literal["equal", "below", "inconclusive", "not comparable", "not below", "differs"]

OUT_OF_ORDER: tuple[Order, ...] = ("not below", "differs")
"""A ladder with one of these is wrong: an engine, a theorem or a premise."""

ROUNDING = 1e-9
"""Relative rounding of an exact number: a bound that is attained must not look exceeded."""


@dataclass(frozen=True)
class Rung:
    """One source's word on the average of ``metric`` over the first k steps, for the horizons k in ``steps``.

    ``value``, ``lower`` and ``upper`` have the shape of ``steps``; lower and upper enclose what is meant at every
    horizon of the ladder at once, and are the value where that is known. ``accuracy`` is the relative accuracy of all
    three. ``how`` says in one sentence how the rung was obtained. A rung that does not exist has no steps, and
    ``missing`` says why; a horizon at which the solvers do not agree is nan.

    What can be compared is told by ``metric``, ``noise_free``, ``one_draw`` (true along the sets of one draw, where others
    average over draws) and ``hidden`` (times a constant that the theorem does not give). ``sampled``: has a statistical
    interval. ``expectation``: is the expectation itself, so that two of them must agree. ``aside``: a bound beside the others,
    to be compared with what lies below it, and with no bound above.
    """

    name: str
    title: str
    metric: str
    source: str
    how: str
    steps: Index
    value: Array
    lower: Array
    upper: Array
    accuracy: float = ROUNDING
    noise_free: bool = False
    one_draw: bool = False
    hidden: bool = False
    sampled: bool = False
    expectation: bool = False
    aside: bool = False
    constant: float | None = None
    missing: str = ""

    @classmethod
    def absent(cls, name: str, title: str, metric: str, why: str) -> Rung:
        """A rung that there is not, and why."""
        nothing = np.zeros(0)
        return cls(name, title, metric, "", "", np.zeros(0, dtype=np.int64), nothing, nothing, nothing, missing=why)

    @property
    def last(self) -> tuple[float, float, float]:
        """Value, lower and upper at the last horizon; nan where there is none."""
        if not len(self.steps):
            return np.nan, np.nan, np.nan
        return float(self.value[-1]), float(self.lower[-1]), float(self.upper[-1])

    @property
    def unsolved(self) -> list[int]:
        """The horizons without a value."""
        return [int(k) for k in self.steps[np.isnan(self.value)]]

    def record(self) -> dict[str, Any]:
        """The rung at its last horizon, as an object of ladder.json."""
        value, lower, upper = (_plain(x) for x in self.last)
        return {
            "name": self.name,
            "title": self.title,
            "metric": self.metric,
            "source": self.source,
            "how": self.how,
            "step": int(self.steps[-1]) if len(self.steps) else None,
            "value": value,
            "lower": lower,
            "upper": upper,
            "noise_free": self.noise_free,
            "constant": self.constant,
            "unsolved": self.unsolved,
            "missing": self.missing,
        }


@dataclass(frozen=True)
class Comparison:
    """Whether the rung ``lower`` lies below the rung ``upper``, at every horizon that both have.

    "equal": both are one number, within accuracy or interval. "below": at most the other, at every horizon.
    "inconclusive": an interval reaches across, or the solvers do not agree. "not below": above the other, somewhere.
    "differs": two expectations that should be equal are not. "not comparable": they speak of different things.
    ``ratio`` = lower/upper at the last common horizon; ``largest`` its largest value over the horizons, at ``step``.
    """

    lower: str
    upper: str
    status: Order
    reason: str
    ratio: float | None = None
    largest: float | None = None
    step: int | None = None

    def record(self) -> dict[str, Any]:
        """The comparison as an object of ladder.json."""
        numbers = {name: _plain(getattr(self, name)) for name in ("ratio", "largest", "step")}
        return {"lower": self.lower, "upper": self.upper, "status": self.status, "reason": self.reason, **numbers}


def compare(lower: Rung, upper: Rung) -> Comparison:
    """Hold two rungs that exist against each other at every horizon that both have."""
    steps, mine, its = np.intersect1d(lower.steps, upper.steps, return_indices=True)
    known = ~(np.isnan(lower.value[mine]) | np.isnan(upper.value[its]))
    unsolved = [int(k) for k in steps[~known]]
    steps, mine, its = steps[known], mine[known], its[known]

    def verdict(status: Order, reason: str, **numbers: Any) -> Comparison:
        return Comparison(lower.name, upper.name, status, reason, **numbers)

    if not len(steps):
        if unsolved:
            return verdict("inconclusive", f"Unsolved at k = {_listed(unsolved)}.")
        return verdict("not comparable", "They have no horizon in common.")
    ratios = _ratios(lower.value[mine], upper.value[its])
    worst = int(np.argmax(ratios))
    numbers: dict[str, Any] = {"ratio": float(ratios[-1]), "largest": float(ratios[worst]), "step": int(steps[worst])}
    if why := _incomparable(lower, upper):
        return verdict("not comparable", f"{_capital(why)}.", **numbers)

    surely_above = _low(lower)[mine] > _high(upper)[its]
    surely_below = _high(lower)[mine] < _low(upper)[its]
    if lower.expectation and upper.expectation:
        apart = surely_above | (_high(lower)[mine] < _low(upper)[its])
        if np.any(apart):
            return verdict("differs", f"They should be equal, and differ at k = {_listed(steps[apart])}.", **numbers)
        if not np.all(np.isfinite(_high(lower)[mine] + _high(upper)[its])):
            return verdict("inconclusive", "There is no valid interval to compare with.", **numbers)
        agreement = "within the interval" if lower.sampled or upper.sampled else "to rounding"
        return verdict("equal", f"Equal {agreement} at all {len(steps)} horizons.", **numbers)
    if np.any(surely_above):
        at = int(np.argmax(np.where(surely_above, ratios, -np.inf)))
        numbers |= {"largest": float(ratios[at]), "step": int(steps[at])}
        return verdict("not below", f"Above the next rung at k = {_listed(steps[surely_above])}.", **numbers)
    across = ~surely_below
    if np.any(across) and (lower.sampled or upper.sampled):
        return verdict("inconclusive", f"An interval reaches across at k = {_listed(steps[across])}.", **numbers)
    if unsolved:
        others = f"below at the {len(steps)} other horizons"
        return verdict("inconclusive", f"Unsolved at k = {_listed(unsolved)}; {others}.", **numbers)
    if np.all(across):
        return verdict("equal", f"Attained: equal within {_digits(lower, upper)} at all {len(steps)} horizons.", **numbers)
    if np.any(across):
        reason = f"At most the next rung at all {len(steps)} horizons, attained at k = {_listed(steps[across])}"
    else:
        reason = f"Below at all {len(steps)} horizons"
    return verdict("below", f"{reason}; closest at k = {steps[worst]}.", **numbers)


def _incomparable(lower: Rung, upper: Rung) -> str | None:
    if lower.aside:
        return "a bound beside the others, which may be above or below them"
    if lower.noise_free != upper.noise_free:
        return "one is without noise, the other with it"
    if lower.one_draw != upper.one_draw:
        return "one follows the momentum sets of a single draw, the other averages over draws"
    if upper.hidden or lower.hidden:
        return "the constant is hidden in O(·), and the one used here is chosen so that the run-length theorem proves it"
    if lower.metric != upper.metric:
        return "they bound different norms"
    return None


def _ratios(lower: Array, upper: Array) -> Array:
    """lower/upper, where 0/0 is 1."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((lower == 0) & (upper == 0), 1.0, lower / upper)


def _low(rung: Rung) -> Array:
    return rung.lower * (1 - rung.accuracy)


def _high(rung: Rung) -> Array:
    return rung.upper * (1 + rung.accuracy)


def _digits(lower: Rung, upper: Rung) -> str:
    return f"{max(lower.accuracy, upper.accuracy):.0e} of it"


def _listed(steps: Any) -> str:
    """At most four horizons by number."""
    shown = [str(int(k)) for k in steps]
    return ", ".join(shown if len(shown) <= 4 else [*shown[:3], f"… ({len(shown)} in all)"])


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _plain(value: float | None) -> float | str | None:
    """A number that JSON can say: nan is null, inf becomes text."""
    if value is None or np.isnan(value):
        return None
    return value if np.isfinite(value) else str(value)
