"""What signs keep of the gradient under symmetric unimodal noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from frugal_theory.algorithm.run_lengths import RunLengths
from frugal_theory.algorithm.subspaces import Part
from frugal_theory.metrics.metric import Array, Words, flat

__all__ = ["WORDS", "SignNorm", "kept_by_signs"]

WORDS = {"sign_norm": Words("average Σ|g|h(|g|/σ), ≈ Σg²/(√3σ) near 0", "by signs")}


@dataclass(frozen=True)
class SignNorm:
    """Σ |g_j| h(|g_j|/σ_j), h(t) = t/√3 for t ≤ 2/√3 and 1 − 4/(9t²) beyond: what signs keep under symmetric unimodal noise.

    ``deviation``: σ_j by parameter and coordinate; h = 1 where it is 0.
    """

    deviation: Mapping[str, Array]

    def __call__(
        self,
        gradients: Mapping[str, Array],
        parts: Mapping[str, Part],  # noqa: ARG002
        runs: RunLengths | None,  # noqa: ARG002
        step: int,  # noqa: ARG002
    ) -> Array:
        """The metric, shape (trials,)."""
        sizes = (kept_by_signs(gradient, self.deviation[name]) for name, gradient in gradients.items())
        return sum((flat(size).sum(axis=1) for size in sizes), start=np.zeros(()))


def kept_by_signs(gradient: Array, sigma: Array) -> Array:
    """|g| h(|g|/σ), elementwise."""
    size = np.abs(gradient)
    near = size <= 2 / np.sqrt(3) * sigma
    kept = np.where(near, size**2 / (np.sqrt(3) * np.where(sigma > 0, sigma, 1.0)), 0.0)
    return np.where(near, kept, size - 4 * sigma**2 / (9 * np.where(near, 1.0, size)))
