"""The squared gradient norm weighted by run lengths, ‖∇f‖²_W."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from frugal_theory.algorithm.run_lengths import RunLengths
from frugal_theory.algorithm.subspaces import Mask, Part
from frugal_theory.metrics.metric import Array, Words, squares

__all__ = ["WORDS", "weighted_squared_gradient_norm"]

WORDS = {"weighted_squared_gradient_norm": Words("average squared gradient norm, weighted by W", "weighted")}


def weighted_squared_gradient_norm(
    gradients: Mapping[str, Array], parts: Mapping[str, Part], runs: RunLengths | None, step: int
) -> Array:
    """‖g‖²_W of the run-length theorem: weight E[1 − β^r] on the set, the state-free ``lr_scale`` off it."""
    if runs is None:
        raise ValueError("the weighted norm needs an oblivious selection; svd of the stochastic gradient is none")
    total = np.zeros(())
    leak = runs.leak(step)
    for name, gradient in gradients.items():
        part = parts[name]
        if isinstance(part, Mask):
            weight = np.where(part.inside, 1 - leak[name], runs.off_set_weight)
            total = total + squares(gradient * np.sqrt(weight))
        else:
            inside, everything = squares(part.project(gradient)), squares(gradient)
            total = total + (1 - leak[name]) * inside + runs.off_set_weight * (everything - inside)
    return total
