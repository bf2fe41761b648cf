"""P3, the stochastic gradient is unbiased: refused by the mean of many draws."""

from __future__ import annotations

from frugal_theory.premises.along import unbiased_along
from frugal_theory.premises.draws import declared_variance
from frugal_theory.premises.grounds import Grounds, PremiseTest, worst
from frugal_theory.premises.moments import nonzero_mean
from frugal_theory.premises.premise import Premise
from frugal_theory.problems.noise import has_mean_zero

__all__ = ["UNBIASED"]


def _unbiased(test: PremiseTest, grounds: Grounds) -> Premise:
    name = grounds.noise
    if grounds.no_mean:
        return test.found(False, f"{name} has no mean with at most 1 degree of freedom")
    if grounds.wild is not None:
        return test.found(False, grounds.wild, 0.0)
    if grounds.untested is not None:
        return test.found(True, grounds.untested)
    drawn, level = grounds.draws, grounds.share
    declared = declared_variance(grounds.instance)
    tests = [nonzero_mean(at.flat, declared, at.rounding, grounds.half / len(drawn)) for at in drawn]
    found, at = worst(tests, drawn)
    count = len(at.flat)
    if found.refused:
        off = at.flat[:, found.where].mean()
        how = (
            f"the mean of {count} draws of {name} at {at.point} is off by {off:.4g} in coordinate {found.where}: "
            f"{found.statistic:.3g} standard errors, {found.critical:.3g} allowed"
        )
        return test.found(False, how, level)
    how = f"{name} has mean zero by construction; " if has_mean_zero(grounds.instance.noise) else ""
    how += (
        f"the mean of {count} draws at {at.point} is off by {found.statistic:.2g} standard errors, {found.critical:.3g} allowed"
    )
    power = f"a bias of {tests[0].detectable:.2g} σ_j of one coordinate at x¹ is found with 95 %"
    return test.found(True, how, level, power)


UNBIASED = PremiseTest("P3", "the stochastic gradient is unbiased", _unbiased, of_algorithm=False, along=unbiased_along)
