"""The norm of the adaptive theorems: squares over the largest gradient on the set, squares or sizes off it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from frugal_theory.algorithm.run_lengths import RunLengths
from frugal_theory.algorithm.subspaces import Mask, Part
from frugal_theory.metrics.metric import Array, Words, flat

__all__ = ["WORDS", "AdaptiveNorm"]

WORDS = {
    "adaptive_norm": Words("average ΣWg²/(R+ε) on the set + κΣ|g| off it (κΣg² with SGD)", "adaptive"),
}


@dataclass(frozen=True)
class AdaptiveNorm:
    """Σ_{j∈J} W g_j²/(R_j + ε) + κ Σ_{j∉J} |g_j| (g_j² with ``squares``): a metric that depends on the setting.

    ``inverse``: 1/(R_j + ε) by parameter and coordinate. ``scale``: κ, the state-free ``lr_scale``, or 0 for the rule "none".
    ``leaks``: the law of the set whose β is β₁, so that W = 1 − E[β₁^r | in the set].
    """

    inverse: Mapping[str, Array]
    scale: float
    leaks: RunLengths
    squares: bool = False

    def __call__(
        self,
        gradients: Mapping[str, Array],
        parts: Mapping[str, Part],
        runs: RunLengths | None,  # noqa: ARG002  (its β is that of SGDM)
        step: int,
    ) -> Array:
        """The metric, shape (trials,), at the 0-based step. Raises ValueError unless J is a set of coordinates."""
        total, leak = np.zeros(()), self.leaks.leak(step)
        for name, gradient in gradients.items():
            part = parts[name]
            if not isinstance(part, Mask):
                raise ValueError("the adaptive norm needs a set of coordinates; a basis is none")
            inside = (1 - leak[name]) * self.inverse[name] * gradient**2
            outside = self.scale * (gradient**2 if self.squares else np.abs(gradient))
            total = total + flat(np.where(part.inside, inside, outside)).sum(axis=1)
        return total
