"""SGD on a smooth function with bounded variance."""

from __future__ import annotations

from frugal_theory.theorems.setting import Array, Setting
from frugal_theory.theorems.theorem import Shown

__all__ = ["Sgd", "named_set"]


class Sgd(Shown):
    """avg E‖gᵏ‖² ≤ [Δ/(Kα) + Lασ²/2] / (1 − Lα/2) for α < 2/L.

    Standard descent lemma, summed (Ghadimi & Lan 2013, Theorem 2.1, for a constant step). Upper bound; the noise part
    is attained in stationarity by a quadratic with a single eigenvalue λ = L.

    >>> from frugal_theory.testing import measured_and_bound
    >>> measured_and_bound("sgd", density=0.0, learning_rate=0.5)
    (0.0299, 0.03)
    """

    name = "sgd"
    title = "SGD"
    short_name = "SGD"
    source = "Ghadimi & Lan 2013, Theorem 2.1 (standard descent argument)"
    statement = "avg E‖gᵏ‖² ≤ [Δ/(Kα) + Lασ²/2] / (1 − Lα/2)   for α < 2/L"
    formula = (
        r"\operatorname{avg}\mathbb{E}\|g^k\|^2\le\frac{\frac{\Delta}{K\alpha}"
        r"+\frac{L\alpha\sigma^2}{2}}{1-\frac{L\alpha}{2}}"
        "\n"
        r"\text{for }\alpha<\frac{2}{L}"
    )
    explicit = True
    premises = "P1–P5 (nothing is selected)"
    metric = "squared_gradient_norm"

    def covers(self, setting: Setting) -> str | None:
        """SGD: an empty momentum set and the state-free rule sgd, or momentum with β = 0."""
        if setting.is_sgd:
            return None if setting.sgd_scale > 0 else "nothing is ever updated: the state-free lr_scale is 0"
        return f"the algorithm is not SGD (state-full {setting.algorithm.state_full.rule} on {named_set(setting)})"

    def largest_step(self, setting: Setting) -> tuple[float, bool]:
        """2/L, itself not admitted. A state-free ``lr_scale`` s makes the step αs."""
        return 2 / (setting.smoothness * setting.sgd_scale), False

    def bound(self, setting: Setting) -> Array:
        """The right-hand side, shape (steps,)."""
        alpha, smoothness = setting.alpha * setting.sgd_scale, setting.smoothness
        noise = smoothness * alpha * setting.total_variance / 2
        return (setting.gap / (setting.horizons * alpha) + noise) / (1 - smoothness * alpha / 2)


def named_set(setting: Setting) -> str:
    """The momentum set in words."""
    if setting.algorithm.set is not None:
        return f"{len(setting.algorithm.set)} coordinates"
    return f"density {setting.algorithm.density:g}"
