"""SGD with momentum on every coordinate."""

from __future__ import annotations

from frugal_theory.theorems.setting import Array, Setting
from frugal_theory.theorems.sgd import named_set
from frugal_theory.theorems.theorem import Shown, published_step

__all__ = ["Sgdm"]


class Sgdm(Shown):
    """avg E‖gᵏ‖² ≤ 2Δ/(Kα) + ((β+3β²)/(2(1+β)) + 1) Lασ² for α ≤ (1−β)/(L(4−β+β²)).

    Liu, Gao & Yin 2020, "An improved analysis of SGD with momentum", Theorem 1, as remembered. Upper bound.

    >>> from frugal_theory.testing import measured_and_bound
    >>> measured_and_bound("sgdm", density=1.0)
    (0.497, 0.869)
    """

    name = "sgdm"
    title = "SGDM"
    short_name = "SGDM (Liu, Gao, Yin)"
    label = "SGDM"
    source = "Liu, Gao & Yin 2020, Theorem 1 (as remembered)"
    statement = "avg E‖gᵏ‖² ≤ 2Δ/(Kα) + ((β+3β²)/(2(1+β)) + 1) Lασ²   for α ≤ (1−β)/(L(4−β+β²))"
    formula = (
        r"\operatorname{avg}\mathbb{E}\|g^k\|^2\le\frac{2\Delta}{K\alpha}+\Bigl(\frac{\beta+3\beta^2}{2(1+\beta)}"
        r"+1\Bigr)L\alpha\sigma^2"
        "\n"
        r"\text{for }\alpha\le\frac{1-\beta}{L(4-\beta+\beta^2)}"
    )
    explicit = True
    premises = "P1–P5 (everything is selected)"
    metric = "squared_gradient_norm"

    def covers(self, setting: Setting) -> str | None:
        """SGDM with every coordinate in the momentum set."""
        if setting.is_sgdm:
            return None
        rule = setting.algorithm.state_full.rule
        if rule != "sgdm":
            return f'the state-full rule is "{rule}", not "sgdm"'
        if setting.algorithm.weight_decay:
            return f"weight_decay = {setting.algorithm.weight_decay:g} changes the objective"
        return f"momentum is not on every coordinate ({named_set(setting)})"

    def largest_step(self, setting: Setting) -> tuple[float, bool]:
        """(1−β)/(L(4−β+β²)), itself admitted."""
        return published_step(setting.smoothness, setting.beta), True

    def bound(self, setting: Setting) -> Array:
        """The right-hand side, shape (steps,)."""
        alpha, beta = setting.alpha, setting.beta
        noise_constant = (beta + 3 * beta**2) / (2 * (1 + beta)) + 1
        noise = noise_constant * setting.smoothness * alpha * setting.total_variance
        return 2 * setting.gap / (setting.horizons * alpha) + noise
