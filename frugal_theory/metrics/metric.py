"""What is measured along a run: functions of the true gradient and of the parts in use, one number a trial."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from frugal_theory.algorithm.run_lengths import RunLengths
from frugal_theory.algorithm.subspaces import Mask, Part

__all__ = [
    "LINEAR",
    "METRICS",
    "HybridNorm",
    "Metric",
    "SignNorm",
    "gradient_one_norm",
    "squared_gradient_norm",
    "weighted_squared_gradient_norm",
]

Array = NDArray[np.float64]


class Metric(Protocol):
    """A metric of one step; evidence holds its running average."""

    def __call__(self, gradients: Mapping[str, Array], parts: Mapping[str, Part], runs: RunLengths | None, step: int) -> Array:
        """The metric, shape (trials,), at the 0-based step, given ∇f at the iterate and the parts of that step."""
        ...


def squared_gradient_norm(
    gradients: Mapping[str, Array],
    parts: Mapping[str, Part],  # noqa: ARG001  (every metric has the same arguments)
    runs: RunLengths | None,  # noqa: ARG001
    step: int,  # noqa: ARG001
) -> Array:
    """‖g‖²."""
    return sum((_squares(g) for g in gradients.values()), start=np.zeros(()))


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
            total = total + _squares(gradient * np.sqrt(weight))
        else:
            inside, everything = _squares(part.project(gradient)), _squares(gradient)
            total = total + (1 - leak[name]) * inside + runs.off_set_weight * (everything - inside)
    return total


def gradient_one_norm(
    gradients: Mapping[str, Array],
    parts: Mapping[str, Part],  # noqa: ARG001
    runs: RunLengths | None,  # noqa: ARG001
    step: int,  # noqa: ARG001
) -> Array:
    """‖g‖₁."""
    return sum((_flat(np.abs(g)).sum(axis=1) for g in gradients.values()), start=np.zeros(()))


@dataclass(frozen=True)
class HybridNorm:
    """φ Σ_{j∈J} W g_j² + κ Σ_{j∉J} |g_j| of the hybrid theorem: a metric that depends on the setting.

    ``phi``: φ. ``scale``: κ, the state-free ``lr_scale``. ``deviation``: σ_j by parameter and coordinate, to have
    |g_j| h(|g_j|/σ_j) in place of |g_j|, h as in :class:`SignNorm`.
    """

    phi: float
    scale: float
    deviation: Mapping[str, Array] | None = None

    def __call__(self, gradients: Mapping[str, Array], parts: Mapping[str, Part], runs: RunLengths | None, step: int) -> Array:
        """The metric, shape (trials,), at the 0-based step. Raises ValueError unless J is an oblivious set of coordinates."""
        if runs is None:
            raise ValueError("the hybrid norm needs an oblivious selection; svd of the stochastic gradient is none")
        total = np.zeros(())
        leak = runs.leak(step)
        for name, gradient in gradients.items():
            part = parts[name]
            if not isinstance(part, Mask):
                raise ValueError("the hybrid norm needs a set of coordinates; a basis is none")
            inside = self.phi * (1 - leak[name]) * gradient**2
            size = np.abs(gradient) if self.deviation is None else _kept_by_signs(gradient, self.deviation[name])
            total = total + _flat(np.where(part.inside, inside, self.scale * size)).sum(axis=1)
        return total


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
        sizes = (_kept_by_signs(gradient, self.deviation[name]) for name, gradient in gradients.items())
        return sum((_flat(size).sum(axis=1) for size in sizes), start=np.zeros(()))


METRICS: dict[str, Metric] = {
    "squared_gradient_norm": squared_gradient_norm,
    "weighted_squared_gradient_norm": weighted_squared_gradient_norm,
    "gradient_one_norm": gradient_one_norm,
}
"""The metrics that need no setting. A theorem that bounds another has a method ``measure(setting)`` that returns it."""

LINEAR = ("gradient_one_norm",)
"""Metrics that grow no faster than the gradient, and have a third moment if the noise has."""


def _squares(gradient: Array) -> Array:
    """Σ g² over everything but the trial axis."""
    flat = _flat(gradient)
    return np.einsum("ti,ti->t", flat, flat)


def _flat(gradient: Array) -> Array:
    """Shape (trials, coordinates)."""
    return gradient.reshape(gradient.shape[0], -1)


def _kept_by_signs(gradient: Array, sigma: Array) -> Array:
    """|g| h(|g|/σ), elementwise."""
    size = np.abs(gradient)
    near = size <= 2 / np.sqrt(3) * sigma
    kept = np.where(near, size**2 / (np.sqrt(3) * np.where(sigma > 0, sigma, 1.0)), 0.0)
    return np.where(near, kept, size - 4 * sigma**2 / (9 * np.where(near, 1.0, size)))
