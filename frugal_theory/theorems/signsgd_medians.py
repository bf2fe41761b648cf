"""signSGD under symmetric unimodal noise of any tails: its median size is enough, it need not have a variance or a mean."""

from __future__ import annotations

import numpy as np

from frugal_theory.metrics import MedianNorm, Metric
from frugal_theory.theorems.setting import Array, Setting
from frugal_theory.theorems.signsgd import SignSgd
from frugal_theory.theorems.signsgd_symmetric import SignSgdSymmetric

__all__ = ["SignSgdMedians"]


class SignSgdMedians(SignSgd):
    """avg E ½ Σ_j |g_j| min(|g_j|/m_j, 1) ≤ Δ/(Kα) + (α/2) Σ L_j for every α > 0, m_j the median of |g̃_j − g_j|.

    For noise that is symmetric around 0 with one mode, coordinate by coordinate, whatever its tails: P3 and P4 are not needed.
    Proved in ``docs/theory/adaptive.md``, section "Signs under heavy tails": the distribution function of |ξ_j| is concave, so
    P(|ξ_j| < t) ≥ ½ min(t/m_j, 1), and E[g_j sign g̃_j] ≥ |g_j| P(|ξ_j| < |g_j|).

    >>> from frugal_theory.testing import measured_and_bound
    >>> measured_and_bound("signsgd_medians", density=0.0, state_free="signsgd", learning_rate=0.01)
    (0.377, 1.0)
    """

    name = "signsgd_medians"
    title = "signSGD under symmetric unimodal noise of any tails"
    short_name = "signSGD, heavy tails"
    label = "signSGD medians"
    source = "proved here (docs/theory/adaptive.md)"
    statement = "avg E ½Σ|g_j|min(|g_j|/m_j, 1) ≤ Δ/(Kα) + (α/2)ΣL_j   for α > 0, symmetric unimodal noise, m_j its median size"
    formula = (
        r"\operatorname{avg}\mathbb{E}\frac{1}{2}\sum\lvert g_j\rvert \min\Bigl(\frac{\lvert g_j\rvert }{m_j}"
        r",1\Bigr)\le\frac{\Delta}{K\alpha}+\frac{\alpha}{2}\sum L_j"
        "\n"
        r"\text{for }\alpha>0,\text{ symmetric unimodal noise, }m_j\text{ its median size}"
    )
    premises = "P1 for every coordinate, with L_j; P2, P5; symmetric unimodal noise (premise “symmetric”); no mean, no variance"
    metric = "median_norm"
    spares = ("P3", "P4")

    def needs(self, setting: Setting) -> tuple[str, ...]:
        """P1 for every coordinate, and symmetric unimodal noise whose median size is at most what is declared."""
        return (*super().needs(setting), "symmetric")

    def covers(self, setting: Setting) -> str | None:
        """signSGD with noise that says that it is symmetric and unimodal, and how large its median is."""
        if not setting.symmetric_unimodal:
            return "the noise is not known to be symmetric and unimodal"
        if setting.constants.median_deviation is None:
            return "the median size of the noise is not known"
        return super().covers(setting)

    def measure(self, setting: Setting) -> Metric:
        """½ Σ |g_j| min(|g_j|/m_j, 1)."""
        medians = setting.constants.median_deviation
        assert medians is not None
        return MedianNorm({name: np.asarray(value) for name, value in medians.value.items()})

    def bound(self, setting: Setting) -> Array:
        """The right-hand side, shape (steps,)."""
        return SignSgdSymmetric().bound(setting)
