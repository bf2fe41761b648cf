"""P4, the variance of every coordinate is bounded: refused by sums of squares, by large values, and by heavy tails.

A noise that declares ``degrees_of_freedom`` is refused by tails that are heavier than Student's t has with so many: intervals
go by its word.
"""

from __future__ import annotations

import math

from frugal_theory.premises.along import variance_along
from frugal_theory.premises.draws import declared_variance
from frugal_theory.premises.grounds import Grounds, PremiseTest, worst
from frugal_theory.premises.moments import contradicted_variance, excess_variance
from frugal_theory.premises.premise import Premise
from frugal_theory.premises.tails import heavier_than_student, heavy_tail

__all__ = ["BOUNDED_VARIANCE"]


def _bounded_variance(test: PremiseTest, grounds: Grounds) -> Premise:
    name, total = grounds.noise, grounds.instance.setting.total_variance
    infinite = f"{name} has infinite variance"
    if grounds.no_mean:
        return test.found(False, infinite)
    if grounds.wild is not None:
        return test.found(False, grounds.wild)
    if not math.isfinite(total):
        return test.found(False, infinite)
    if grounds.untested is not None:
        return test.found(True, grounds.untested)
    drawn, level = grounds.draws, grounds.share
    declared, share = declared_variance(grounds.instance), grounds.half / 4
    tests = [excess_variance(at.flat, declared, at.rounding, share / len(drawn)) for at in drawn]
    found, at = worst(tests, drawn)
    if found.refused:
        which = f"in coordinate {found.where}" if found.where < len(declared) else "in all"
        how = (
            f"{len(at.flat)} draws of {name} at {at.point} have a larger variance than the noise declares, {which}: "
            f"{found.statistic:.3g} standard errors above it, {found.critical:.3g} allowed"
        )
        return test.found(False, how, level)
    counts = [contradicted_variance(at.flat, declared, share / len(drawn)) for at in drawn]
    found, at = worst(counts, drawn)
    if found.refused:
        how = (
            f"draws of {name} at {at.point} exceed multiples of the declared σ_j in coordinate {found.where} more often "
            f"than any law of that variance: p = 10^−{found.statistic:.3g}, 10^−{found.critical:.3g} allowed"
        )
        return test.found(False, how, level)
    tail = heavy_tail(drawn[0].flat, share)
    if tail.refused:
        how = (
            f"{name} has heavy tails: their index is below {1 / tail.statistic:.3g} at {drawn[0].point} "
            f"({len(drawn[0].flat)} draws), and variance is infinite up to index 2"
        )
        return test.found(False, how, level)
    degrees = float(getattr(grounds.instance.noise, "degrees_of_freedom", math.inf))
    if math.isfinite(degrees) and heavier_than_student(drawn[0].flat, degrees, share).refused:
        how = (
            f"{name} declares {degrees:g} degrees of freedom, and the tails of {len(drawn[0].flat)} draws at {drawn[0].point} "
            "are heavier than Student's t has with so many"
        )
        return test.found(False, how, level)
    checked = f"{len(drawn[0].flat)} draws at x¹, and fewer at {len(drawn) - 1} more points"
    how = f"σ² = Σσ_j² = {total:.4g}; {checked}, do not exceed it"
    power = f"a variance {tests[0].detectable:.3g} times the declared one is found with 95 % (Gaussian noise)"
    if tail.detectable > 0:
        power += f", tails of index {tail.detectable:.2g} too (all coordinates independent)"
    return test.found(True, how, level, power)


BOUNDED_VARIANCE = PremiseTest(
    "P4", "the variance of every coordinate is bounded", _bounded_variance, of_algorithm=False, along=variance_along
)
