"""The ℓ1 norm of the gradient, weighed by what each side does with a sign."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from frugal_theory.algorithm.run_lengths import RunLengths
from frugal_theory.algorithm.subspaces import Mask, Part
from frugal_theory.metrics.metric import Array, Words, flat

__all__ = ["WORDS", "HybridOneNorm"]

WORDS = {"hybrid_one_norm": Words("average Σ|g| on the set + κΣ|g| off it", "ℓ1 by sides", linear=True)}


@dataclass(frozen=True)
class HybridOneNorm:
    """Σ_{j∈J} |g_j| + κ Σ_{j∉J} |g_j|: a metric that depends on the setting. ``scale``: κ."""

    scale: float

    def __call__(
        self,
        gradients: Mapping[str, Array],
        parts: Mapping[str, Part],
        runs: RunLengths | None,  # noqa: ARG002
        step: int,  # noqa: ARG002
    ) -> Array:
        """The metric, shape (trials,). Raises ValueError unless J is a set of coordinates."""
        total = np.zeros(())
        for name, gradient in gradients.items():
            part = parts[name]
            if not isinstance(part, Mask):
                raise ValueError("this norm needs a set of coordinates; a basis is none")
            total = total + flat(np.abs(gradient) * np.where(part.inside, 1.0, self.scale)).sum(axis=1)
        return total
