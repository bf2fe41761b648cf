"""signSGD on a function that is smooth coordinate by coordinate."""

from __future__ import annotations

import numpy as np

from frugal_theory.theorems.setting import Array, Setting
from frugal_theory.theorems.theorem import Shown, named_free

__all__ = ["SignSgd", "total_deviation"]


class SignSgd(Shown):
    """avg E‖gᵏ‖₁ ≤ Δ/(Kα) + (α/2) Σ L_j + 2 Σσ_j for every α > 0.

    Bernstein, Wang, Azizzadenesheli & Anandkumar 2018, "signSGD", the one-step argument of Theorem 1 with a constant
    step; f(y) ≤ f(x) + ⟨∇f(x), y − x⟩ + ½ Σ L_j(y_j − x_j)². A state-free ``lr_scale`` κ makes the step ακ. The last
    term does not shrink with α: a sign is wrong with probability at most σ_j/|g_j|, whatever the step. For noise that
    is skewed or has two modes that can be real; for symmetric unimodal noise it is not (``signsgd_symmetric``).

    >>> from frugal_theory.testing import measured_and_bound
    >>> measured_and_bound("signsgd", density=0.0, state_free="signsgd", learning_rate=0.01)
    (0.755, 1.21)
    """

    name = "signsgd"
    title = "signSGD"
    short_name = "signSGD"
    source = "Bernstein et al. 2018, one-step argument of Theorem 1 (as remembered)"
    statement = "avg E‖gᵏ‖₁ ≤ Δ/(Kα) + (α/2)ΣL_j + 2Σσ_j   for α > 0"
    formula = (
        r"\operatorname{avg}\mathbb{E}\|g^k\|_1\le\frac{\Delta}{K\alpha}+\frac{\alpha}{2}\sum L_j+2\sum\sigma_j"
        "\n"
        r"\text{for }\alpha>0"
    )
    explicit = True
    premises = "P1 for every coordinate, with L_j; P2–P5 (nothing is selected)"
    metric = "gradient_one_norm"

    def covers(self, setting: Setting) -> str | None:
        """signSGD: an empty momentum set and the state-free rule signsgd."""
        algorithm, runs = setting.algorithm, setting.runs
        if algorithm.weight_decay:
            return f"weight_decay = {algorithm.weight_decay:g} changes the objective"
        if runs is None or not runs.empty:
            return f"the algorithm is not signSGD (state-full {algorithm.state_full.rule} with density {algorithm.density:g})"
        free = algorithm.state_free
        if free.rule != "signsgd" or free.lr_scale == 0:
            return f'the state-free rule is {named_free(setting)}, not "signsgd"'
        return None

    def needs(self, setting: Setting) -> tuple[str, ...]:  # noqa: ARG002
        """P1 for every coordinate."""
        return ("coordinate_smoothness",)

    def largest_step(self, setting: Setting) -> tuple[float, bool]:  # noqa: ARG002
        """Any step is admitted."""
        return float("inf"), False

    def noise_factor(self, setting: Setting) -> float:  # noqa: ARG002
        """What multiplies Σσ_j."""
        return 2.0

    def bound(self, setting: Setting) -> Array:
        """The right-hand side, shape (steps,)."""
        alpha = setting.alpha * setting.algorithm.state_free.lr_scale
        curvature = float(sum(np.sum(diagonal) for diagonal in setting.coordinate_smoothness.values()))
        floor = alpha / 2 * curvature + self.noise_factor(setting) * total_deviation(setting)
        return setting.gap / (setting.horizons * alpha) + floor


def total_deviation(setting: Setting) -> float:
    """Σσ_j."""
    return float(sum(np.sum(np.sqrt(variance)) for variance in setting.variance.values()))
