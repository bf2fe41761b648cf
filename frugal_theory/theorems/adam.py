"""Adam on everything, in the plain norm."""

from __future__ import annotations

import math

from frugal_theory.algorithm.rules import AdamW
from frugal_theory.theorems.adam_hybrid import AdamHybrid, adam_bound, adam_rule, no_bound, off_the_sets
from frugal_theory.theorems.adaptive import flat
from frugal_theory.theorems.setting import Array, Setting
from frugal_theory.theorems.theorem import Shown

__all__ = ["Adam"]


class Adam(Shown):
    """avg E‖gᵏ‖² ≤ (max_j R_j + ε) times the bound of :class:`AdamHybrid`, where everything is always in the set.

    After Défossez, Bottou, Bach & Usunier 2022, Theorems 2 and 4 (their bias correction is another), with our own constants:
    g² over the set weighs at least ‖g‖²/(max_j R_j + ε). Upper bound.

    >>> from frugal_theory.testing import measured_and_bound
    >>> betas = {"rule": "adamw", "betas": [0.0, 0.9]}
    >>> measured_and_bound("adam", batch=16, learning_rate=0.02, density=1.0, state_full=betas)
    (0.0214, 0.465)
    """

    name = "adam"
    title = "Adam"
    short_name = "Adam"
    label = "Adam"
    statement = (
        "avg E‖g‖² ≤ (max R + ε) H/(K(1−β₁^{m+1}))   for the largest H ≤ A + √(N·HS/(H+S)), any α > 0, |g̃| ≤ R;"
        " A = Δ/α + (α/2)ΣLu² + αL√(β₁/(1−β₁) Σu² Q)"
    )
    formula = (
        r"\operatorname{avg}\mathbb{E}\|g\|^2\le\frac{(\max R+\varepsilon)H}{K(1-\beta_1^{m+1})}"
        "\n"
        r"\text{for the largest }H\le A+\sqrt{\frac{N\cdot HS}{H+S}},\text{ any }\alpha>0"
        r",\quad\lvert \tilde{g}\rvert \le R;"
        "\n"
        r"A=\frac{\Delta}{\alpha}+\frac{\alpha}{2}\sum Lu^2+\alpha L\sqrt{\frac{\beta_1}{1-\beta_1}\sum u^2Q}"
    )
    source = AdamHybrid.source
    explicit = True
    premises = (
        "P1 for every coordinate, with L_j; P2–P5 (nothing is selected); bounded stochastic gradients (premise “bounded”)"
    )
    metric = "squared_gradient_norm"

    def needs(self, setting: Setting) -> tuple[str, ...]:  # noqa: ARG002
        """Bounded stochastic gradients, and P1 for every coordinate."""
        return ("bounded", "coordinate_smoothness")

    def covers(self, setting: Setting) -> str | None:
        """Adam on everything."""
        if setting.runs is not None and not setting.runs.full:
            return f"the algorithm is not Adam on everything (density {setting.algorithm.density:g})"
        return adam_rule(setting) or off_the_sets(setting) or no_bound(setting)

    def largest_step(self, setting: Setting) -> tuple[float, bool]:  # noqa: ARG002
        """Any step is admitted."""
        return math.inf, False

    def bound(self, setting: Setting) -> Array:
        """The right-hand side, shape (steps,)."""
        rule, limits = setting.algorithm.state_full, setting.gradient_bound
        assert isinstance(rule, AdamW)
        assert limits is not None
        return (float(flat(limits).max()) + rule.eps) * adam_bound(setting)
