"""The squared gradient norm of a regularised objective, ‖∇f(x) + λx‖²: what weight decay makes small."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from frugal_theory.algorithm.run_lengths import RunLengths
from frugal_theory.algorithm.subspaces import Part
from frugal_theory.metrics.metric import Array, Words, squares

__all__ = ["WORDS", "RegularisedNorm"]

WORDS = {"regularised_squared_gradient_norm": Words("average squared gradient norm of f + (λ/2)‖x‖²", "with decay")}


@dataclass(frozen=True)
class RegularisedNorm:
    """‖∇f(x) + λx‖². It needs the iterate, which :meth:`at` is given. ``decay``: λ."""

    decay: float
    point: Mapping[str, Array] | None = None

    def at(self, point: Mapping[str, Array]) -> RegularisedNorm:
        """The metric at these iterates, arrays with a trial axis."""
        return RegularisedNorm(self.decay, point)

    def __call__(
        self,
        gradients: Mapping[str, Array],
        parts: Mapping[str, Part],  # noqa: ARG002
        runs: RunLengths | None,  # noqa: ARG002
        step: int,  # noqa: ARG002
    ) -> Array:
        """The metric, shape (trials,). Raises ValueError if it has not been told the iterate."""
        if self.point is None:
            raise ValueError("‖∇f(x) + λx‖² needs the iterate x; metric.at(x) has it")
        sizes = (squares(gradient + self.decay * self.point[name]) for name, gradient in gradients.items())
        return sum(sizes, start=np.zeros(()))
