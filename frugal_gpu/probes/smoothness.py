"""How fast the gradient changes along the path: a lower bound of L."""

from __future__ import annotations

import math

from frugal_gpu.probes.probe import Moment

__all__ = ["PROBE", "Smoothness"]


class Smoothness:
    """``squared``: ‖∇f(x⁺) − ∇f(x)‖²/‖x⁺ − x‖² across the step, at most L², as the product of the differences of two
    independent halves: without bias, and negative now and then. ``batch``: ‖g(x⁺) − g(x)‖/‖x⁺ − x‖ of the whole sample, whose
    square contains the noise of the Hessian. ``distance``: ‖x⁺ − x‖.
    """

    group = "path"
    price = 1.0

    def measure(self, moment: Moment) -> dict[str, float]:
        """Nothing yet: the gradient and the parameters are kept."""
        _ = moment.here, moment.before
        return {}

    def moved(self, moment: Moment) -> dict[str, float]:
        """The same rows at the new parameters."""
        here, there, squared = moment.here, moment.there, moment.distance_squared
        if squared == 0:
            return {"distance": 0.0}
        one, other = there.first.double() - here.first.double(), there.second.double() - here.second.double()
        inner, whole = float((one * other).sum()), float(((one + other) / 2).square().sum())
        return {"squared": inner / squared, "batch": math.sqrt(whole / squared), "distance": math.sqrt(squared)}


PROBE = Smoothness()
