"""What happens to momentum: the shifted iterate, its geometric weights, its second moment, its run lengths."""

from __future__ import annotations

from typing import Any

import sympy as sp

from frugal_theory.proofs.proof import BETA, Proof, equal, sums_to

__all__ = [
    "prove_geometric_sums",
    "prove_momentum_second_moment",
    "prove_run_length_moments",
    "prove_short_run_limit",
    "prove_z_recursion",
]

ALPHA, LENGTH, SCALE, P = sp.symbols("alpha r s p", positive=True)
N = sp.Symbol("n", integer=True, nonnegative=True)

SHIFT = BETA / (1 - BETA)
WEIGHT = 1 - BETA**LENGTH


def prove_z_recursion(shift: Any = SHIFT, weight: Any = WEIGHT) -> Proof:
    """z = x − α · shift · W · m (previous m) on the set, z = x off it; then z⁺ = z − αWg in all four cases.

    ``shift``: β/(1−β). ``weight``: W = 1 − β^r as a function of r, the steps left in the run, this one included.
    """
    x, m, g = sp.symbols("x m g")
    after = BETA * m + (1 - BETA) * g

    def shifted(point: Any, momentum: Any, steps_left: Any) -> Any:
        return point - ALPHA * shift * sp.sympify(weight).subs(LENGTH, steps_left) * momentum

    inside, outside = x - ALPHA * after, x - ALPHA * SCALE * g
    fresh = {m: 0}  # a coordinate that was off the set has no momentum
    stays_in = shifted(inside, after, LENGTH - 1) - shifted(x, m, LENGTH) + ALPHA * WEIGHT * g
    leaves = inside - shifted(x, m, 1) + ALPHA * WEIGHT.subs(LENGTH, 1) * g
    enters = shifted(outside, 0, LENGTH) - x + ALPHA * SCALE * g
    first_step = shifted(inside, after, LENGTH - 1) - shifted(x, m, LENGTH) + ALPHA * WEIGHT * g
    return Proof.of(
        "z_recursion",
        "zᵏ⁺¹ = zᵏ − αWᵏ∘g̃ᵏ: a coordinate stays in, enters, leaves, stays out",
        stays_in=equal(stays_in, 0),
        leaves=equal(leaves, 0),
        enters=equal(enters, 0) and equal(first_step.subs(fresh), 0),
        stays_out=equal(outside - x + ALPHA * SCALE * g, 0),
    )


def prove_geometric_sums(
    mean: Any = 1 - BETA**N,
    variance: Any = (1 - BETA) / (1 + BETA) * (1 - BETA ** (2 * N)),
    step_by_step: Any = (1 - BETA) * (1 - BETA**N),
) -> Proof:
    """Weights of the last n gradients in m: their sum, the sum of their squares, and the one-step variance bound."""
    return Proof.of(
        "geometric_sums",
        "Σ_{s<n}(1−β)βˢ = 1 − βⁿ;  Σ_{s<n}(1−β)²β²ˢ = (1−β)/(1+β)·(1 − β²ⁿ);  Σ_{s<n}(1−β)²βˢ = (1−β)(1 − βⁿ)",
        mean=sums_to((1 - BETA) * BETA**N, sp.sympify(mean), N),
        variance=sums_to((1 - BETA) ** 2 * BETA ** (2 * N), sp.sympify(variance), N),
        step_by_step=sums_to((1 - BETA) ** 2 * BETA**N, sp.sympify(step_by_step), N),
    )


