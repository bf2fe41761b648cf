"""What a theorem is called in tables and figures: by the attributes ``short_name`` and ``label`` that it may have."""

from __future__ import annotations

from frugal_theory.theorems.theorem import Theorem

__all__ = ["formula", "label", "short_name"]


def short_name(theorem: Theorem) -> str:
    """The theorem in a few words: its ``short_name``, or its title, or its name.

    >>> from frugal_theory.theorems import THEOREMS
    >>> short_name(THEOREMS["run_length_sharp"])
    'run-length, sharp constants'
    """
    return _own(theorem, "short_name") or _own(theorem, "title") or theorem.name.replace("_", " ")


def label(theorem: Theorem) -> str:
    """What stands at the end of the theorem's line in a figure: its ``label``, or its short name where that is short enough."""
    return _own(theorem, "label") or short_name(theorem)


def formula(theorem: Theorem) -> str:
    """The statement in LaTeX, a display a line: its ``formula``; empty if it has none of its own.

    >>> from frugal_theory.theorems import THEOREMS
    >>> print(formula(THEOREMS["signsgd"]).splitlines()[1])
    \\text{for }\\alpha>0
    """
    return _own(theorem, "formula") or ""


def _own(theorem: Theorem, attribute: str) -> str | None:
    """The attribute, unless it is another theorem's: what is derived from a theorem does not inherit its names."""
    for holder in (getattr(theorem, "__dict__", {}), *map(vars, type(theorem).__mro__)):
        if attribute in holder:
            return str(getattr(theorem, attribute))
        if "name" in holder:
            return None
    return None
