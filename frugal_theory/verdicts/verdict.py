"""Verdict: theorem × evidence, with the margin, the confidence, the premises and the reason in one sentence."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

from frugal_theory.premises.premise import Premise
from frugal_theory.verdicts.status import Status

__all__ = ["Verdict"]


@dataclass(frozen=True)
class Verdict:
    """What evidence says of one theorem in one cell of an experiment.

    ``step`` is the horizon k at which ``measured`` comes closest to ``bound`` (both are averages over the first k
    steps). ``margin`` = bound − measured, ``tightness`` = measured / bound. ``lower`` and ``upper`` enclose the true
    value at every horizon, of every cell and theorem of the experiment at once, with ``confidence``. ``trials_needed``
    of an inconclusive verdict: how many trials would settle it, about, if the others are like these. For a theorem
    with hidden constants ``bound`` is its shape with constant 1 and ``implied_constant`` the smallest constant that
    would make it hold here. ``cell``: the settings of the sweep's cell, by key; ``label``: the same in words, empty without a
    sweep. What does not exist is None.
    """

    theorem: str
    status: Status
    reason: str
    measured: float | None = None
    bound: float | None = None
    margin: float | None = None
    tightness: float | None = None
    lower: float | None = None
    upper: float | None = None
    step: int | None = None
    confidence: float | None = None
    source: str | None = None
    metric: str | None = None
    trials: int | None = None
    trials_needed: int | None = None
    learning_rate: float | None = None
    largest_step: float | None = None
    implied_constant: float | None = None
    premises: tuple[Premise, ...] = ()
    cell: dict[str, Any] = field(default_factory=dict)
    label: str = ""

    def record(self) -> dict[str, Any]:
        """The verdict as an object of ``verdicts.json``: numbers that JSON cannot say (inf, nan) become text."""
        return {name: _jsonable(value) for name, value in dataclasses.asdict(self).items()}


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _jsonable(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
