"""Ceilings: the largest average that any trial can have, where steps or gradients are of bounded size."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from frugal_theory.algorithm.rules import AdamW, Lion
from frugal_theory.instance import Instance
from frugal_theory.metrics import AdaptiveNorm, HybridNorm, HybridOneNorm, MedianNorm, Metric
from frugal_theory.theorems.setting import Setting

__all__ = ["PLAIN", "WEIGHTED", "average_of", "first_norm", "flat", "largest", "reach"]

Array = NDArray[np.float64]
Arrays = Mapping[str, Array]

PLAIN, WEIGHTED = "squared_gradient_norm", "weighted_squared_gradient_norm"


def reach(instance: Instance, name: str, metric: Metric) -> tuple[Array, bool]:
    """The largest average of any trial, from how far bounded steps can come: ‖gᵏ‖ ≤ ‖g¹‖ + L‖xᵏ − x¹‖; inf without a bound."""
    setting, nothing = instance.setting, np.full(instance.setting.steps, np.inf)
    sizes = _sizes(setting)
    if sizes is None or (name == WEIGHTED and setting.runs is not None and setting.runs.off_set_weight > 1):
        return nothing, False
    count = flat(setting, setting.variance).size
    way = np.concatenate([[0.0], np.cumsum(sizes)[:-1]]) * setting.alpha * math.sqrt(count)
    found = average_of(first_norm(instance) + setting.smoothness * way, setting, name, metric)
    return (nothing, False) if found is None else (found, True)


def largest(setting: Setting, name: str, metric: Metric) -> float | None:
    """The largest value of the metric for gradients within their bound |g_j| ≤ R_j; None if it or the bound is unknown."""
    if setting.gradient_bound is None:
        return None
    limit = flat(setting, setting.gradient_bound)
    if name == PLAIN:
        return float(limit @ limit)
    if name == "gradient_one_norm":
        return float(limit.sum())
    if type(metric) is AdaptiveNorm:
        outside = metric.scale * (limit**2 if metric.squares else limit)
        return float(np.maximum(flat(setting, metric.inverse) * limit**2, outside).sum())
    if type(metric) is HybridOneNorm:
        return max(1.0, metric.scale) * float(limit.sum())
    return None


def _sizes(setting: Setting) -> Array | None:
    """‖u‖/√d of steps 1 … K at most, shape (steps,); None if nothing bounds it, or weight decay.

    On coordinates that is the larger of the rules' |u_j|. On a basis both parts may have every coordinate, and they add up.
    """
    runs, algorithm, steps = setting.runs, setting.algorithm, setting.horizons
    if runs is None or algorithm.weight_decay:
        return None
    outside = inside = np.zeros_like(steps)
    if not runs.full:
        free = algorithm.state_free
        if free.rule not in ("signsgd", "none"):
            return None
        outside = np.full_like(steps, free.lr_scale if free.rule == "signsgd" else 0.0)
    if not runs.empty:
        full = algorithm.state_full
        if isinstance(full, Lion):
            inside = np.ones_like(steps)
        elif isinstance(full, AdamW) and _counted(setting) and full.betas[0] ** 2 < full.betas[1]:
            first, second = full.betas
            among = (1 - first) ** 2 / ((1 - second) * (1 - first**2 / second))  # Cauchy and Schwarz
            sizes = np.sqrt(among * (1 - second**steps)) / (1 - first**steps)
            inside = sizes if runs.law == "fixed" else np.full_like(steps, sizes.max())
        else:
            return None
    return inside + outside if runs.mixes else np.maximum(inside, outside)


def _counted(setting: Setting) -> bool:
    """Whether every coordinate's statistics are those of one sequence of gradients: no basis that turns without a reset."""
    runs = setting.runs
    return runs is not None and (runs.law != "turning" or setting.algorithm.on_update == "reset")


def flat(setting: Setting, arrays: Arrays) -> Array:
    """Arrays that broadcast to the parameters' shapes, as one vector (d,)."""
    return np.concatenate([np.ravel(np.broadcast_to(arrays[key], shape)) for key, shape in setting.shapes.items()])


def first_norm(instance: Instance) -> float:
    """‖g¹‖."""
    gradient = instance.problem.gradient({key: value[None] for key, value in instance.start.items()})
    return math.sqrt(sum(float(np.sum(g**2)) for g in gradient.values()))


def average_of(norms: Array, setting: Setting, name: str, metric: Metric) -> Array | None:
    """The running average of the metric in terms of ‖g‖, shape (steps,); None for a metric that nothing is known of."""
    count, runs = flat(setting, setting.variance).size, setting.runs
    assert runs is not None
    if name in (PLAIN, WEIGHTED):
        values = norms**2
    elif name in ("gradient_one_norm", "sign_norm"):
        values = math.sqrt(count) * norms
    elif type(metric) is HybridNorm:
        weights = [1 - min(float(np.min(leak)) for leak in runs.leak(k).values()) for k in range(len(norms))]
        values = metric.phi * np.array(weights) * norms**2 + metric.scale * math.sqrt(count) * norms
    elif type(metric) is AdaptiveNorm:
        inside = max(float(np.max(inverse)) for inverse in metric.inverse.values()) * norms**2
        values = inside + metric.scale * (norms**2 if metric.squares else math.sqrt(count) * norms)
    elif type(metric) is HybridOneNorm:
        values = max(1.0, metric.scale) * math.sqrt(count) * norms
    elif type(metric) is MedianNorm:
        values = math.sqrt(count) * norms / 2
    else:
        return None
    return np.asarray(np.cumsum(values) / np.arange(1, len(values) + 1))
