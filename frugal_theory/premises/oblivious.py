"""P6, the selection does not depend on the noise: refused by a rerun with other noise that has other sets."""

from __future__ import annotations

from frugal_theory.algorithm.run_lengths import contradiction
from frugal_theory.config.changing import changing
from frugal_theory.premises.grounds import Grounds, PremiseTest
from frugal_theory.premises.premise import Premise
from frugal_theory.premises.selection import first_difference, selection_bias

__all__ = ["OBLIVIOUS"]

LAWS = {
    "fixed": "the set never changes",
    "redrawn": "the set is drawn from a stream of its own",
    "scheduled": "the set follows a schedule",
    "turning": "the basis is drawn from a stream of its own",
}
"""The laws of the momentum set, in words."""


def _oblivious(test: PremiseTest, grounds: Grounds) -> Premise:
    instance = grounds.instance
    setting, kind = instance.setting, instance.setting.algorithm.subspace
    if against := contradiction(setting.algorithm, setting.shapes):
        return test.found(False, against)
    changed = first_difference(instance, 1 / setting.smoothness)
    if changed is not None:
        how = "svd selects by the current stochastic gradient" if kind == "svd" else f'subspace "{kind}" reads the noise'
        how += f": with other noise and the same seeds the set of period {changed} is another"
        bias = selection_bias(instance)
        if bias is not None and setting.total_variance:
            how += f"; at x¹ this puts ({100 * bias[0]:.3g} ± {200 * bias[1]:.2g}) % of ‖∇f‖² on E⟨∇f, u⟩"
        return test.found(False, how, 0.0)
    if setting.runs is None and setting.algorithm.refresh == "staggered":
        why = 'refresh = "staggered" changes bases one after another, of which no theorem here speaks; "together" is covered'
        return test.found(False, why)
    if setting.runs is None and (changes := changing(setting.algorithm)):
        return test.found(False, changes)
    if setting.runs is None:
        return test.found(False, f'subspace "{kind}" is not known to be oblivious: it does not declare its share')
    how = LAWS[setting.runs.law] + "; a rerun with other noise has the same sets"
    return test.found(True, how, 0.0, "any dependence in the first 4 periods of a rerun is found")


OBLIVIOUS = PremiseTest("P6", "the selection does not depend on the noise", _oblivious)
