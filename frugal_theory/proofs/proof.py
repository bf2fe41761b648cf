"""What a proof returns, and the three tools that proofs are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sympy as sp

__all__ = ["BETA", "ROOT_TWO_ABOVE", "Proof", "equal", "positive", "sums_to"]

BETA = sp.Symbol("beta", positive=True)

ROOT_TWO_ABOVE = sp.Rational(577, 408)
"""A rational number above √2: 577² = 2·408² + 1. An inequality that gets harder as √2 grows is proved with it."""


@dataclass(frozen=True)
class Proof:
    """A statement of ``docs/theory/`` and whether SymPy derives it. ``failed`` names the parts that it does not."""

    name: str
    statement: str
    failed: tuple[str, ...] = ()

    @property
    def checked(self) -> bool:
        """Whether every part was derived."""
        return not self.failed

    @classmethod
    def of(cls, name: str, statement: str, **parts: bool) -> Proof:
        """A proof by its parts."""
        return cls(name, statement, tuple(part for part, true in parts.items() if not true))


def equal(left: Any, right: Any) -> bool:
    """Whether two expressions are identical: their difference simplifies to 0."""
    return bool(sp.simplify(sp.expand(sp.sympify(left) - sp.sympify(right))) == 0)


def sums_to(term: Any, total: Any, index: Any) -> bool:
    """Whether Σ_{s=0}^{n−1} term(s) = total(n) for every n ≥ 0, by induction. ``index``: the symbol of both s and n."""
    return equal(total.subs(index, 0), 0) and equal(total.subs(index, index + 1) - total, term)


def positive(expression: Any, symbol: Any = BETA, low: int = 0, high: int = 1) -> bool:
    """Whether a rational function with rational coefficients is > 0 on [low, high), by Sturm sequences.

    Numerator and denominator must each be free of roots there, and the function positive at one inner point.
    """
    parts = [sp.Poly(part, symbol) for part in sp.fraction(sp.together(expression))]
    if any(part.is_zero or part.count_roots(low, high) > int(part.eval(high) == 0) for part in parts):
        return False
    return bool(sp.sympify(expression).subs(symbol, sp.Rational(low + high, 2)) > 0)
