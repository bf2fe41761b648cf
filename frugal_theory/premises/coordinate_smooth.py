"""P1 for every coordinate, −D ⪯ ∇²f ⪯ D = diag(L_j): refused by two points with ‖∇f(x) − ∇f(y)‖_{D⁻¹} > ‖x − y‖_D.

In the coordinates √L_j x_j this is P1 with L = 1, so the search of P1 is the search for it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from frugal_theory.premises.flat import parameters, rows
from frugal_theory.premises.grounds import Grounds, PremiseTest
from frugal_theory.premises.premise import Premise
from frugal_theory.premises.search import RATIO_SLACK, search
from frugal_theory.problems.problem import Problem

__all__ = ["COORDINATE_SMOOTH", "Stretched"]

Array = NDArray[np.float64]
Arrays = dict[str, Array]

FLAT = 1e-12
"""L_j below this share of the largest count as that: f must not depend on such a coordinate."""


class Stretched:
    """The problem in the coordinates y_j = √L_j x_j: the gradient is ∂_j f/√L_j, and it is 1-smooth if −D ⪯ ∇²f ⪯ D.

    ``roots``: √L_j > 0 by parameter.
    """

    def __init__(self, problem: Problem, roots: Mapping[str, Array]) -> None:
        self.problem, self.roots = problem, roots
        self.shapes: Mapping[str, tuple[int, ...]] = problem.shapes
        self.smoothness: float = 1.0
        self.infimum: float = problem.infimum

    def start(self, rng: np.random.Generator) -> Arrays:
        """The problem's, stretched."""
        return {name: self.roots[name] * value for name, value in self.problem.start(rng).items()}

    def value(self, y: Mapping[str, Array]) -> Array:
        """f."""
        return self.problem.value(self._back(y))

    def gradient(self, y: Mapping[str, Array]) -> Arrays:
        """∂_j f/√L_j."""
        return {name: g / self.roots[name] for name, g in self.problem.gradient(self._back(y)).items()}

    def _back(self, y: Mapping[str, Array]) -> Arrays:
        return {name: value / self.roots[name] for name, value in y.items()}


def _coordinate_smooth(test: PremiseTest, grounds: Grounds) -> Premise:
    instance, setting = grounds.instance, grounds.instance.setting
    problem = instance.problem
    if setting.constants.coordinate_smoothness is None and not hasattr(problem, "coordinate_smoothness"):
        smooth = grounds.premise("P1")
        return test.found(smooth.held, f"L for every coordinate, and {smooth.how}", smooth.level, smooth.power)
    declared = rows(problem, setting.coordinate_smoothness)
    if not (np.isfinite(declared).all() and np.all(declared >= 0) and declared.max() > 0):
        return test.found(False, "the declared L_j are not numbers >= 0, one of them > 0")
    widened = np.maximum(declared, FLAT * declared.max())
    stretched = Stretched(problem, parameters(problem, np.sqrt(widened)))
    start = {name: stretched.roots[name] * value for name, value in instance.start.items()}
    found = search(stretched, 1.0, start, instance.seed)
    slack = RATIO_SLACK * math.sqrt(widened.max() / widened.min())
    if not found.ratio <= 1 + slack:
        how = (
            f"two points have ‖∇f(x) − ∇f(y)‖ in the norm of 1/L_j {found.ratio:.4g} times ‖x − y‖ in that of the declared L_j"
        )
        return test.found(False, how, 0.0)
    how = f"ΣL_j = {declared.sum():.4g} as derived; largest ratio of the norms with 1/L_j and L_j {found.ratio:.4g}"
    return test.found(True, how, 0.0, "a search: what it does not find may exist")


COORDINATE_SMOOTH = PremiseTest(
    "coordinate_smoothness",
    "f is L_j-smooth in every coordinate, −D ⪯ ∇²f ⪯ D",
    _coordinate_smooth,
    of_algorithm=False,
    of_every_theorem=False,
)
