"""Findings: what became of one planted falsehood, or of one true counterpart."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Finding"]


@dataclass(frozen=True)
class Finding:
    """What became of one planted falsehood, or of one true counterpart.

    ``alarm``: whether the toolkit raised it; ``said``: its verdict. ``ratio``: measured over bound for a theorem,
    measured over exact for an engine, where it is farthest off. ``deviation``: how many standard errors the measured
    average is above the bound, or off the exact expectation, there; inf for evidence without any randomness. Both are nan
    where nothing is measured.
    """

    subject: str
    what: str
    stage: str
    false: bool
    alarm: bool
    said: str
    ratio: float
    deviation: float

    @property
    def right(self) -> bool:
        """Whether the toolkit was right: an alarm on a falsehood, and none on the truth."""
        return self.alarm == self.false
