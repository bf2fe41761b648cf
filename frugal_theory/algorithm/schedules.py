"""The density of a period under ``density_schedule``, and the update gap after an evaluation (AdaFRUGAL): of both engines."""

from __future__ import annotations

from frugal_theory.config import Algorithm

__all__ = ["density_at", "in_period", "next_update_gap"]


def density_at(step: int, first: float, last: float, steps: int) -> float:
    """ρ(k) = ρ₀ − (ρ₀ − ρ₁) · min(1, k/K): from ``first`` to ``last`` in a straight line of K = ``steps`` steps.

    >>> [density_at(step, 0.25, 0.05, 200_000) for step in (0, 100_000, 200_000, 300_000)]
    [0.25, 0.15, 0.05, 0.05]
    """
    return first + (last - first) * (step / steps) if step < steps else last


def next_update_gap(gap: int, improvement: float, *, factor: float = 1.5, most: int = 1000, enough: float = 0.005) -> int:
    """T after an evaluation: ``factor`` times as long, up to ``most``, if the loss improved by a share less than ``enough``."""
    return max(gap, min(most, round(factor * gap))) if improvement < enough else gap


def in_period(algorithm: Algorithm, period: int) -> Algorithm:
    """The algorithm with the density that it has in a period: that of the step with which the period begins.

    Raises ValueError for an update gap that evaluations change: a problem has none, only a training.
    """
    if algorithm.update_gap_schedule is not None:
        raise ValueError(
            "algorithm.update_gap_schedule lets evaluations of a training change T; a problem has none, so leave it out here"
        )
    if (line := algorithm.density_schedule) is None:
        return algorithm
    density = density_at(period * algorithm.update_gap, algorithm.density, line.to, line.steps)
    return algorithm.model_copy(update={"density": density, "density_schedule": None})
