"""What signs keep of the gradient under noise of which no more than its median size is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from frugal_theory.algorithm.run_lengths import RunLengths
from frugal_theory.algorithm.subspaces import Part
from frugal_theory.metrics.metric import Array, Words, flat

__all__ = ["WORDS", "MedianNorm"]

WORDS = {"median_norm": Words("average ½Σ|g|min(|g|/m, 1), m the median of |noise|", "by medians", linear=True)}


@dataclass(frozen=True)
class MedianNorm:
    """½ Σ |g_j| min(|g_j|/m_j, 1). ``medians``: m_j by parameter and coordinate; |g_j|/2 where it is 0."""

    medians: Mapping[str, Array]

    def __call__(
        self,
        gradients: Mapping[str, Array],
        parts: Mapping[str, Part],  # noqa: ARG002
        runs: RunLengths | None,  # noqa: ARG002
        step: int,  # noqa: ARG002
    ) -> Array:
        """The metric, shape (trials,)."""
        total = np.zeros(())
        for name, gradient in gradients.items():
            size, median = np.abs(gradient), self.medians[name]
            kept = np.where(size < median, size / np.where(median > 0, median, 1.0), 1.0)
            total = total + flat(size * kept).sum(axis=1) / 2
        return total
