"""Theorem 5.2 of the FRUGAL paper: a shape, its constant hidden in O(·)."""

from __future__ import annotations

import numpy as np

from frugal_theory.theorems.setting import Array, Setting
from frugal_theory.theorems.theorem import Shown, named_free, off_the_family, published_step

__all__ = ["Theorem52"]


class Theorem52(Shown):
    """avg E‖gᵏ‖² = O( Δ/(Kα) + Lασ²(1 + p̂_max(1 − p̄_min) β/(1−β)) ) for α ≤ (1−β)/(L(4−β+β²)).

    FRUGAL (arXiv 2411.07837), Theorem 5.2, as remembered; p_jᵏ = Pr[j ∈ J_k], p̄_min = min_j avg_k p_jᵏ and
    p̂_max = max_{j,k} p_jᵏ. Its constant is hidden, so it never "holds": the verdict reports the constant that
    the evidence implies. With J = [d] or ∅ the last factor is 1.

    >>> from frugal_theory.testing import measured_and_bound  # the shape, with constant 1
    >>> measured_and_bound("theorem_5_2", density=0.5, update_gap=1, subspace="coordinates")
    (0.554, 0.435)
    """

    name = "theorem_5_2"
    title = "FRUGAL, Theorem 5.2"
    short_name = "Theorem 5.2"
    source = "arXiv 2411.07837, Theorem 5.2 (as remembered; constant hidden in O(·))"
    statement = "avg E‖gᵏ‖² = O( Δ/(Kα) + Lασ²(1 + p̂_max(1 − p̄_min) β/(1−β)) )   for α ≤ (1−β)/(L(4−β+β²))"
    formula = (
        r"\operatorname{avg}\mathbb{E}\|g^k\|^2=O\Bigl(\frac{\Delta}{K\alpha}+L\alpha\sigma^2\Bigl(1"
        r"+\hat{p}_{\max}(1-\bar{p}_{\min})\frac{\beta}{1-\beta}\Bigr)\Bigr)"
        "\n"
        r"\text{for }\alpha\le\frac{1-\beta}{L(4-\beta+\beta^2)}"
    )
    explicit = False
    metric = "squared_gradient_norm"

    def covers(self, setting: Setting) -> str | None:
        """Algorithm 2 on coordinates in the reading "reset", with the state-free rule sgd at scale 1."""
        free, runs = setting.algorithm.state_free, setting.runs
        if runs is not None and not runs.full and (free.rule != "sgd" or free.lr_scale != 1):
            return f'the state-free rule is {named_free(setting)}, not "sgd" with 1'
        if runs is not None and (runs.law == "turning" or setting.algorithm.subspace == "eigen"):
            return f'subspace "{setting.algorithm.subspace}" is not a set of coordinates'
        return off_the_family(setting)

    def largest_step(self, setting: Setting) -> tuple[float, bool]:
        """(1−β)/(L(4−β+β²)), itself admitted."""
        return published_step(setting.smoothness, setting.beta), True

    def bound(self, setting: Setting) -> Array:
        """The shape with constant 1, shape (steps,)."""
        alpha, beta = setting.alpha, setting.beta
        largest, smallest = _probabilities(setting)
        factor = 1 + largest * (1 - smallest) * beta / (1 - beta)
        return setting.gap / (setting.horizons * alpha) + setting.smoothness * alpha * setting.total_variance * factor


def _probabilities(setting: Setting) -> tuple[Array, Array]:
    """p̂_max and p̄_min over the first K steps, for K = 1 … steps; shape (steps,) each."""
    if setting.runs is None:
        raise ValueError("Theorem 5.2 needs an oblivious selection")
    gap, steps, runs = setting.algorithm.update_gap, setting.steps, setting.runs
    shares = runs.probability(0)
    if runs.law != "scheduled":
        lowest, highest = (float(extreme([extreme(p) for p in shares.values()])) for extreme in (np.min, np.max))
        return np.full(steps, highest), np.full(steps, lowest)
    largest, smallest = np.empty(steps), np.empty(steps)
    sums = {name: np.zeros_like(p) for name, p in shares.items()}
    for k in range(steps):
        if k % gap == 0:
            shares = runs.probability(k // gap)
        sums = {name: sums[name] + p for name, p in shares.items()}
        largest[k] = max(float(np.max(p)) for p in shares.values())
        smallest[k] = min(float(np.min(total)) for total in sums.values()) / (k + 1)
    return np.maximum.accumulate(largest), smallest
