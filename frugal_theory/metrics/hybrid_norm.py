"""The norm of the hybrid theorem: squares on the momentum set, sizes off it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from frugal_theory.algorithm.run_lengths import RunLengths
from frugal_theory.algorithm.subspaces import Mask, Part
from frugal_theory.metrics.metric import Array, Words, flat
from frugal_theory.metrics.sign_norm import kept_by_signs

__all__ = ["WORDS", "HybridNorm"]

WORDS = {
    "hybrid_norm": Words("average φΣWg² on the set + κΣ|g| off it", "hybrid"),
    "hybrid_norm_sharp": Words("average φΣWg² on the set + κΣ|g| off it", "hybrid"),
    "hybrid_norm_symmetric": Words("average φΣWg² on the set + κΣ|g|h(|g|/σ) off it", "hybrid"),
}
"""By the name that each theorem gives its own form of it."""


@dataclass(frozen=True)
class HybridNorm:
    """φ Σ_{j∈J} W g_j² + κ Σ_{j∉J} |g_j| of the hybrid theorem: a metric that depends on the setting.

    ``phi``: φ. ``scale``: κ, the state-free ``lr_scale``. ``deviation``: σ_j by parameter and coordinate, to have
    |g_j| h(|g_j|/σ_j) in place of |g_j|, h as in :class:`~frugal_theory.metrics.sign_norm.SignNorm`.
    """

    phi: float
    scale: float
    deviation: Mapping[str, Array] | None = None

    def __call__(self, gradients: Mapping[str, Array], parts: Mapping[str, Part], runs: RunLengths | None, step: int) -> Array:
        """The metric, shape (trials,), at the 0-based step. Raises ValueError unless J is an oblivious set of coordinates."""
        if runs is None:
            raise ValueError("the hybrid norm needs an oblivious selection; svd of the stochastic gradient is none")
        total = np.zeros(())
        leak = runs.leak(step)
        for name, gradient in gradients.items():
            part = parts[name]
            if not isinstance(part, Mask):
                raise ValueError("the hybrid norm needs a set of coordinates; a basis is none")
            inside = self.phi * (1 - leak[name]) * gradient**2
            size = np.abs(gradient) if self.deviation is None else kept_by_signs(gradient, self.deviation[name])
            total = total + flat(np.where(part.inside, inside, self.scale * size)).sum(axis=1)
        return total
