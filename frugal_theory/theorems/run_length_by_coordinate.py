"""The run-length theorem with a smoothness constant for every coordinate."""

from __future__ import annotations

import numpy as np

from frugal_theory.theorems.averages import known_law, running
from frugal_theory.theorems.run_length import RunLength, largest_weight
from frugal_theory.theorems.setting import Array, Setting

__all__ = ["RunLengthByCoordinate"]


class RunLengthByCoordinate(RunLength):
    """−D ⪯ ∇²f ⪯ D = diag(L_j) in place of P1; L_max = max L_j. For αL_max(1+β)/(2(1−β)) < 1::

        avg E‖gᵏ‖²_W ≤ [ Δ/(Kα) + (α/2)( avg E Σ_j L_jW²σ_j² + β avg E Σ_{j∈J} L_jW²σ_j² ) ] / (1 − αL_max(1+β)/(2(1−β)))

    Proved in ``docs/theory/run-length.md``, section "Sharper constants". Noise in flat coordinates costs little: Σ L_jσ_j²
    stands where the run-length theorem has Lσ². Sets of coordinates only.

    >>> from frugal_theory.testing import measured_and_bound
    >>> measured_and_bound("run_length_by_coordinate", (1.0, 0.5), density=0.5, update_gap=1, subspace="coordinates")
    (0.435, 0.834)
    """

    name = "run_length_by_coordinate"
    title = "Run-length theorem, smoothness by coordinate"
    short_name = "run-length, L by coordinate"
    label = "by coordinate"
    statement = (
        "avg E‖gᵏ‖²_W ≤ [Δ/(Kα) + (α/2)(avg ΣL_jW²σ² + β avg Σ_J L_jW²σ²)] / (1 − αL_max(1+β)/(2(1−β)))"
        "   for αL_max(1+β)/(2(1−β)) < 1"
    )
    formula = (
        r"\operatorname{avg}\mathbb{E}\|g^k\|^2_W\le\frac{\frac{\Delta}{K\alpha}"
        r"+\frac{\alpha}{2}\Bigl(\operatorname{avg}\sum L_jW^2\sigma^2+\beta\operatorname{avg}"
        r"\sum_JL_jW^2\sigma^2\Bigr)}{1-\frac{\alpha L_{\max}(1+\beta)}{2(1-\beta)}}"
        "\n"
        r"\text{for }\frac{\alpha L_{\max}(1+\beta)}{2(1-\beta)}<1"
    )
    premises = "P1 for every coordinate, −D ⪯ ∇²f ⪯ D; P2–P6"

    def covers(self, setting: Setting) -> str | None:
        """As the run-length theorem, on sets of coordinates."""
        runs, subspace = setting.runs, setting.algorithm.subspace
        if runs is not None and (runs.law == "turning" or (subspace == "eigen" and not (runs.full or runs.empty))):
            return f'subspace "{subspace}" is not a set of coordinates'
        return super().covers(setting)

    def needs(self, setting: Setting) -> tuple[str, ...]:  # noqa: ARG002
        """P1 for every coordinate."""
        return ("coordinate_smoothness",)

    def largest_step(self, setting: Setting) -> tuple[float, bool]:
        """2(1−β)/(L_max(1+β)), itself not admitted; 2/(L_max s) if the set is always empty."""
        largest = max(float(np.max(diagonal)) for diagonal in setting.coordinate_smoothness.values())
        return 2 * (1 - setting.beta) / (largest * largest_weight(setting) * (1 + setting.beta)), False

    def bound(self, setting: Setting) -> Array:
        """The right-hand side, shape (steps,)."""
        alpha, beta = setting.alpha, setting.beta
        curvature = setting.coordinate_smoothness
        curved = {name: curvature[name] * variance for name, variance in setting.variance.items()}
        everything, on_set = (running(noise) for noise in known_law(setting).noise(curved, setting.steps))
        total = setting.gap / (setting.horizons * alpha) + alpha / 2 * (everything + beta * on_set)
        return total / (1 - alpha / self.largest_step(setting)[0])
