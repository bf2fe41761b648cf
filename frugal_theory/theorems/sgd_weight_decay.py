"""SGD with decoupled weight decay: it is SGD on a regularised objective."""

from __future__ import annotations

from frugal_theory.metrics.regularised_norm import RegularisedNorm
from frugal_theory.theorems.lyapunov import largest_step
from frugal_theory.theorems.setting import Array, Setting
from frugal_theory.theorems.sgdm_sharp import SgdmSharp
from frugal_theory.theorems.theorem import Shown

__all__ = ["SgdWeightDecay", "decay", "regularised"]


class SgdWeightDecay(Shown):
    """x⁺ = x − α(g̃ + λx) is SGD on F = f + (λ/2)‖x‖², which is (L+λ)-smooth: sgdm_sharp for β = 0, α < 2/(L+λ)::

        avg E‖∇f(xᵏ) + λxᵏ‖² ≤ [ Δ_F/(Kα) + (1 − 1/K)(L+λ)ασ²/2 ] / (1 − (L+λ)α/2),    Δ_F = Δ + (λ/2)‖x¹‖² ≥ F(x¹) − inf F

    (or sgdm_sharp's form for few steps, if that is less). A state-free ``lr_scale`` s makes it SGD with the step αs on
    f + (λ/2s)‖x‖². With momentum the decay stays outside m, so the method is no SGDM on F: there it does not apply. Upper
    bound, as tight as that of SGD where f and ‖x‖² are least at the same point.

    >>> from frugal_theory.testing import measured_and_bound
    >>> measured_and_bound("sgd_weight_decay", (1.0, 0.5), density=0.0, learning_rate=0.5, weight_decay=0.1)
    (0.282, 0.3)
    """

    name = "sgd_weight_decay"
    title = "SGD with weight decay"
    short_name = "SGD with weight decay"
    label = "SGD with decay"
    source = "proved here (docs/theory/momentum.md)"
    statement = (
        "avg E‖∇f(xᵏ) + λxᵏ‖² ≤ [(Δ + (λ/2)‖x¹‖²)/(Kα) + (1 − 1/K)(L+λ)ασ²/2] / (1 − (L+λ)α/2)   for α < 2/(L+λ),"
        " λ = weight_decay, or sgdm_sharp's form for few steps"
    )
    formula = (
        r"\operatorname{avg}\mathbb{E}\|\nabla f(x^k)+\lambda x^k\|^2\le\frac{\frac{\Delta"
        r"+\frac{\lambda}{2}\|x^1\|^2}{K\alpha}+\Bigl(1-\frac{1}{K}\Bigr)\frac{(L"
        r"+\lambda)\alpha\sigma^2}{2}}{1-\frac{(L+\lambda)\alpha}{2}}"
        "\n"
        r"\text{for }\alpha<\frac{2}{L+\lambda},\quad\lambda=\mathtt{weight\_decay}"
        r",\text{ or }\mathtt{sgdm\_sharp}\text{'s form for few steps}"
    )
    explicit = True
    premises = "P1–P5 (nothing is selected)"
    metric = "regularised_squared_gradient_norm"

    def covers(self, setting: Setting) -> str | None:
        """SGD with weight decay, where ‖x¹‖ is known."""
        if setting.algorithm.weight_decay == 0:
            return "there is no weight decay"
        bare = _without_decay(setting)
        if not bare.is_sgd:
            if bare.is_sgdm:
                return "decay stays outside the momentum, so this is not SGDM on f + (λ/2)‖x‖²; SGD is needed"
            return "the algorithm is not SGD but for its weight decay"
        if setting.constants.squared_start is None:
            return "‖x¹‖, which f(x¹) + (λ/2)‖x¹‖² needs, is not known"
        if bare.sgd_scale == 0:
            return "the state-free lr_scale is 0: nothing but the decay moves x"
        return None

    def largest_step(self, setting: Setting) -> tuple[float, bool]:
        """2/(L+λ), itself not admitted; 2/(Ls+λ) with an ``lr_scale`` s."""
        return largest_step(regularised(setting))

    def measure(self, setting: Setting) -> RegularisedNorm:
        """‖∇F‖²."""
        return RegularisedNorm(decay(setting))

    def bound(self, setting: Setting) -> Array:
        """The right-hand side, shape (steps,)."""
        return SgdmSharp().bound(regularised(setting))


def _without_decay(setting: Setting) -> Setting:
    return setting.having(algorithm=setting.algorithm.model_copy(update={"weight_decay": 0.0}))


def decay(setting: Setting) -> float:
    """λ/s: x − α(sg̃ + λx) = x − αs(g̃ + (λ/s)x)."""
    return setting.algorithm.weight_decay / _without_decay(setting).sgd_scale


def regularised(setting: Setting) -> Setting:
    """F for f. Its infimum is at least that of f, so Δ + (λ/2)‖x¹‖² is at least F(x¹) − inf F."""
    start, added = setting.constants.squared_start, decay(setting)
    assert start is not None  # covers() has said so
    return _without_decay(setting).having(smoothness=setting.smoothness + added, gap=setting.gap + added / 2 * start.value)
