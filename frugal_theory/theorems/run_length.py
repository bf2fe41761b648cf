"""The run-length theorem: Algorithm 2 with any oblivious sequence of momentum sets, every constant explicit."""

from __future__ import annotations

import numpy as np

from frugal_theory.theorems.setting import Array, Setting
from frugal_theory.theorems.theorem import off_the_family

__all__ = ["RunLength"]


class RunLength:
    """The bound of ``docs/theory.md``, section "The run-length theorem", proved there.

    With r the number of steps from k on that the momentum of j survives, W = 1 − β^r on the set, W = s on the rest
    (s = the state-free ``lr_scale``, at most 1; s = 0 for the rule "none"), and Lα(1/2 + √2 β/(1−β)) < 1::

        avg E‖gᵏ‖²_W ≤ [ Δ/(Kα) + (Lα/2)( avg E Σ_j W²σ_j² + (√2 β/(1+β)) avg E Σ_{j∈J} W²σ_j² ) ]
                        / (1 − Lα(1/2 + √2 β/(1−β)))

    The proof needs W² ≤ W only, hence any 0 ≤ s ≤ 1. Averaged over the selection's own randomness, which is
    independent of the noise (P6). If the set is always empty the β terms vanish and this is the SGD bound. Upper
    bound; measured tightness in stationarity on λ = L between 0.37 and 1.

    >>> from frugal_theory.testing import measured_and_bound
    >>> measured_and_bound("run_length", density=0.5, update_gap=1, subspace="coordinates")
    (0.332, 0.625)
    """

    name = "run_length"
    title = "Run-length theorem"
    short_name = "run-length theorem"
    label = "run-length"
    source = "proved here (docs/theory.md)"
    statement = (
        "avg E‖gᵏ‖²_W ≤ [Δ/(Kα) + (Lα/2)(avg ΣW²σ² + √2β/(1+β) avg Σ_J W²σ²)] / (1 − Lα(1/2 + √2β/(1−β)))"
        "   for Lα(1/2 + √2β/(1−β)) < 1, W = 1 − β^r"
    )
    explicit = True
    metric = "weighted_squared_gradient_norm"

    def covers(self, setting: Setting) -> str | None:
        """Algorithm 2 in the reading "reset", with a state-free ``lr_scale`` of at most 1."""
        free = setting.algorithm.state_free
        if free.rule == "sgd" and free.lr_scale > 1:
            return f"the state-free lr_scale is {free.lr_scale:g}, and the proof needs at most 1"
        return off_the_family(setting)

    def largest_step(self, setting: Setting) -> tuple[float, bool]:
        """1/(L(1/2 + √2 β/(1−β))), itself not admitted."""
        return 1 / (setting.smoothness * _momentum_factor(setting.beta)), False

    def bound(self, setting: Setting) -> Array:
        """The right-hand side, shape (steps,)."""
        if setting.runs is None:
            raise ValueError("the run-length theorem needs an oblivious selection")
        alpha, beta, smoothness = setting.alpha, setting.beta, setting.smoothness
        everything, on_set = (
            np.cumsum(noise) / setting.horizons for noise in setting.runs.noise(setting.variance, setting.steps)
        )
        transient = setting.gap / (setting.horizons * alpha)
        noise = (smoothness * alpha / 2) * (everything + np.sqrt(2) * beta / (1 + beta) * on_set)
        return (transient + noise) / (1 - smoothness * alpha * _momentum_factor(beta))


def _momentum_factor(beta: float) -> float:
    """1/2 + √2 β/(1−β)."""
    return float(0.5 + np.sqrt(2) * beta / (1 - beta))
