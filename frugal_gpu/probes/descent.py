"""The descent inequality at a step: f(x⁺) ≤ f(x) + ⟨∇f(x), x⁺ − x⟩ + (L/2)‖x⁺ − x‖²."""

from __future__ import annotations

import math

from frugal_gpu.probes.probe import Moment

__all__ = ["PROBE", "Descent"]

EPSILON = 2.0**-23
"""Of float32, in which losses are computed."""


class Descent:
    """On one fixed sample of rows: ``change`` f(x⁺) − f(x), ``linear`` ⟨∇f(x), x⁺ − x⟩, which is −α⟨g, u⟩ for the step x⁺ = x −
    αu, and ``needed``, the least L with which the inequality holds at this step, 2(change − linear)/‖x⁺ − x‖². ``rounding``:
    what float32 losses may add to that.
    """

    group = "path"
    price = 0.0

    def measure(self, moment: Moment) -> dict[str, float]:
        """Nothing yet: the loss, the gradient and the parameters are kept."""
        _ = moment.here, moment.before
        return {}

    def moved(self, moment: Moment) -> dict[str, float]:
        """The same rows at the new parameters."""
        if moment.distance_squared == 0:
            return {"change": 0.0, "linear": 0.0}
        here = moment.here
        linear = float((here.mean().double() * moment.displacement).sum())
        count = len(here.losses)
        change = math.fsum(moment.there.losses) / count - math.fsum(here.losses) / count
        return {
            "change": change,
            "linear": linear,
            "needed": 2 * (change - linear) / moment.distance_squared,
            "rounding": 4 * EPSILON * abs(math.fsum(here.losses)) / count / moment.distance_squared,
        }


PROBE = Descent()
