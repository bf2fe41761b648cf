"""The learning rate of every step."""

from __future__ import annotations

import math

from frugal_theory.config import Training

__all__ = ["learning_rate_factor"]


def learning_rate_factor(training: Training, step: int) -> float:
    """The share of the peak learning rate at step k = 1 … K.

    k/W while k ≤ W; then with schedule "cosine" φ + (1−φ)·½(1 + cos π(k−W)/(K−W)), which ends at φ, the
    ``final_learning_rate``; with "constant" 1. W is the warm-up.
    """
    warmup = training.warmup
    if step <= warmup:
        return step / warmup
    if training.schedule == "constant":
        return 1.0
    progress = (step - warmup) / (training.steps - warmup)
    final = training.final_learning_rate
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress))
