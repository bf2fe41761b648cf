"""The hybrid theorem under symmetric unimodal noise: no noise floor off the set."""

from __future__ import annotations

import numpy as np

from frugal_theory.metrics import HybridNorm, Metric
from frugal_theory.theorems.hybrid_sharp import HybridSharp
from frugal_theory.theorems.setting import Setting

__all__ = ["HybridSymmetric"]


class HybridSymmetric(HybridSharp):
    """In the symbols of :class:`HybridSharp`, with h of ``signsgd_symmetric``, for symmetric unimodal noise::

        avg E[ φ Σ_{j∈J_k} W g_j² + κ Σ_{j∉J_k} |g_j| h(|g_j|/σ_j) ]
            ≤ Δ/(Kα) + (Lα/2)( (1+β) avg E Σ_{j∈J_k} W²σ_j² + κ²/(1−β) avg E d_k )

    Everything but the transient vanishes with α. Proved in ``docs/theory/signs.md``, section "The hybrid theorem".

    >>> from frugal_theory.testing import measured_and_bound
    >>> measured_and_bound("hybrid_symmetric", density=0.5, subspace="coordinates", state_free="signsgd", learning_rate=0.01)
    (0.703, 1.03)
    """

    name = "hybrid_symmetric"
    title = "Hybrid theorem under symmetric unimodal noise"
    short_name = "hybrid, symmetric noise"
    label = "symm. hybrid"
    statement = (
        "avg E[φΣ_J W g² + κΣ_{∉J}|g|h(|g|/σ)] ≤ Δ/(Kα) + (Lα/2)((1+β) avg Σ_J W²σ² + κ²/(1−β) avg d_k)"
        "   for φ = 1 − (Lα/2)(1+β)/(1−β) > 0, symmetric unimodal noise; h(t) = t/√3 near 0, h → 1"
    )
    formula = (
        r"\operatorname{avg}\mathbb{E}\Bigl[\varphi\sum_JWg^2+\kappa"
        r"\sum_{\notin J}\lvert g\rvert h\Bigl(\frac{\lvert g\rvert }{\sigma}\Bigr)\Bigr]\le\frac{\Delta}{K\alpha}"
        r"+\frac{L\alpha}{2}\Bigl((1+\beta)\operatorname{avg}\sum_JW^2\sigma^2"
        r"+\frac{\kappa^2}{1-\beta}\operatorname{avg}d_k\Bigr)"
        "\n"
        r"\text{for }\varphi=1-\frac{L\alpha}{2}\frac{1+\beta}{1-\beta}>0,\text{ symmetric unimodal noise; }h(t)"
        r"=\frac{t}{\sqrt{3}}\text{ near }0,\quad h\to1"
    )
    premises = "P1–P6; noise that is symmetric and unimodal"
    metric = "hybrid_norm_symmetric"

    def covers(self, setting: Setting) -> str | None:
        """As the hybrid theorem, with noise that says that it is symmetric and unimodal."""
        if not setting.symmetric_unimodal:
            return "the noise is not known to be symmetric and unimodal"
        return super().covers(setting)

    def factors(self, setting: Setting) -> tuple[float, float, float]:
        """As in the sharp form, without the floor."""
        on_noise, curvature, _ = super().factors(setting)
        return on_noise, curvature, 0.0

    def measure(self, setting: Setting) -> Metric:
        """φ Σ_J W g² + κ Σ_{∉J} |g| h(|g|/σ)."""
        phi = 1 - setting.smoothness * setting.alpha * self.divisor(setting.beta)
        deviation = {name: np.sqrt(variance) for name, variance in setting.variance.items()}
        return HybridNorm(phi, setting.algorithm.state_free.lr_scale, deviation)
