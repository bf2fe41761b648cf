"""The noise of any two coordinates is uncorrelated: refused by pairs of them, by a direction, and by the set's own basis."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from frugal_theory.algorithm.subspaces import Basis, choose_parts
from frugal_theory.instance import Instance
from frugal_theory.premises.covariance import directed, off_zero, paired
from frugal_theory.premises.draws import Draws, declared_variance
from frugal_theory.premises.flat import dimension, parameters, rows
from frugal_theory.premises.grounds import Grounds, PremiseTest, worst
from frugal_theory.premises.moments import Finding
from frugal_theory.premises.premise import Premise

__all__ = ["UNCORRELATED"]

Array = NDArray[np.float64]


def _uncorrelated(test: PremiseTest, grounds: Grounds) -> Premise:
    name = grounds.noise
    if not grounds.instance.setting.uncorrelated:
        return test.found(False, f"{name} does not say that its coordinates are uncorrelated")
    if grounds.wild is not None:
        return test.found(False, grounds.wild, 0.0)
    if grounds.untested is not None:
        return test.found(True, grounds.untested)
    drawn, level = grounds.everywhere, grounds.share
    single = level / (4 * len(drawn))
    for tests, what in (
        ([paired(at.flat, at.rounding, single) for at in drawn], "the noise of two coordinates is correlated"),
        (
            [directed(at.flat, at.rounding, single) for at in drawn],
            "one direction has more noise than its coordinates",
        ),
        ([in_basis(grounds.instance, at, single) for at in drawn], "the set's basis has other noise than its coordinates"),
    ):
        found, at = worst(tests, drawn)
        if found.refused:
            how = (
                f"{what} in {len(at.flat)} draws of {name} at {at.point}: {found.statistic:.3g} standard errors, "
                f"{found.critical:.3g} allowed"
            )
            return test.found(False, how, level)
    if grounds.path is not None:
        pairs_ = zip(grounds.path.beyond, grounds.path.expected, grounds.path.draws, strict=False)
        for beyond, expected, at in pairs_:
            found = off_zero(beyond, expected, single)
            if found.refused:
                how = (
                    f"the set's basis has other noise than its coordinates in {len(beyond)} draws of {name} at {at.point}: "
                    f"{found.statistic:.3g} standard errors, {found.critical:.3g} allowed"
                )
                return test.found(False, how, level)
    pairs = paired(drawn[0].flat, drawn[0].rounding, single)
    how = (
        f"correlations of two coordinates of {len(drawn[0].flat)} draws at x¹, and of fewer at {len(drawn) - 1} more points, "
        f"are within {pairs.statistic:.2g} standard errors, {pairs.critical:.3g} allowed"
    )
    return test.found(True, how, level, f"a correlation of {pairs.detectable:.2g} of two coordinates at x¹ is found with 95 %")


def in_basis(instance: Instance, at: Draws, level: float) -> Finding:
    """What the noise has in a basis that never changes beyond Σ_j Π_jj ξ_j²; 0 for other sets, and if not all coordinates are
    tested."""
    runs, problem = instance.setting.runs, instance.problem
    if runs is None or runs.law != "fixed" or not runs.turned or dimension(problem) != at.noise.shape[-1]:
        return Finding(0.0, 1.0, 0.0)
    noise = at.flat - at.flat.mean(axis=0)
    drawn = parameters(problem, noise)
    zeros = {name: np.zeros(shape) for name, shape in problem.shapes.items()}
    parts = choose_parts(instance.setting.algorithm, problem.shapes, 0, zeros, bases=instance.bases)
    beyond = np.zeros(len(noise))
    for name, part in parts.items():
        if isinstance(part, Basis):
            inside = np.sum(part.project(drawn[name]).reshape(len(noise), -1) ** 2, axis=-1)
            share = np.broadcast_to(runs.share[name], problem.shapes[name])
            beyond += inside - np.sum((share * drawn[name] ** 2).reshape(len(noise), -1), axis=-1)
    share = rows(problem, {name: np.broadcast_to(runs.share[name], shape) for name, shape in problem.shapes.items()})
    return off_zero(beyond, float(share @ np.minimum(declared_variance(instance), noise.var(axis=0).sum())), level)


UNCORRELATED = PremiseTest(
    "uncorrelated", "the noise of any two coordinates is uncorrelated", _uncorrelated, of_every_theorem=False
)
