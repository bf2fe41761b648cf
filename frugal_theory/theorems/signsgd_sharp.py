"""signSGD with half the noise floor, and under a fifth of it if the noise is symmetric and unimodal."""

from __future__ import annotations

import math

from frugal_theory.theorems.setting import Setting
from frugal_theory.theorems.signsgd import SignSgd

__all__ = ["SignSgdSharp", "needs_shape", "sign_loss"]


class SignSgdSharp(SignSgd):
    """avg E‖gᵏ‖₁ ≤ Δ/(Kα) + (α/2) Σ L_j + c Σσ_j for every α > 0: c = 1, or √3/4 for symmetric unimodal noise.

    Proved in ``docs/theory/signs.md``, section "signSGD": E[g_j sign g̃_j] ≥ |g_j| − cσ_j, by Cantelli's inequality in place of
    Markov's, or by Gauss's. c = 1 is the best constant for a single coordinate (a two-point law attains it).

    >>> from frugal_theory.testing import measured_and_bound
    >>> measured_and_bound("signsgd_sharp", density=0.0, state_free="signsgd", learning_rate=0.01)
    (0.755, 1.05)
    """

    name = "signsgd_sharp"
    title = "signSGD, sharp noise floor"
    short_name = "signSGD, sharp noise floor"
    label = "sharp signSGD"
    source = "proved here (docs/theory/signs.md), after Bernstein et al. 2018"
    statement = "avg E‖gᵏ‖₁ ≤ Δ/(Kα) + (α/2)ΣL_j + cΣσ_j   for α > 0; c = 1, or √3/4 for symmetric unimodal noise"
    formula = (
        r"\operatorname{avg}\mathbb{E}\|g^k\|_1\le\frac{\Delta}{K\alpha}+\frac{\alpha}{2}\sum L_j+c\sum\sigma_j"
        "\n"
        r"\text{for }\alpha>0;\quad c=1,\text{ or }\frac{\sqrt{3}}{4}\text{ for symmetric unimodal noise}"
    )

    premises = f"{SignSgd.premises}; noise that is symmetric and unimodal where it says so"

    def needs(self, setting: Setting) -> tuple[str, ...]:
        """P1 for every coordinate, and the shape of the noise where the constant makes use of it."""
        return (*super().needs(setting), *needs_shape(setting))

    def noise_factor(self, setting: Setting) -> float:
        """c."""
        return sign_loss(setting)


def needs_shape(setting: Setting) -> tuple[str, ...]:
    """The premise of a bound that is smaller for symmetric unimodal noise, where the noise says that it is that."""
    return ("symmetric_unimodal",) if setting.symmetric_unimodal and setting.total_variance > 0 else ()


def sign_loss(setting: Setting) -> float:
    """c with E[g sign(g + ξ)] ≥ |g| − cσ for every g: √3/4 if the noise is known to be symmetric and unimodal, else 1."""
    return math.sqrt(3) / 4 if setting.symmetric_unimodal else 1.0
