"""Statuses: what a verdict, a rung of the ladder or a study can come to, each with its mark, its colours and its meaning."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Literal, NamedTuple

__all__ = ["ANSWERS", "LINKS", "PRACTICE", "STATUSES", "Sign", "Status", "counted", "sign"]

Status = Literal["holds", "violated", "inconclusive", "not applicable", "shape only", "consistent", "contradicted"]


class Sign(NamedTuple):
    """How a status is shown. ``mark`` stands beside its word, so that colour is never the only cue; ``style`` is its colour on
    a terminal; on a page ``role`` is its colour and its class, and ``marker`` its dot in a figure, whose form says it again."""

    mark: str
    style: str
    role: str
    meaning: str = ""
    marker: str = "o"


STATUSES: dict[str, Sign] = {
    "violated": Sign("✗", "bold red", "violated", "the whole interval lies above the bound at some horizon", "X"),
    "contradicted": Sign("≠", "bold red", "violated", "runs refute the theorem and the measured constants together", "X"),
    "inconclusive": Sign("?", "yellow", "inconclusive", "the evidence does not decide; the reason says what would", "^"),
    "holds": Sign("✓", "green", "holds", "the interval lies under the bound at every horizon judged"),
    "consistent": Sign("≤", "green", "holds", "the run's average lies under the bound with the measured constants", "s"),
    "shape only": Sign("◇", "cyan", "shape-only", "the constant is hidden, so the bound can only be compared up to C", "D"),
    "not applicable": Sign("–", "dim", "not-applicable", "the experiment does not meet what the theorem asks"),
}
"""Of a verdict, the most urgent first."""

LINKS: dict[str, Sign] = {
    "equal": Sign("=", "green", "holds"),
    "below": Sign("✓", "green", "holds"),
    "inconclusive": STATUSES["inconclusive"],
    "not comparable": Sign("–", "dim", "not-applicable"),
    "not below": Sign("✗", "bold red", "violated"),
    "differs": Sign("✗", "bold red", "violated"),
}
"""Of a rung of the ladder, beside the next."""

ANSWERS: dict[str, Sign] = {
    "yes": Sign("✓", "green", "holds"),
    "no": Sign("✗", "bold red", "violated"),
    "open": Sign("?", "yellow", "inconclusive"),
}
"""Of a study, to its question."""

PRACTICE = ("contradicted", "inconclusive", "consistent", "not applicable")
"""The statuses of a verdict on measured constants; the others are of declared ones."""

SENTENCE = ("violated", "contradicted", "holds", "consistent", "inconclusive", "shape only", "not applicable")
"""The order in which statuses are counted: alarms first, then what was asked for."""


def sign(status: str) -> Sign:
    """The sign of a verdict's status; a plain dot for one that is not known here."""
    return STATUSES.get(status, Sign("•", "", status.replace(" ", "-")))


def counted(statuses: Iterable[str]) -> str:
    """How many verdicts of each status there are.

    >>> counted(["holds", "shape only", "holds"])
    '2 hold, 1 shape only'
    """
    counts = Counter(statuses)
    order = [*SENTENCE, *(status for status in counts if status not in SENTENCE)]
    words = {"holds": "hold" if counts["holds"] != 1 else "holds"}
    return ", ".join(f"{counts[status]} {words.get(status, status)}" for status in order if counts[status])
