"""The squared gradient norm ‖∇f‖²."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from frugal_theory.algorithm.run_lengths import RunLengths
from frugal_theory.algorithm.subspaces import Part
from frugal_theory.metrics.metric import Array, Words, squares

__all__ = ["WORDS", "squared_gradient_norm"]

WORDS = {"squared_gradient_norm": Words("average squared gradient norm", "")}
"""Among others its lines need no symbol."""


def squared_gradient_norm(
    gradients: Mapping[str, Array],
    parts: Mapping[str, Part],  # noqa: ARG001  (every metric has the same arguments)
    runs: RunLengths | None,  # noqa: ARG001
    step: int,  # noqa: ARG001
) -> Array:
    """‖g‖²."""
    return sum((squares(g) for g in gradients.values()), start=np.zeros(()))
