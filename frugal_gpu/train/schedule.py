"""The learning rate of every step: a warm-up, then a schedule."""

from __future__ import annotations

import math
from collections.abc import Callable

from frugal_theory.config import Training
from frugal_theory.config.registry import SCHEDULES

__all__ = ["add_schedule", "constant", "cosine", "learning_rate_factor"]

Schedule = Callable[[Training, int], float]
"""The share of the peak learning rate at a step after the warm-up."""


def learning_rate_factor(training: Training, step: int) -> float:
    """The share of the peak learning rate at step k = 1 … K: k/W while k ≤ W, the warm-up, then what the schedule says."""
    warmup = training.warmup
    if step <= warmup:
        return step / warmup
    factor: float = SCHEDULES[training.schedule](training, step)
    return factor


def constant(training: Training, step: int) -> float:  # noqa: ARG001
    """1."""
    return 1.0


def cosine(training: Training, step: int) -> float:
    """φ + (1−φ)·½(1 + cos π(k−W)/(K−W)), which ends at φ, the ``final_learning_rate``."""
    progress = (step - training.warmup) / (training.steps - training.warmup)
    final = training.final_learning_rate
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress))


def add_schedule(name: str, schedule: Schedule) -> Schedule:
    """Add a schedule that ``training.schedule`` may name. Raises ValueError if the name is taken."""
    added: Schedule = SCHEDULES.add(name, schedule)
    return added
