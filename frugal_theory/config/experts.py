"""``experts``: a parameter of three dimensions as so many matrices, each with a draw and a basis of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from frugal_theory.config.parts import quoted
from frugal_theory.config.registry import RULES, SUBSPACES

if TYPE_CHECKING:
    from frugal_theory.config.algorithm import Algorithm

__all__ = ["check_experts"]


def check_experts(algorithm: Algorithm) -> None:
    """Raise ValueError for ``experts`` beside what does not choose matrix by matrix, or a rule that would mix the experts.

    Rules that look at more than one coordinate see one expert at a time where there is a basis.
    """
    if not algorithm.experts:
        return
    if algorithm.set is not None:
        raise ValueError("experts = true gives every expert a draw of its own, and set = [...] is one for all; one is allowed")
    if SUBSPACES[algorithm.subspace].whole or algorithm.subspace == "eigen":
        able = (s for s, kind in SUBSPACES.items() if not kind.whole and s != "eigen")
        raise ValueError(
            f'experts = true gives every expert a draw or a basis of its own; subspace is "{algorithm.subspace}"; '
            f"{quoted(able)} are allowed"
        )
    for side in ("state_full", "state_free"):
        table = getattr(algorithm, side)
        rule = RULES[table.rule].make(table)
        if not (getattr(rule, "by_unit", True) and getattr(table, "by_unit", True)):
            named = quoted(r for r, kind in RULES.items() if side in kind.table.sides and getattr(kind.table, "by_unit", True))
            raise ValueError(
                f'experts = true: {side}.rule = "{table.rule}" keeps one state for all that it sees, which experts cannot have '
                f"each; {named} are allowed"
            )
        if not getattr(rule, "elementwise", True) and not SUBSPACES[algorithm.subspace].basis:
            bases = quoted(s for s, kind in SUBSPACES.items() if kind.basis and s != "eigen")
            raise ValueError(
                f'experts = true: {side}.rule = "{table.rule}" looks at more than one coordinate, and units of experts lie one '
                f'after another; subspace is "{algorithm.subspace}"; {bases} are allowed'
            )
