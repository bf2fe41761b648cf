"""P1 to P4 along the path: at the points that the experiment's own algorithm visits (:mod:`frugal_theory.premises.path`)."""

from __future__ import annotations

from dataclasses import replace

from frugal_theory.premises.draws import declared_variance
from frugal_theory.premises.grounds import Grounds, PremiseTest, worst
from frugal_theory.premises.moments import contradicted_variance, excess_variance, nonzero_mean
from frugal_theory.premises.premise import Premise
from frugal_theory.premises.search import RATIO_SLACK

__all__ = ["below_along", "smooth_along", "unbiased_along", "variance_along"]


def smooth_along(test: PremiseTest, grounds: Grounds, found: Premise) -> Premise:
    """P1: gradient ratios of successive points, and of pairs at the stops."""
    path, declared = grounds.path, grounds.instance.setting.smoothness
    assert path is not None  # or it would not have been asked
    if not path.ratio <= declared * (1 + RATIO_SLACK):
        how = f"two points along a run have gradient ratio {path.ratio:.4g}, above the declared L = {declared:.4g}"
        return test.found(False, how, 0.0)
    return replace(found, how=f"{found.how}; along {path.steps} steps of a run {path.ratio:.4g}")


def below_along(test: PremiseTest, grounds: Grounds, found: Premise) -> Premise:
    """P2: f at the stops."""
    path, infimum = grounds.path, grounds.instance.problem.infimum
    assert path is not None
    if path.lowest < infimum - path.rounding:
        how = f"f* = {infimum:.4g} is no lower bound: a point of a run has value {path.lowest:.4g}"
        return test.found(False, how, 0.0)
    return found


def _not_to_be_tested(test: PremiseTest, grounds: Grounds, found: Premise) -> Premise | None:
    """What is known without a test of the draws: that there are none, or that some are not finite."""
    path = grounds.path
    assert path is not None
    if grounds.untested is not None or not path.draws:
        return found
    if wild := [at.point for at in path.draws if not at.finite]:
        return test.found(False, f"draws of {grounds.noise} at {wild[0]} are not finite", 0.0)
    return None


def unbiased_along(test: PremiseTest, grounds: Grounds, found: Premise) -> Premise:
    """P3: the mean of fresh draws, at every stop and of all stops of a stage."""
    path, name = grounds.path, grounds.noise
    assert path is not None
    if (known := _not_to_be_tested(test, grounds, found)) is not None:
        return known
    declared = declared_variance(grounds.instance)
    single = grounds.half / len(path.draws)
    tests = [nonzero_mean(at.flat, declared, at.rounding, single) for at in path.draws]
    most, at = worst(tests, path.draws)
    if most.refused:
        how = (
            f"the mean of {len(at.flat)} draws of {name} at {at.point} is off by {at.flat[:, most.where].mean():.4g} in "
            f"coordinate {most.where}: {most.statistic:.3g} standard errors, {most.critical:.3g} allowed"
        )
        return test.found(False, how, grounds.share)
    how = f"{found.how}; along {path.steps} steps of a run {most.statistic:.2g}, {most.critical:.3g} allowed"
    least = min(finding.detectable for finding in tests)
    return replace(found, how=how, power=f"{found.power}, and one of {least:.2g} σ_j along a third of the steps walked")


def variance_along(test: PremiseTest, grounds: Grounds, found: Premise) -> Premise:
    """P4: sums of squares and large values, at every stop and of all stops of a stage."""
    path, name = grounds.path, grounds.noise
    assert path is not None
    if (known := _not_to_be_tested(test, grounds, found)) is not None:
        return known
    declared = declared_variance(grounds.instance)
    single = grounds.half / (2 * len(path.draws))
    most, at = worst([excess_variance(a.flat, declared, a.rounding, single) for a in path.draws], path.draws)
    if most.refused:
        which = f"in coordinate {most.where}" if most.where < len(declared) else "in all"
        how = (
            f"{len(at.flat)} draws of {name} at {at.point} have a larger variance than the noise declares, {which}: "
            f"{most.statistic:.3g} standard errors above it, {most.critical:.3g} allowed"
        )
        return test.found(False, how, grounds.share)
    count, at = worst([contradicted_variance(a.flat, declared, single) for a in path.draws], path.draws)
    if count.refused:
        how = (
            f"draws of {name} at {at.point} exceed multiples of the declared σ_j in coordinate {count.where} more often than "
            f"any law of that variance: p = 10^−{count.statistic:.3g}, 10^−{count.critical:.3g} allowed"
        )
        return test.found(False, how, grounds.share)
    return replace(
        found, how=f"{found.how}, nor do {sum(len(a.flat) for a in path.draws) // 2} along {path.steps} steps of a run"
    )
