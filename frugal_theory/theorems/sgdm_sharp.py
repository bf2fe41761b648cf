"""SGD with momentum on every coordinate, by a Lyapunov function of the iterate, its gradient and the momentum."""

from __future__ import annotations

import numpy as np

from frugal_theory.theorems.lyapunov import Lyapunov, largest_step
from frugal_theory.theorems.setting import Array, Setting
from frugal_theory.theorems.sgd import Sgd
from frugal_theory.theorems.sgdm import Sgdm
from frugal_theory.theorems.theorem import Shown

__all__ = ["SgdmSharp"]


class SgdmSharp(Shown):
    """Proved in ``docs/theory/momentum.md``. For Lα ≤ 1 + β, and for Lα < 2 where β = 0::

        avg E‖gᵏ‖² ≤ [ (1 + 2βLα/(1−β²)) Δ/(Kα) + (1 − 1/K) Lασ²/2 ] / (1 − Lα(1−β)/(2(1+β)))

    and as well, which is less while K is small, avg E‖gᵏ‖² ≤ 2LΔ + (1−β)(β + (1−β)Lα)(K−1)Lασ²/2. The smaller of both is
    reported. Upper bound, never above run_length_sharp's. The noise term is attained in stationarity on λ = L, whatever β;
    for small steps the transient is that of the worst case over all L-smooth functions.

    >>> from frugal_theory.testing import measured_and_bound
    >>> measured_and_bound("sgdm_sharp", (1.0, 0.5), density=1.0)
    (0.669, 0.794)
    """

    name = "sgdm_sharp"
    title = "SGDM, by a Lyapunov function"
    short_name = "SGDM, sharp constants"
    label = "sharp SGDM"
    source = "proved here (docs/theory/momentum.md)"
    statement = (
        "avg E‖gᵏ‖² ≤ [(1 + 2βLα/(1−β²)) Δ/(Kα) + (1 − 1/K) Lασ²/2] / (1 − Lα(1−β)/(2(1+β)))   for Lα ≤ 1+β,"
        " or 2LΔ + (1−β)(β + (1−β)Lα)(K−1)Lασ²/2 if that is less"
    )
    formula = (
        r"\operatorname{avg}\mathbb{E}\|g^k\|^2\le\frac{\Bigl(1"
        r"+\frac{2\beta L\alpha}{1-\beta^2}\Bigr)\frac{\Delta}{K\alpha}"
        r"+\Bigl(1-\frac{1}{K}\Bigr)\frac{L\alpha\sigma^2}{2}}{1-\frac{L\alpha(1-\beta)}{2(1+\beta)}}"
        "\n"
        r"\text{for }L\alpha\le1+\beta,"
        "\n"
        r"\text{or }2L\Delta+(1-\beta)(\beta+(1-\beta)L\alpha)(K-1)\frac{L\alpha\sigma^2}{2}\text{ if that is less}"
    )
    explicit = True
    premises = "P1–P5 (everything is selected, or nothing)"
    metric = "squared_gradient_norm"

    def covers(self, setting: Setting) -> str | None:
        """SGDM with every coordinate in the momentum set; SGD, which is β = 0 of it."""
        return Sgd().covers(setting) if setting.is_sgd else Sgdm().covers(setting)

    def largest_step(self, setting: Setting) -> tuple[float, bool]:
        """(1+β)/L, itself admitted; 2/L, itself not admitted, where β = 0. For SGD, α is the step with its ``lr_scale``."""
        return largest_step(setting)

    def bound(self, setting: Setting) -> Array:
        """The right-hand side, shape (steps,)."""
        function, beta, horizons, variance = Lyapunov.of(setting), setting.beta, setting.horizons, setting.total_variance
        reach, curvature = function.reach, setting.smoothness
        transient = curvature * function.factor * setting.gap / (horizons * reach)
        settled = (transient + (1 - 1 / horizons) * reach * variance / 2) / function.room
        kick = (1 - beta) * (beta + (1 - beta) * reach) * reach * variance / 2
        found: Array = np.minimum(settled, 2 * curvature * setting.gap + kick * (horizons - 1))
        return found