def prove_momentum_second_moment(split: Any = None, gain: Any = None) -> Proof:
    """(βm + (1−β)g)² ≤ θm² + Γ(1−θ)g² for β² < θ ≤ β, with Γ = (1−β)²θ/((θ−β²)(1−θ)) ≥ 1, and = 1 at θ = β.

    ``split``: the square that is left over, as a function of m, g, β, θ. ``gain``: Γ.
    """
    m, g = sp.symbols("m g", real=True)
    theta = sp.Symbol("theta", positive=True)
    gain = (1 - BETA) ** 2 * theta / ((theta - BETA**2) * (1 - theta)) if gain is None else gain
    left_over = (theta - BETA**2) * (m - BETA * (1 - BETA) / (theta - BETA**2) * g) ** 2 if split is None else split
    slack = theta * m**2 + gain * (1 - theta) * g**2 - (BETA * m + (1 - BETA) * g) ** 2
    excess = sp.factor((1 - BETA) ** 2 * theta - (theta - BETA**2) * (1 - theta))  # Γ − 1 over its denominator
    return Proof.of(
        "momentum_second_moment",
        "(βm + (1−β)g)² ≤ θm² + Γ(1−θ)g², Γ = (1−β)²θ/((θ−β²)(1−θ)) ≥ 1 with equality at θ = β",
        completed_square=equal(slack, left_over),
        least_gain=equal(excess, (theta - BETA) ** 2) and equal(sp.sympify(gain).subs(theta, BETA), 1),
    )


def prove_run_length_moments(
    omega: Any = 1 - P * BETA * (1 - P) / (1 - P * BETA),
    square: Any = 1 - 2 * (1 - P) * BETA / (1 - P * BETA) + (1 - P) * BETA**2 / (1 - P * BETA**2),
) -> Proof:
    """ω_p = E W and E[W² | in the set] for independent sampling at every step: r is geometric.

    E[β^{nr}] solves X = (1−p)βⁿ + pβⁿX: the run ends after this step, or goes on. Also ω_p ≥ 1 − p.
    """
    unknown = sp.Symbol("X")

    def power(n: int) -> Any:
        (solution,) = sp.solve(sp.Eq(unknown, (1 - P) * BETA**n + P * BETA**n * unknown), unknown)
        return solution

    slack = sp.factor(sp.together(sp.sympify(omega) - (1 - P)))  # = p(1−β)/(1−pβ)
    return Proof.of(
        "run_length_moments",
        "ω_p = E W = 1 − pβ(1−p)/(1−pβ) ≥ 1−p;  E[W²|j∈J] = 1 − 2(1−p)β/(1−pβ) + (1−p)β²/(1−pβ²)",
        mean=equal(P * (1 - power(1)) + 1 - P, omega),
        square=equal(1 - 2 * power(1) + power(2), square),
        no_blow_up=equal(slack, P * (1 - BETA) / (1 - P * BETA)),
    )


def prove_short_run_limit(limit: Any = P * (1 + P) / (1 - P) ** 2) -> Proof:
    """T = 1: the memory is C = pE[W²|in], and C(β/(1−β))² rises to p(1+p)/(1−p)² as β → 1: it never exceeds that."""
    squares = 1 - 2 * (1 - P) * BETA / (1 - P * BETA) + (1 - P) * BETA**2 / (1 - P * BETA**2)
    weight = 1 - (1 - P) * BETA / (1 - P * BETA)
    memory = (1 - BETA) * squares * P / (1 - P * BETA) / weight  # Σ_n pⁿβⁿ⁻¹(1−β) E W², over E W
    reach = sp.factor(memory * (BETA / (1 - BETA)) ** 2)
    slack = sp.factor(sp.together(sp.sympify(limit) - reach))
    u, v = sp.symbols("u v", positive=True)  # β = u/(1+u), p = v/(1+v): every β, p in (0, 1)
    cleared = sp.fraction(sp.factor(sp.together(slack.subs({BETA: u / (1 + u), P: v / (1 + v)}))))
    coefficients = [c for part in cleared for c in sp.Poly(part, u, v).coeffs()]
    return Proof.of(
        "short_run_limit",
        "T = 1: C = pE[W²|j∈J] and √C β/(1−β) ≤ √(p(1+p))/(1−p), the limit as β → 1",
        memory=equal(memory, P * squares),
        limit=equal(sp.limit(reach, BETA, 1), limit),
        never_above=all(c >= 0 for c in coefficients) or all(c <= 0 for c in coefficients),
    )
