"""Quadratics: where one coordinate settles, and how fast the noise-free method contracts."""

from __future__ import annotations

from typing import Any

import sympy as sp

from frugal_theory.proofs.proof import BETA, Proof, equal

__all__ = ["prove_interpolated_rate", "prove_stationary_form"]

ALPHA, LAMBDA, SIGMA = sp.symbols("alpha lambda sigma", positive=True)


def prove_stationary_form(momentum: Any = None, plain: Any = None) -> Proof:
    """E(λx)² in stationarity for f = ½λx²: SGDM (p = 1) and SGD (p = 0), from the fixed point of the second moments."""
    xx, xm, mm = sp.symbols("xx xm mm")
    a, lam = ALPHA, LAMBDA
    variance = SIGMA**2
    momentum = a * lam * variance * (1 + BETA) / (2 * (1 + BETA) - a * lam * (1 - BETA)) if momentum is None else momentum
    plain = a * lam * variance / (2 - a * lam) if plain is None else plain
    step = sp.Matrix([[1 - a * (1 - BETA) * lam, -a * BETA], [(1 - BETA) * lam, BETA]])
    noise = sp.Matrix([-a * (1 - BETA), 1 - BETA])
    state = sp.Matrix([[xx, xm], [xm, mm]])
    fixed = step * state * step.T + variance * noise * noise.T - state
    (solution,) = sp.linsolve([fixed[0, 0], fixed[0, 1], fixed[1, 1]], (xx, xm, mm))
    (sgd,) = sp.solve((1 - a * lam) ** 2 * xx + a**2 * variance - xx, xx)
    return Proof.of(
        "stationary_form",
        "E(λx)² = αλσ²(1+β)/(2(1+β) − αλ(1−β)) for p = 1, αλσ²/(2 − αλ) for p = 0; equal at β = 0",
        momentum=equal(lam**2 * solution[0], momentum),
        plain=equal(lam**2 * sgd, plain),
        same_at_zero=equal(sp.sympify(momentum).subs(BETA, 0), plain),
    )


def prove_interpolated_rate(lower: Any = None, upper: Any = None, mixed: Any = None) -> Proof:
    """The closed form of ``best_rate``: Schur–Cohn conditions at radius r are easiest at β = r², where they are linear.

    ``lower``, ``upper``: between them α(1−β)λ must lie for both roots of z² − (1+β−α(1−β)λ)z + β to be in |z| ≤ r.
    ``mixed``: δ that solves κδ² = 2 − δ.
    """
    r, u, kappa, z = sp.symbols("r u kappa z", positive=True)
    lower = (1 - r) * (1 - BETA / r) if lower is None else lower
    upper = (1 + r) * (1 + BETA / r) if upper is None else upper
    mixed = (sp.sqrt(1 + 8 * kappa) - 1) / (2 * kappa) if mixed is None else mixed
    polynomial = z**2 - (1 + BETA - u) * z + BETA
    at_right, at_left = polynomial.subs(z, r), polynomial.subs(z, -r)
    easier = [sp.diff(bound / (1 - BETA), BETA) for bound in (lower, upper)]
    return Proof.of(
        "interpolated_rate",
        "1 − r = min(2/(λ_{k+1}/λ_d + 1), δ, 2/(√(λ_1/λ_k) + 1)), κδ² = 2 − δ, β = r²",
        lower=equal(at_right.subs(u, lower), 0),  # a real root passes z = r
        upper=equal(at_left.subs(u, upper), 0),  # a real root passes z = −r
        wider_with_beta=equal(easier[0] * (1 - BETA) ** 2, (1 - r) * (1 - 1 / r))
        and equal(easier[1] * (1 - BETA) ** 2, (1 + r) * (1 + 1 / r)),
        at_r_squared=equal(sp.sympify(lower).subs(BETA, r**2) / (1 - r**2), (1 - r) / (1 + r))
        and equal(sp.sympify(upper).subs(BETA, r**2) / (1 - r**2), (1 + r) / (1 - r)),
        mixed=equal(kappa * sp.sympify(mixed) ** 2, 2 - sp.sympify(mixed)),
    )
