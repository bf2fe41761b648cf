"""The ℓ1 norm of the gradient, ‖∇f‖₁."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from frugal_theory.algorithm.run_lengths import RunLengths
from frugal_theory.algorithm.subspaces import Part
from frugal_theory.metrics.metric import Array, Words, flat

__all__ = ["WORDS", "gradient_one_norm"]

WORDS = {"gradient_one_norm": Words("average ℓ1 norm of the gradient", "ℓ1", linear=True)}


def gradient_one_norm(
    gradients: Mapping[str, Array],
    parts: Mapping[str, Part],  # noqa: ARG001
    runs: RunLengths | None,  # noqa: ARG001
    step: int,  # noqa: ARG001
) -> Array:
    """‖g‖₁."""
    return sum((flat(np.abs(g)).sum(axis=1) for g in gradients.values()), start=np.zeros(()))
