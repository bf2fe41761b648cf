"""PL, ‖∇f‖² ≥ 2μ(f − f*): refused by a point whose gradient is too small for what another point shows f can still fall."""

from __future__ import annotations

import numpy as np

from frugal_theory.algorithm.selection import stream
from frugal_theory.premises.flat import gradient_rows, parameters, rows
from frugal_theory.premises.grounds import Grounds, PremiseTest
from frugal_theory.premises.premise import Premise
from frugal_theory.premises.search import RATIO_SLACK, points

__all__ = ["GRADIENT_DOMINATION"]

RANDOM = 64
"""Random points around the start that are looked at, at distances from 10⁻³ to 10²."""


def _dominated(test: PremiseTest, grounds: Grounds) -> Premise:
    instance = grounds.instance
    declared, smoothness = instance.setting.constants.strong_convexity, instance.setting.smoothness
    if declared is None or not declared.value > 0:
        return test.found(False, "the problem declares no μ > 0 (attribute strong_convexity)")
    if grounds.search is None:
        return test.found(False, f"the declared L = {smoothness:g} is not a positive number")
    mu, problem = declared.value, instance.problem
    rng = np.random.default_rng(np.random.SeedSequence(entropy=stream(instance.seed, "problem").entropy, spawn_key=(0, 2)))
    centre = rows(problem, instance.start)
    around = centre + np.geomspace(1e-3, 1e2, RANDOM)[:, None] * rng.standard_normal((RANDOM, centre.size))
    looked = np.vstack([points(problem, centre, smoothness, rng), around])
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        values = np.ravel(problem.value(parameters(problem, looked)))
        squares = np.sum(gradient_rows(problem, looked) ** 2, axis=1)
        lowest = min(float(np.nanmin(values)), grounds.search.lowest)
        fall = values - lowest - grounds.search.rounding  # f* is no higher than the lowest value seen
        ratio = np.where(fall > 0, squares / (2 * fall), np.inf)
    least = float(np.nanmin(ratio))
    if not least >= mu * (1 - RATIO_SLACK):
        how = f"at a point ‖∇f‖² is 2 · {least:.4g} times what f falls from there to another, below the declared μ = {mu:.4g}"
        return test.found(False, how, 0.0)
    how = f"μ = {mu:.4g} as derived; least ‖∇f‖²/(2(f − lowest value found)) {least:.4g}"
    return test.found(True, how, 0.0, "a search: what it does not find may exist")


GRADIENT_DOMINATION = PremiseTest("PL", "‖∇f‖² ≥ 2μ(f − f*)", _dominated, of_algorithm=False, of_every_theorem=False)
"""The Polyak–Łojasiewicz condition, which μ-strong convexity implies."""
