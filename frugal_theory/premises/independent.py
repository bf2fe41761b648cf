"""P5, samples are independent across steps: refused by correlations of draws at one point, and of what keeps a state."""

from __future__ import annotations

from frugal_theory.premises.draws import repeats
from frugal_theory.premises.grounds import Grounds, PremiseTest
from frugal_theory.premises.moments import dependence
from frugal_theory.premises.premise import Premise
from frugal_theory.problems.noise import has_mean_zero

__all__ = ["INDEPENDENT"]


def _independent(test: PremiseTest, grounds: Grounds) -> Premise:
    name = grounds.noise
    if grounds.no_mean:
        return test.found(True, f"{name} is drawn afresh at every step")
    if grounds.wild is not None:
        return test.found(True, "not tested")
    at, level = grounds.draws[0], grounds.share
    found = dependence(at.noise, at.rounding, level)
    steps, trials, _ = at.noise.shape
    if found.refused:
        how = (
            f"{name} is not drawn afresh: over {steps} steps of {trials} trials at {at.point} noise is correlated with that of "
            f"another step or trial, {found.statistic:.3g} standard errors, {found.critical:.3g} allowed"
        )
        return test.found(False, how, level)
    if not has_mean_zero(grounds.instance.noise) and not repeats(grounds.instance):
        how = (
            f"{name} is not drawn from the generator that it is given alone, so trials that are shared out may be the same ones"
        )
        return test.found(False, how, 0.0)
    how = f"{name} is drawn afresh at every step; " if has_mean_zero(grounds.instance.noise) else ""
    how += (
        f"correlations over {steps} steps of {trials} trials are within {found.statistic:.2g} standard errors, "
        f"{found.critical:.3g} allowed"
    )
    power = f"a correlation of {found.detectable:.2g} between steps up to 3 apart is found with 95 %"
    return test.found(True, how, level, power)


INDEPENDENT = PremiseTest("P5", "samples are independent across steps", _independent, of_algorithm=False)
