"""The squared norm of the mini-batch gradient, tensor by tensor."""

from __future__ import annotations

from frugal_gpu.probes.probe import Moment

__all__ = ["PROBE", "Gradient"]


class Gradient:
    """‖g̃_j‖² for every parameter j; their sum is the step's ``squared_gradient_norm``."""

    def measure(self, moment: Moment) -> dict[str, float]:
        """By the parameter's name."""
        return {name: float(gradient.double().square().sum()) for name, gradient in moment.gradients.items()}


PROBE = Gradient()
