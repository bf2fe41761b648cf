"""The noise is symmetric with one mode, and its median size is at most what is declared: refused by counts of draws."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from frugal_theory.premises.draws import tested
from frugal_theory.premises.flat import rows
from frugal_theory.premises.grounds import Grounds, PremiseTest
from frugal_theory.premises.moments import POWER
from frugal_theory.premises.premise import Premise

__all__ = ["SYMMETRIC"]

Array = NDArray[np.float64]


def _symmetric(test: PremiseTest, grounds: Grounds) -> Premise:
    constants = grounds.instance.setting.constants
    if not constants.symmetric_unimodal or constants.median_deviation is None:
        return test.found(False, f"{grounds.noise} does not say that it is symmetric with one mode, or how large its median is")
    if grounds.wild is not None:
        return test.found(False, grounds.wild)
    if not grounds.premise("P5").held:
        return test.found(True, "not tested: the draws are not independent")
    every = rows(grounds.instance.problem, {n: np.asarray(v, dtype=float) for n, v in constants.median_deviation.value.items()})
    median, level = every[tested(every.size)], grounds.share
    single = level / (3 * len(grounds.draws) * median.size)
    for at in grounds.draws:
        size = np.maximum(np.abs(at.flat) - at.rounding, 0.0)
        beyond = (size > median).sum(axis=0)
        near, far = ((size > 0) & (size <= median / 2)).sum(axis=0), ((size > median / 2) & (size <= median)).sum(axis=0)
        above, moved = ((at.flat > 0) & (size > 0)).sum(axis=0), (size > 0).sum(axis=0)
        findings = {
            "draws of one sign outnumber those of the other": np.minimum(
                1.0, 2 * _p_value(np.maximum(above, moved - above), moved)
            ),
            "more than half of the draws exceed the declared median size": _p_value(beyond, np.full_like(beyond, len(size))),
            "draws between half of the median size and all of it outnumber those below": _p_value(far, near + far),
        }
        for what, p_values in findings.items():
            if p_values.min() < single:
                j = int(np.argmin(p_values))
                return test.found(False, f"{what}, in coordinate {j} of {grounds.noise} at {at.point}", level)
    count = len(grounds.draws[0].flat)
    off = (math.sqrt(2 * math.log(1 / single)) + 1.96) / math.sqrt(4 * count)
    how = f"signs, halves of the median and the median of {count} draws of {grounds.noise} fit"
    return test.found(True, how, level, f"a share that is off by {off:.2g} is found with {100 * POWER:.0f} %")


def _p_value(count: NDArray[np.int64], trials: NDArray[np.int64]) -> Array:
    """P(as many or more) of a binomial count with probability 1/2, by coordinate."""
    from scipy.special import bdtrc

    found = np.where(count > 0, bdtrc(np.maximum(count, 1) - 1, np.maximum(trials, 1), 0.5), 1.0)
    return np.asarray(found, dtype=np.float64)


SYMMETRIC = PremiseTest(
    "symmetric",
    "the noise is symmetric with one mode, of a known median size",
    _symmetric,
    of_algorithm=False,
    of_every_theorem=False,
)
