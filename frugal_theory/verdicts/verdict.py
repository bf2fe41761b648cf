"""Verdict: theorem × evidence, with the margin, the confidence, the premises and the reason in one sentence."""

from __future__ import annotations

import dataclasses
import html
import math
from dataclasses import dataclass, field
from typing import Any

from frugal_theory.premises.premise import Premise
from frugal_theory.verdicts.status import Status, sign

__all__ = ["Verdict", "Verdicts"]


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

    def __repr__(self) -> str:
        where = f" [{self.label}]" if self.label else ""
        if self.measured is None or self.bound is None or self.tightness is None:
            return f"<verdict {self.theorem}{where}: {self.status}: {self.reason}>"
        numbers = f"{self.measured:.4g} of {self.bound:.4g} ({100 * self.tightness:.0f} %) at k = {self.step}"
        return f"<verdict {self.theorem}{where}: {self.status}, {numbers}>"

    def _repr_html_(self) -> str:
        return Verdicts([self])._repr_html_()

    def record(self) -> dict[str, Any]:
        """The verdict as an object of ``verdicts.json``: numbers that JSON cannot say (inf, nan) become text."""
        return {name: _jsonable(value) for name, value in dataclasses.asdict(self).items()}


class Verdicts(list[Verdict]):
    """A list of verdicts that shows itself as a table in a notebook, and one a line elsewhere."""

    def __repr__(self) -> str:
        return "[" + ",\n ".join(map(repr, self)) + "]"

    def _repr_html_(self) -> str:
        cells = any(verdict.label for verdict in self)
        heads = [*(["cell"] if cells else []), "theorem", "verdict", "measured", "bound", "measured / bound", "reason"]
        rows = [
            [*([verdict.label] if cells else []), verdict.theorem, f"{sign(verdict.status).mark} {verdict.status}"]
            + ["" if x is None else f"{x:.4g}" for x in (verdict.measured, verdict.bound)]
            + ["" if verdict.tightness is None else f"{100 * verdict.tightness:.0f} %", verdict.reason]
            for verdict in self
        ]
        body = "".join("<tr>" + "".join(f"<td>{html.escape(text)}</td>" for text in row) + "</tr>" for row in rows)
        head = "".join(f"<th>{text}</th>" for text in heads)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _jsonable(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
