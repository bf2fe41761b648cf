"""signSGD with half the noise floor, and under a fifth of it if the noise is symmetric and unimodal."""

from __future__ import annotations

import math

from frugal_theory.problems.problem import Noise
from frugal_theory.theorems.signsgd import SignSgd
from frugal_theory.theorems.theorem import Setting

__all__ = ["SignSgdSharp", "sign_loss"]


class SignSgdSharp(SignSgd):
    """avg E‖gᵏ‖₁ ≤ Δ/(Kα) + (α/2) Σ L_j + c Σσ_j for every α > 0: c = 1, or √3/4 for symmetric unimodal noise.

    Proved in ``docs/theory.md``, section "signSGD": E[g_j sign g̃_j] ≥ |g_j| − cσ_j, by Cantelli's inequality in place of
    Markov's, or by Gauss's. c = 1 is the best constant for a single coordinate (a two-point law attains it).
    """

    name = "signsgd_sharp"
    title = "signSGD, sharp noise floor"
    short_name = "signSGD, sharp noise floor"
    label = "sharp signSGD"
    source = "proved here (docs/theory.md), after Bernstein et al. 2018"
    statement = "avg E‖gᵏ‖₁ ≤ Δ/(Kα) + (α/2)ΣL_j + cΣσ_j   for α > 0; c = 1, or √3/4 for symmetric unimodal noise"

    def noise_factor(self, setting: Setting) -> float:
        """c."""
        return sign_loss(setting.noise)


def sign_loss(noise: Noise) -> float:
    """c with E[g sign(g + ξ)] ≥ |g| − cσ for every g: √3/4 if the noise says that it is symmetric and unimodal, else 1."""
    return math.sqrt(3) / 4 if getattr(noise, "symmetric_unimodal", False) else 1.0
