"""The squared gradient norm with weights that grow from step to step: its average soon forgets the start."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from frugal_theory.algorithm.run_lengths import RunLengths
from frugal_theory.algorithm.subspaces import Part
from frugal_theory.metrics.metric import Array, Words, squares

__all__ = ["LARGEST_WEIGHT", "WORDS", "GrowingNorm"]

WORDS = {"growing_squared_gradient_norm": Words("average squared gradient norm, its weights growing", "growing weights")}

LARGEST_WEIGHT = 1e6
"""Where weights stop growing: the first step then counts for a millionth of the last."""


@dataclass(frozen=True)
class GrowingNorm:
    """w_k‖g‖² with w_k = min((1−τ)^{−(k−1)}, 10⁶). ``rate``: τ in [0, 1].

    >>> GrowingNorm(0.5).weights(3).round(9).tolist()
    [1.0, 2.0, 4.0]
    """

    rate: float

    def weight(self, step: int) -> float:
        """w at the 0-based step."""
        if self.rate >= 1:
            return 1.0 if step == 0 else LARGEST_WEIGHT
        return math.exp(min(-step * math.log1p(-self.rate), math.log(LARGEST_WEIGHT)))

    def weights(self, steps: int) -> Array:
        """w_k for k = 1 … steps, shape (steps,). w_k ≤ w_{k−1}/(1−τ)."""
        return np.array([self.weight(step) for step in range(steps)])

    def __call__(
        self,
        gradients: Mapping[str, Array],
        parts: Mapping[str, Part],  # noqa: ARG002
        runs: RunLengths | None,  # noqa: ARG002
        step: int,
    ) -> Array:
        """The metric, shape (trials,), at the 0-based step."""
        total = sum((squares(g) for g in gradients.values()), start=np.zeros(()))
        return np.asarray(self.weight(step) * total)
