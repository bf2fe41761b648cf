"""What a sign costs: Cantelli's and Gauss's inequalities in Bernstein's argument, and the hybrid theorem's balance."""

from __future__ import annotations

from typing import Any

import sympy as sp

from frugal_theory.proofs.proof import BETA, Proof, equal

__all__ = ["prove_hybrid_balance", "prove_sign_loss"]


def prove_sign_loss(general: Any = 1, unimodal: Any = None) -> Proof:
    """2|g|·P(the sign is wrong) ≤ cσ. With t = |g|/σ: P ≤ 1/(1+t²) (Cantelli), c = 1; for symmetric unimodal noise
    P ≤ 1/2 − t/(2√3) for t ≤ 2/√3 and P ≤ 2/(9t²) beyond (Gauss), c = √3/4. Both are least possible in this argument.
    What Gauss's bound keeps of |g| is |g|h(t), h = t/√3 and 1 − 4/(9t²).

    ``general``, ``unimodal``: c.
    """
    unimodal = sp.sqrt(3) / 4 if unimodal is None else sp.sympify(unimodal)
    t = sp.Symbol("t", positive=True)
    cantelli = sp.sympify(general) - 2 * t / (1 + t**2)
    near = 2 * t * (sp.Rational(1, 2) - t / (2 * sp.sqrt(3)))
    far = 2 * t * sp.Rational(2, 9) / t**2
    return Proof.of(
        "sign_loss",
        "2t/(1+t²) ≤ 1, attained at t = 1;  t − t²/√3 ≤ √3/4, attained at t = √3/2;  4/(9t) ≤ √3/4 for t ≥ 2/√3",
        cantelli=equal(cantelli * (1 + t**2), (t - 1) ** 2),
        gauss_near=equal(unimodal - near, (t - sp.sqrt(3) / 2) ** 2 / sp.sqrt(3)),
        gauss_kept=equal((t - near) / t, t / sp.sqrt(3)) and equal((t - far) / t, 1 - 4 / (9 * t**2)),
        gauss_far=bool(unimodal - far.subs(t, 2 / sp.sqrt(3)) > 0) and equal(sp.diff(far, t) * t**2, -sp.Rational(4, 9)),
    )


def prove_hybrid_balance(
    loss: Any = None, noise: Any = None, count: Any = None, sharp_count: Any = 1 / (1 - BETA), kept: Any = None
) -> Proof:
    """The hybrid theorem's constants: ‖z−x‖² enters with αL²/η, η = 2Lαβ/(1−β); the sharp form with half of that.

    ``loss``: (1 − φ)/(Lα). ``noise``: what multiplies (Lα/2) avg Σ_J W²σ². ``count``: what multiplies (Lα/2)κ² avg d_k.
    ``sharp_count``: the same in the sharp form. ``kept``: E[g sign(g̃)] for g > 0 and a sign that is wrong with
    probability P.
    """
    a = sp.Symbol("a", positive=True)  # Lα
    lag, eta = a * BETA / (1 - BETA), 2 * a * BETA / (1 - BETA)
    loss = sp.Rational(1, 2) + 2 * BETA / (1 - BETA) if loss is None else loss
    noise = (1 + 3 * BETA) / (1 + BETA) if noise is None else noise
    count = (1 + BETA) / (1 - BETA) if count is None else count
    g, wrong = sp.symbols("g P", positive=True)
    kept = g - 2 * g * wrong if kept is None else kept
    variance = 2 * (1 - BETA) / (1 + BETA)
    return Proof.of(
        "hybrid_balance",
        "η = 2Lαβ/(1−β): 1 − φ = Lα(1/2 + 2β/(1−β)), factors (1+3β)/(1+β) and (1+β)/(1−β); sharp form 1/(1−β)",
        loss=equal(a / 2 + eta / 2 + 2 * lag**2 / eta, a * sp.sympify(loss)),
        noise=equal(a / 2 + lag**2 * variance / eta, a / 2 * sp.sympify(noise)),
        count=equal(a / 2 + eta / 2, a / 2 * sp.sympify(count)),
        sharp_count=equal(a / 2 + lag / 2, a / 2 * sp.sympify(sharp_count)),
        sign=equal(g * (1 - wrong) - g * wrong, kept),
    )
