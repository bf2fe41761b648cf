"""P2, f is bounded below: refused by a point whose value is below f*."""

from __future__ import annotations

import math

from frugal_theory.premises.along import below_along
from frugal_theory.premises.grounds import Grounds, PremiseTest
from frugal_theory.premises.premise import Premise

__all__ = ["BOUNDED_BELOW"]


def _bounded_below(test: PremiseTest, grounds: Grounds) -> Premise:
    infimum, gap, found = grounds.instance.problem.infimum, grounds.instance.setting.gap, grounds.search
    if not (math.isfinite(infimum) and gap >= 0):
        return test.found(False, f"f* = {infimum:g} is no lower bound: f(x¹) − f* = {gap:.4g}")
    if found is None:
        return test.found(True, f"f* = {infimum:.4g}, Δ = {gap:.4g}")
    if found.lowest < infimum - found.rounding:
        return test.found(False, f"f* = {infimum:.4g} is no lower bound: a point has value {found.lowest:.4g}", 0.0)
    return test.found(True, f"f* = {infimum:.4g}, Δ = {gap:.4g}; lowest value found {found.lowest:.4g}", 0.0)


BOUNDED_BELOW = PremiseTest("P2", "f is bounded below", _bounded_below, of_algorithm=False, along=below_along)
