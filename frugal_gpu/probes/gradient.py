"""‖∇f‖² without the noise of a mini-batch: the product of two independent halves of a large batch."""

from __future__ import annotations

import math

import torch

from frugal_gpu.probes.probe import Moment

__all__ = ["PROBE", "Gradient"]


class Gradient:
    """``squared``: ⟨g_A, g_B⟩ of independent halves, whose expectation is ‖∇f(x)‖²; by tensor ("of NAME"), too.

    ``biased``: ‖(g_A + g_B)/2‖², which is never negative and on average ‖∇f‖² + ``noise``, the variance of that mean
    (estimated without bias). ``one_norm``: ‖(g_A + g_B)/2‖₁. ``loss`` and ``loss_error``: f and its standard error.
    """

    group = "path"
    price = 1.0

    def measure(self, moment: Moment) -> dict[str, float]:
        """At the step's parameters, before they move."""
        here = moment.here
        inner, mean, count = here.inner(), here.mean(), len(here.losses)
        loss = math.fsum(here.losses) / count
        deviation = math.sqrt(math.fsum((value - loss) ** 2 for value in here.losses) / (count - 1))
        return {
            "squared": math.fsum(inner.values()),
            "biased": float(mean.square().sum(dtype=torch.float64)),
            "noise": math.fsum(here.spread.values()) / count,
            "one_norm": float(mean.abs().sum(dtype=torch.float64)),
            "loss": loss,
            "loss_error": deviation / math.sqrt(count),
            **{f"of {name}": value for name, value in inner.items()},
        }


PROBE = Gradient()
