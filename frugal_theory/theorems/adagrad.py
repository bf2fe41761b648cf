"""Adagrad on everything."""

from __future__ import annotations

import math

import numpy as np

from frugal_theory.algorithm.rules.adagrad import Adagrad as Rule
from frugal_theory.theorems.adam_hybrid import no_bound, off_the_sets
from frugal_theory.theorems.adaptive import flat, largest_mixed
from frugal_theory.theorems.setting import Array, Setting
from frugal_theory.theorems.theorem import Shown

__all__ = ["Adagrad"]


class Adagrad(Shown):
    """avg E‖gᵏ‖² ≤ (max_j R_j √K + ε) H/K for every α > 0 and |g̃_j| ≤ R_j almost surely, H the largest with::

        H ≤ A + √(N·HS/(H+S)),  A = Δ/α + (α/2) Σ L_j Y_j,  N = Σ R_j Y_j,  S = K Σ σ_j²/R_j

    with Y_j = K(1 − (1 + KR_j²/ε²)^{−1/K}) < ln(1 + KR_j²/ε²). Proved in ``docs/theory/adaptive.md``, section "Adagrad", after
    Défossez, Bottou, Bach & Usunier 2022, Theorem 1: as H ≤ 2A + N, its noise term has a quarter of the constant that theirs
    has. Upper bound.

    >>> from frugal_theory.testing import measured_and_bound
    >>> measured_and_bound("adagrad", batch=16, density=1.0, state_full="adagrad", learning_rate=0.1)
    (0.0266, 1.06)
    """

    name = "adagrad"
    title = "Adagrad"
    short_name = "Adagrad"
    label = "Adagrad"
    source = "proved here (docs/theory/adaptive.md), after Défossez et al. 2022"
    statement = (
        "avg E‖g‖² ≤ (max R √K + ε) H/K   for the largest H ≤ A + √(N·HS/(H+S)), any α > 0, |g̃| ≤ R;"
        " A = Δ/α + (α/2)ΣLY, N = ΣRY, S = KΣσ²/R, Y ≤ ln(1 + KR²/ε²)"
    )
    formula = (
        r"\operatorname{avg}\mathbb{E}\|g\|^2\le(\max R\sqrt{K}+\varepsilon)\frac{H}{K}"
        "\n"
        r"\text{for the largest }H\le A+\sqrt{\frac{N\cdot HS}{H+S}},\text{ any }\alpha>0"
        r",\quad\lvert \tilde{g}\rvert \le R;"
        "\n"
        r"A=\frac{\Delta}{\alpha}+\frac{\alpha}{2}\sum LY,\quad N=\sum RY,\quad S=\frac{K\sum\sigma^2}{R},\quad Y"
        r"\le\ln\Bigl(1+\frac{KR^2}{\varepsilon^2}\Bigr)"
    )
    explicit = True
    premises = (
        "P1 for every coordinate, with L_j; P2–P5 (nothing is selected); bounded stochastic gradients (premise “bounded”)"
    )
    metric = "squared_gradient_norm"

    def needs(self, setting: Setting) -> tuple[str, ...]:  # noqa: ARG002
        """Bounded stochastic gradients, and P1 for every coordinate."""
        return ("bounded", "coordinate_smoothness")

    def covers(self, setting: Setting) -> str | None:
        """Adagrad on everything."""
        full = setting.algorithm.state_full
        if not isinstance(full, Rule):
            return f'the state-full rule is "{full.rule}", not "adagrad"'
        if setting.runs is not None and not setting.runs.full:
            return f"the algorithm is not Adagrad on everything (density {setting.algorithm.density:g})"
        return off_the_sets(setting) or no_bound(setting)

    def largest_step(self, setting: Setting) -> tuple[float, bool]:  # noqa: ARG002
        """Any step is admitted."""
        return math.inf, False

    def bound(self, setting: Setting) -> Array:
        """The right-hand side, shape (steps,)."""
        rule, limits, k = setting.algorithm.state_full, setting.gradient_bound, setting.horizons
        assert isinstance(rule, Rule)
        assert limits is not None
        limit, variance, curvature = flat(limits), flat(setting.variance), flat(setting.coordinate_smoothness)
        moving = limit > 0  # the others have no gradient
        limit, variance, curvature = limit[moving], variance[moving], curvature[moving]
        largest = 1 + k[:, None] * (limit / rule.eps) ** 2
        grown = k[:, None] * -np.expm1(-np.log(largest) / k[:, None])
        curved = np.minimum(grown @ curvature, setting.smoothness * grown.sum(axis=1))
        constant = setting.gap / setting.alpha + setting.alpha / 2 * curved
        total = largest_mixed(constant, grown @ limit, k * float(np.sum(variance / limit)))
        return (float(limit.max(initial=0.0)) * np.sqrt(k) + rule.eps) * total / k
