"""Corollary of the run-length theorem: a momentum set drawn anew at every step."""

from __future__ import annotations

import numpy as np

from frugal_theory.theorems.averages import known_law
from frugal_theory.theorems.run_length import RunLength
from frugal_theory.theorems.setting import Array, Setting
from frugal_theory.theorems.theorem import named_free

__all__ = ["IndependentSampling"]


class IndependentSampling(RunLength):
    """T = 1, each unit drawn with probability p_j: xᵏ is independent of J_k, so E‖gᵏ‖²_W = Σ ω_j E(g_jᵏ)² and::

        avg E‖gᵏ‖² ≤ (the run-length bound) / min_j ω_j,   ω_j = 1 − p_jβ(1−p_j)/(1−p_jβ)

    with E W² = 1 − 2(1−p)β/(1−pβ) + (1−p)β²/(1−pβ²) on the set. αω is the effective step size. 1/ω ≤ 1/(1−p): it does
    not blow up as β → 1. A state-free ``lr_scale`` s makes ω = p(1−β)/(1−pβ) + (1−p)s.

    >>> from frugal_theory.testing import measured_and_bound
    >>> measured_and_bound("independent_sampling", density=0.5, update_gap=1, subspace="coordinates")
    (0.554, 1.06)
    """

    name = "independent_sampling"
    title = "Corollary: independent sampling at every step"
    short_name = "run-length, drawn every step"
    label = "drawn sets"
    statement = (
        "avg E‖gᵏ‖² ≤ [Δ/(Kα) + (Lα/2)(ΣE W²σ² + √2β/(1+β) pΣE W²σ²)] / (ω_p(1 − Lα(1/2 + √2β/(1−β))))"
        "   for T = 1, ω_p = 1 − pβ(1−p)/(1−pβ)"
    )
    formula = (
        r"\operatorname{avg}\mathbb{E}\|g^k\|^2\le\frac{\frac{\Delta}{K\alpha}+\frac{L\alpha}{2}\Bigl("
        r"\sum\mathbb{E}W^2\sigma^2+\frac{\sqrt{2}\beta}{1+\beta}p"
        r"\sum\mathbb{E}W^2\sigma^2\Bigr)}{\omega_p\Bigl(1-L\alpha\Bigl(\frac{1}{2}"
        r"+\frac{\sqrt{2}\beta}{1-\beta}\Bigr)\Bigr)}"
        "\n"
        r"\text{for }T=1,\quad\omega_p=1-\frac{p\beta(1-p)}{1-p\beta}"
    )
    premises = "P1–P6"
    metric = "squared_gradient_norm"

    def covers(self, setting: Setting) -> str | None:
        """Units drawn at every step, in the reading "reset"; off the set SGD that moves."""
        runs, free = setting.runs, setting.algorithm.state_free
        if runs is not None and (runs.law != "redrawn" or setting.algorithm.update_gap != 1):
            return "the momentum set is not drawn anew at every step"
        if free.rule != "sgd" or free.lr_scale == 0:
            return f"the state-free rule is {named_free(setting)}: nothing moves off the set by SGD"
        return super().covers(setting)

    def bound(self, setting: Setting) -> Array:
        """The right-hand side, shape (steps,)."""
        return super().bound(setting) / smallest_mean_weight(setting)


def smallest_mean_weight(setting: Setting) -> float:
    """min_j ω_j = min_j E W_j for T = 1."""
    runs = known_law(setting)
    leak, share = runs.leak(0), runs.probability(0)
    return min(float(np.min(share[name] * (1 - leak[name]) + (1 - share[name]) * runs.off_set_weight)) for name in leak)
