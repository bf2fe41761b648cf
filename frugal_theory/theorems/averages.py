"""Averages over k ≤ K of what a theorem sums: numbers that depend on the law of the momentum set."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from frugal_theory.algorithm.run_lengths import RunLengths
from frugal_theory.theorems.setting import Array, Setting

__all__ = ["known_law", "off_set", "on_set", "running"]


def known_law(setting: Setting) -> RunLengths:
    """The law of the momentum set; ValueError if the selection is not oblivious."""
    if setting.runs is None:
        raise ValueError("this bound needs an oblivious selection")
    return setting.runs


def running(values: Array) -> Array:
    """(1/K) Σ_{k≤K} values_k for K = 1 … len(values)."""
    return np.cumsum(values) / np.arange(1, len(values) + 1)


def off_set(setting: Setting, values: dict[str, Array]) -> Array:
    """avg E Σ_{j∉J_k} v_j for K = 1 … steps, shape (steps,)."""
    runs, gap = known_law(setting), setting.algorithm.update_gap

    def at(period: int) -> float:
        share = runs.probability(period)
        return float(sum(np.sum((1 - share[name]) * v) for name, v in values.items()))

    if runs.law != "scheduled":
        return np.full(setting.steps, at(0))
    periods = [at(period) for period in range(-(-setting.steps // gap))]
    return running(np.repeat(periods, gap)[: setting.steps])


def on_set(setting: Setting, at: Callable[[RunLengths, int], dict[str, Array]], values: dict[str, Array]) -> Array:
    """avg E Σ_{j∈J_k} w_jᵏ v_j, with w = ``at(runs, step)`` at the 0-based step, given j in the set; shape (steps,).

    v are variances: on a basis with correlated noise it is the largest that E tr(wΠΣ) may be.
    """
    runs = known_law(setting)
    found = np.empty(setting.steps)
    for k in range(setting.steps):
        share, weight = runs.reach(k, setting.uncorrelated), at(runs, k)
        found[k] = sum(float(np.sum(share[name] * weight[name] * v)) for name, v in values.items())
    return running(found)
