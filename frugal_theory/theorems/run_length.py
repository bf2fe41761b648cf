"""The run-length theorem: Algorithm 2 with any oblivious sequence of momentum sets, every constant explicit."""

from __future__ import annotations

import numpy as np

from frugal_theory.theorems.setting import Array, Setting
from frugal_theory.theorems.theorem import Shown, off_the_family

__all__ = ["RunLength", "largest_weight"]


class RunLength(Shown):
    """The bound of ``docs/theory/run-length.md``, section "The run-length theorem", proved there.

    With r the number of steps from k on that the momentum of j survives, W = 1 − β^r on the set, W = s on the rest
    (s = the state-free ``lr_scale``, at most 1; s = 0 for the rule "none"), and Lα(1/2 + √2 β/(1−β)) < 1::

        avg E‖gᵏ‖²_W ≤ [ Δ/(Kα) + (Lα/2)( avg E Σ_j W²σ_j² + (√2 β/(1+β)) avg E Σ_{j∈J} W²σ_j² ) ]
                        / (1 − Lα(1/2 + √2 β/(1−β)))

    The proof needs W² ≤ W only, hence any 0 ≤ s ≤ 1. Averaged over the selection's own randomness, which is
    independent of the noise (P6). If the set is always empty the β terms vanish, W² = sW, and with the divisor 1 − Lαs/2
    this is the SGD bound of the step αs. On a basis the sums are E tr(WΣW) and E tr(WΠΣΠW), Σ the covariance of the noise:
    that of uncorrelated coordinates if they are known to be so (a premise then), else the largest that it may be. Upper
    bound; measured tightness in stationarity on λ = L between 0.37 and 1.

    >>> from frugal_theory.testing import measured_and_bound
    >>> measured_and_bound("run_length", density=0.5, update_gap=1, subspace="coordinates")
    (0.327, 0.625)
    """

    name = "run_length"
    title = "Run-length theorem"
    short_name = "run-length theorem"
    label = "run-length"
    source = "proved here (docs/theory/run-length.md)"
    statement = (
        "avg E‖gᵏ‖²_W ≤ [Δ/(Kα) + (Lα/2)(avg ΣW²σ² + √2β/(1+β) avg Σ_J W²σ²)] / (1 − Lα(1/2 + √2β/(1−β)))"
        "   for Lα(1/2 + √2β/(1−β)) < 1, W = 1 − β^r"
    )
    formula = (
        r"\operatorname{avg}\mathbb{E}\|g^k\|^2_W\le\frac{\frac{\Delta}{K\alpha}"
        r"+\frac{L\alpha}{2}\Bigl(\operatorname{avg}\sum W^2\sigma^2+\frac{\sqrt{2}\beta}{1"
        r"+\beta}\operatorname{avg}\sum_JW^2\sigma^2\Bigr)}{1-L\alpha\Bigl(\frac{1}{2}"
        r"+\frac{\sqrt{2}\beta}{1-\beta}\Bigr)}"
        "\n"
        r"\text{for }L\alpha\Bigl(\frac{1}{2}+\frac{\sqrt{2}\beta}{1-\beta}\Bigr)<1,\quad W=1-\beta^r"
    )
    premises = "P1–P6; on a basis uncorrelated noise coordinates, or else σ² for tr(ΠΣ)"
    explicit = True
    metric = "weighted_squared_gradient_norm"

    def covers(self, setting: Setting) -> str | None:
        """Algorithm 2 in the reading "reset", with a state-free ``lr_scale`` of at most 1."""
        free = setting.algorithm.state_free
        if free.rule == "sgd" and free.lr_scale > 1:
            return f"the state-free lr_scale is {free.lr_scale:g}, and the proof needs at most 1"
        return off_the_family(setting)

    def needs(self, setting: Setting) -> tuple[str, ...]:
        """Uncorrelated noise, where the bound makes use of it."""
        used = setting.uncorrelated and setting.runs is not None and setting.runs.turned and setting.total_variance > 0
        return ("uncorrelated",) if used else ()

    def largest_step(self, setting: Setting) -> tuple[float, bool]:
        """1/(L(1/2 + √2 β/(1−β))), itself not admitted; 2/(Ls) if the set is always empty."""
        return 1 / (setting.smoothness * _momentum_factor(setting)), False

    def bound(self, setting: Setting) -> Array:
        """The right-hand side, shape (steps,)."""
        alpha, beta, smoothness = setting.alpha, setting.beta, setting.smoothness
        everything, on_set = (np.cumsum(noise) / setting.horizons for noise in setting.weighted_noise)
        transient = setting.gap / (setting.horizons * alpha)
        noise = (smoothness * alpha / 2) * (everything + np.sqrt(2) * beta / (1 + beta) * on_set)
        return (transient + noise) / (1 - smoothness * alpha * _momentum_factor(setting))


def largest_weight(setting: Setting) -> float:
    """max W, so that W² ≤ W max W: 1, or s if nothing is ever in the set (and s > 0)."""
    return (setting.runs.off_set_weight or 1.0) if setting.runs is not None and setting.runs.empty else 1.0


def _momentum_factor(setting: Setting) -> float:
    """max W/2 + √2 β/(1−β)."""
    return float(largest_weight(setting) / 2 + np.sqrt(2) * setting.beta / (1 - setting.beta))
