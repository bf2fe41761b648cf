"""The noise of every coordinate is symmetric and unimodal: refused by signs that are not fair, or by a density that rises."""

from __future__ import annotations

from frugal_theory.premises.grounds import Grounds, PremiseTest, worst
from frugal_theory.premises.premise import Premise
from frugal_theory.premises.shape import asymmetric, two_modes

__all__ = ["SYMMETRIC_UNIMODAL"]


def _symmetric_unimodal(test: PremiseTest, grounds: Grounds) -> Premise:
    name = grounds.noise
    if not grounds.instance.setting.symmetric_unimodal:
        return test.found(False, f"{name} does not say that it is symmetric and unimodal")
    if grounds.wild is not None:
        return test.found(False, grounds.wild, 0.0)
    if grounds.untested is not None:
        return test.found(True, grounds.untested)
    drawn, level = grounds.everywhere, grounds.share
    single = level / (2 * len(drawn))
    signs, at = worst([asymmetric(at.flat, at.rounding, single) for at in drawn], drawn)
    if signs.refused:
        how = (
            f"the signs of {len(at.flat) // 2} draws of {name} at {at.point} are not fair at every size in coordinate "
            f"{signs.where}: {signs.statistic:.3g} standard errors, {signs.critical:.3g} allowed"
        )
        return test.found(False, how, level)
    modes, at = worst([two_modes(at.flat, at.rounding, single) for at in drawn], drawn)
    if modes.refused:
        how = (
            f"the density of {len(at.flat) // 2} draws of {name} at {at.point} rises away from 0 in coordinate {modes.where}: "
            f"p = 10^−{modes.statistic:.3g}, 10^−{modes.critical:.3g} allowed"
        )
        return test.found(False, how, level)
    first = asymmetric(drawn[0].flat, drawn[0].rounding, single).detectable
    how = f"signs are fair at every size within {signs.statistic:.2g} standard errors, {signs.critical:.3g} allowed"
    share = f"a share of ½ ± {min(first, 0.5):.2g} of one sign of one coordinate at x¹"
    power = f"{share} is found with 95 %, and so is a coordinate whose values are ±σ"
    return test.found(True, how, level, power)


SYMMETRIC_UNIMODAL = PremiseTest(
    "symmetric_unimodal",
    "the noise of every coordinate is symmetric and unimodal",
    _symmetric_unimodal,
    of_every_theorem=False,
)
