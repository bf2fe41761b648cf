"""The constants of the run-length theorem, its sharp form, and what they say about the published bounds."""

from __future__ import annotations

from typing import Any

import sympy as sp

from frugal_theory.proofs.proof import BETA, ROOT_TWO_ABOVE, Proof, equal, positive

__all__ = [
    "prove_against_liu_et_al",
    "prove_optimal_eta",
    "prove_published_step_implies_ours",
    "prove_sharp_constants",
]

SMOOTH_STEP = sp.Symbol("a", positive=True)
"""Lα."""

PUBLISHED_STEP = (1 - BETA) / (4 - BETA + BETA**2)
"""Lα at the largest step of Liu, Gao & Yin 2020, Theorem 1."""

LIU_NOISE = (BETA + 3 * BETA**2) / (2 * (1 + BETA)) + 1
"""Their noise constant; their transient constant is 2."""


def prove_optimal_eta(eta: Any = None, loss: Any = None, noise: Any = None) -> Proof:
    """η minimises η/2 + Γ(Lαβ/(1−β))²/(2η), Γ = 2; the minimum and the noise factor are those of the theorem.

    ``eta``: √2 Lαβ/(1−β). ``loss``: √2 Lαβ/(1−β). ``noise``: what multiplies (Lα/2) avg Σ_J W²σ², √2 β/(1+β).
    """
    lag, root = SMOOTH_STEP * BETA / (1 - BETA), sp.sqrt(2)
    eta = root * lag if eta is None else eta
    loss = root * lag if loss is None else loss
    noise = root * BETA / (1 + BETA) if noise is None else noise
    h = sp.Symbol("eta", positive=True)
    total = h / 2 + 2 * lag**2 / (2 * h)
    curvature = sp.simplify(sp.diff(total, h, 2) * h**3)  # h³ total'' = 2 lag²: convex
    variance = 2 * (1 - BETA) / (1 + BETA)
    return Proof.of(
        "optimal_eta",
        "η = √2 Lαβ/(1−β) minimises η/2 + 2(Lαβ/(1−β))²/(2η) and makes the noise factor √2 β/(1+β)",
        stationary=equal(sp.diff(total, h).subs(h, eta), 0),
        convex=equal(curvature, 2 * lag**2),
        minimum=equal(total.subs(h, eta), loss),
        noise=equal(lag**2 * variance / (2 * sp.sympify(eta)), SMOOTH_STEP / 2 * sp.sympify(noise)),
    )


def prove_published_step_implies_ours(published: Any = PUBLISHED_STEP) -> Proof:
    """At the published step φ > 0 in all four theorems for all β in [0, 1), and φ ≥ 1/2 in the hybrid one."""
    run_length = sp.Rational(1, 2) + ROOT_TWO_ABOVE * BETA / (1 - BETA)
    hybrid = sp.Rational(1, 2) + 2 * BETA / (1 - BETA)
    sharp = (1 + BETA) / (2 * (1 - BETA))
    half = sp.Rational(1, 2) - published * hybrid  # φ − 1/2
    return Proof.of(
        "published_step_implies_ours",
        "α ≤ (1−β)/(L(4−β+β²)) gives φ > 0 in the run-length theorem, φ > 0 in its sharp form, φ ≥ 1/2 in the hybrid one",
        root_two=bool(ROOT_TWO_ABOVE**2 > 2),
        run_length=positive(1 - published * run_length),
        sharp=positive(1 - published * sharp),
        hybrid=positive(half),
    )


def prove_against_liu_et_al(transient: str = "0.774", noise: str = "0.698") -> Proof:
    """For J = [d] and every admissible step: 1/φ ≤ 0.774·2, and the noise constant is at most 0.698 of theirs.

    Both ratios rise with α, so the largest published step decides.
    """
    phi = 1 - PUBLISHED_STEP * (sp.Rational(1, 2) + ROOT_TWO_ABOVE * BETA / (1 - BETA))
    ours = (1 + ROOT_TWO_ABOVE * BETA / (1 + BETA)) / 2
    return Proof.of(
        "against_liu_et_al",
        "for J = [d] the transient constant is at most 0.774 and the noise constant at most 0.698 of Liu et al.'s",
        positive_phi=positive(phi),
        transient=positive(sp.together(2 * sp.Rational(transient) * phi - 1)),
        noise=positive(sp.together(sp.Rational(noise) * LIU_NOISE * phi - ours)),
    )


def prove_sharp_constants(
    loss: Any = None,
    noise: Any = BETA,
    transient: str = "0.667",
    noise_ratio: str = "0.670",
) -> Proof:
    """Γ = 1 and η = Lαβ/(1−β): 1 − φ = Lα(1+β)/(2(1−β)), noise factor β; and what that gains on Liu et al."""
    lag = SMOOTH_STEP * BETA / (1 - BETA)
    loss = SMOOTH_STEP * (1 + BETA) / (2 * (1 - BETA)) if loss is None else loss
    phi = 1 - PUBLISHED_STEP * (1 + BETA) / (2 * (1 - BETA))
    return Proof.of(
        "sharp_constants",
        "Γ = 1, η = Lαβ/(1−β): 1 − φ = Lα(1+β)/(2(1−β)), noise factor β; at most 0.667 and 0.670 of Liu et al.'s",
        loss=equal(SMOOTH_STEP / 2 + lag / 2 + lag**2 / (2 * lag), loss),
        noise=equal(lag**2 * (1 - BETA) / (2 * lag), SMOOTH_STEP / 2 * sp.sympify(noise)),
        transient=positive(sp.together(2 * sp.Rational(transient) * phi - 1)),
        noise_ratio=positive(sp.together(sp.Rational(noise_ratio) * LIU_NOISE * phi - (1 + BETA) / 2)),
    )
