"""The hybrid theorem with better constants: no √2, half the noise floor."""

from __future__ import annotations

from frugal_theory.theorems.hybrid import Hybrid
from frugal_theory.theorems.setting import Setting
from frugal_theory.theorems.signsgd_sharp import needs_shape, sign_loss

__all__ = ["HybridSharp"]


class HybridSharp(Hybrid):
    """The sharp form in ``docs/theory/signs.md``, section "The hybrid theorem", proved there.

    In the symbols of :class:`Hybrid`, with φ = 1 − (Lα/2)(1+β)/(1−β) > 0 and c = 1, or √3/4 for symmetric unimodal
    noise::

        avg E[ φ Σ_{j∈J_k} W g_j² + κ Σ_{j∉J_k} |g_j| ]
            ≤ Δ/(Kα) + (Lα/2)( (1+β) avg E Σ_{j∈J_k} W²σ_j² + κ²/(1−β) avg E d_k ) + cκ avg E Σ_{j∉J_k} σ_j

    J = [d] makes it ``run_length_sharp``, J = ∅ ``signsgd_sharp`` with L for every coordinate.

    >>> from frugal_theory.testing import measured_and_bound
    >>> measured_and_bound("hybrid_sharp", density=0.5, subspace="coordinates", state_free="signsgd", learning_rate=0.01)
    (0.706, 1.05)
    """

    name = "hybrid_sharp"
    title = "Hybrid theorem, sharp constants"
    short_name = "hybrid, sharp constants"
    label = "sharp hybrid"
    statement = (
        "avg E[φΣ_J W g² + κΣ_{∉J}|g|] ≤ Δ/(Kα) + (Lα/2)((1+β) avg Σ_J W²σ² + κ²/(1−β) avg d_k) + cκ avg Σ_{∉J}σ"
        "   for φ = 1 − (Lα/2)(1+β)/(1−β) > 0; c = 1, or √3/4 for symmetric unimodal noise"
    )
    formula = (
        r"\operatorname{avg}\mathbb{E}\Bigl[\varphi\sum_JWg^2+\kappa\sum_{\notin J}\lvert g\rvert \Bigr]"
        r"\le\frac{\Delta}{K\alpha}+\frac{L\alpha}{2}\Bigl((1+\beta)\operatorname{avg}\sum_JW^2\sigma^2"
        r"+\frac{\kappa^2}{1-\beta}\operatorname{avg}d_k\Bigr)+c\kappa\operatorname{avg}\sum_{\notin J}\sigma"
        "\n"
        r"\text{for }\varphi=1-\frac{L\alpha}{2}\frac{1+\beta}{1-\beta}>0;\quad c=1"
        r",\text{ or }\frac{\sqrt{3}}{4}\text{ for symmetric unimodal noise}"
    )
    metric = "hybrid_norm_sharp"

    premises = "P1–P6; noise that is symmetric and unimodal where it says so"

    def needs(self, setting: Setting) -> tuple[str, ...]:
        """The shape of the noise, where the constant makes use of it."""
        return needs_shape(setting)

    def divisor(self, beta: float) -> float:
        """(1 − φ)/(Lα) = (1+β)/(2(1−β))."""
        return (1 + beta) / (2 * (1 - beta))

    def factors(self, setting: Setting) -> tuple[float, float, float]:
        """What multiplies (Lα/2) avg Σ_J W²σ², (Lα/2) κ² avg d_k and κ avg Σ_{∉J} σ."""
        return 1 + setting.beta, 1 / (1 - setting.beta), sign_loss(setting)
