"""signSGD under symmetric unimodal noise: no noise floor, in a norm that is quadratic near zero."""

from __future__ import annotations

import numpy as np

from frugal_theory.metrics import Metric, SignNorm
from frugal_theory.theorems.setting import Array, Setting
from frugal_theory.theorems.signsgd import SignSgd
from frugal_theory.theorems.signsgd_sharp import needs_shape

__all__ = ["SignSgdSymmetric"]


class SignSgdSymmetric(SignSgd):
    """avg E Σ_j |g_j| h(|g_j|/σ_j) ≤ Δ/(Kα) + (α/2) Σ L_j for every α > 0 and symmetric unimodal noise::

        h(t) = t/√3 for t ≤ 2/√3, 1 − 4/(9t²) beyond (1 for σ_j = 0)

    Proved in ``docs/theory/signs.md``, section "signSGD": E[g_j sign g̃_j] ≥ |g_j| h(|g_j|/σ_j) by Gauss's inequality. The right
    side vanishes with α and K: for such noise the floor of the ℓ1 bounds is theirs, not the algorithm's. After
    Bernstein et al. 2018, who treat this noise with a mixed norm of the same kind.

    >>> from frugal_theory.testing import measured_and_bound
    >>> measured_and_bound("signsgd_symmetric", density=0.0, state_free="signsgd", learning_rate=0.01)
    (0.749, 1.0)
    """

    name = "signsgd_symmetric"
    title = "signSGD under symmetric unimodal noise"
    short_name = "signSGD, symmetric noise"
    label = "symm. signSGD"
    source = "proved here (docs/theory/signs.md), after Bernstein et al. 2018"
    statement = "avg E Σ|g_j|h(|g_j|/σ_j) ≤ Δ/(Kα) + (α/2)ΣL_j   for α > 0, symmetric unimodal noise; h(t) = t/√3 near 0, h → 1"
    formula = (
        r"\operatorname{avg}\mathbb{E}\sum\lvert g_j\rvert h\Bigl(\frac{\lvert g_j\rvert }{\sigma_j}\Bigr)"
        r"\le\frac{\Delta}{K\alpha}+\frac{\alpha}{2}\sum L_j"
        "\n"
        r"\text{for }\alpha>0,\text{ symmetric unimodal noise; }h(t)=\frac{t}{\sqrt{3}}\text{ near }0,\quad h\to1"
    )
    premises = f"{SignSgd.premises}; noise that is symmetric and unimodal"
    metric = "sign_norm"

    def covers(self, setting: Setting) -> str | None:
        """signSGD with noise that says that it is symmetric and unimodal."""
        if not setting.symmetric_unimodal:
            return "the noise is not known to be symmetric and unimodal"
        return super().covers(setting)

    def needs(self, setting: Setting) -> tuple[str, ...]:
        """P1 for every coordinate, and the shape of the noise."""
        return (*super().needs(setting), *needs_shape(setting))

    def measure(self, setting: Setting) -> Metric:
        """Σ |g_j| h(|g_j|/σ_j)."""
        return SignNorm({name: np.sqrt(variance) for name, variance in setting.variance.items()})

    def bound(self, setting: Setting) -> Array:
        """The right-hand side, shape (steps,)."""
        alpha = setting.alpha * setting.algorithm.state_free.lr_scale
        curvature = float(sum(np.sum(diagonal) for diagonal in setting.coordinate_smoothness.values()))
        return setting.gap / (setting.horizons * alpha) + alpha / 2 * curvature
