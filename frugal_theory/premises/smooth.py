"""P1, f is L-smooth: refused by two points whose gradient ratio exceeds L, or where the gradient is not the derivative of f."""

from __future__ import annotations

import math

from frugal_theory.premises.along import smooth_along
from frugal_theory.premises.grounds import Grounds, PremiseTest
from frugal_theory.premises.premise import Premise
from frugal_theory.premises.search import RATIO_SLACK

__all__ = ["SMOOTH"]


def _smooth(test: PremiseTest, grounds: Grounds) -> Premise:
    declared, found = grounds.instance.setting.smoothness, grounds.search
    if found is None:
        return test.found(False, f"the declared L = {declared:g} is not a positive number")
    lanczos = f", Lanczos {found.lanczos:.4g}" if math.isfinite(found.lanczos) else ""
    if not found.ratio <= declared * (1 + RATIO_SLACK):
        how = f"two points have gradient ratio {found.ratio:.4g}, above the declared L = {declared:.4g}"
        if not math.isfinite(found.ratio):
            how = "the gradient is not finite at a point of the search"
        return test.found(False, how + lanczos, 0.0)
    if found.slopes is not None:
        moved, said = found.slopes
        how = f"the gradient is not that of f: f changes by {moved:.4g} per unit of length along v, where ⟨∇f, v⟩ = {said:.4g}"
        return test.found(False, how, 0.0)
    how = f"L = {declared:.4g} as derived; largest ratio found {found.ratio:.4g}{lanczos}"
    return test.found(True, how, 0.0, "a search: what it does not find may exist")


SMOOTH = PremiseTest("P1", "f is L-smooth", _smooth, of_algorithm=False, along=smooth_along)
