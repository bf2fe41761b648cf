"""Premise: what a theorem asks of an experiment, and whether it is met."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Premise"]


@dataclass(frozen=True)
class Premise:
    """One premise of a theorem and whether the experiment meets it. ``how`` says how that is known, or why not.

    If it was tested, ``level`` is the probability that the test refuses a true premise (0 if it cannot), and ``power``
    says what violation it would have found, and how surely.
    """

    name: str
    statement: str
    held: bool
    how: str
    level: float | None = None
    power: str = ""
