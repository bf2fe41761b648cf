"""SGDM by a Lyapunov function (``docs/theory/momentum.md``). L = 1; coordinates are alike, so numbers stand for vectors."""

from __future__ import annotations

from typing import Any

import sympy as sp

from frugal_theory.proofs.constants import LIU_NOISE, PUBLISHED_STEP
from frugal_theory.proofs.proof import BETA, Proof, positive

__all__ = [
    "prove_sgdm_against_others",
    "prove_sgdm_decreasing_steps",
    "prove_sgdm_descent",
    "prove_sgdm_energy",
    "prove_sgdm_linear_rate",
    "prove_sgdm_lyapunov_function",
]

ALPHA = sp.Symbol("alpha", positive=True)
MOMENTUM, GRADIENT, NEXT, NOISE = sp.symbols("m g h xi")
"""mᵏ⁻¹, gᵏ, gᵏ⁺¹ and the noise of step k."""

FACTOR = 1 + 2 * BETA * ALPHA / (1 - BETA**2)
"""D, what the transient is multiplied by."""

ROOM = 1 - ALPHA * (1 - BETA) / (2 * (1 + BETA))
"""φ, what is divided by."""

P = sp.factor(ALPHA**2 * BETA**2 / (2 * (1 - BETA) ** 2 * FACTOR))
A = sp.factor(ALPHA * BETA / (1 - BETA) - 2 * P / BETA)
"""V_k = f(xᵏ) − f* + P‖mᵏ⁻¹‖² − A⟨mᵏ⁻¹, gᵏ⟩."""

DESCENT, KICK = ALPHA * ROOM / FACTOR, ALPHA**2 / (2 * FACTOR)
"""V_{k+1} ≤ V_k − DESCENT ‖gᵏ‖² + KICK ‖ξᵏ‖² + terms of mean 0."""

SLACK = (1 + BETA) ** 2 / (4 * (2 * ALPHA * BETA + 1 - BETA**2))
"""What multiplies the square ‖(gᵏ⁺¹ − gᵏ) − (xᵏ⁺¹ − xᵏ)‖² that is left over."""


def prove_sgdm_descent(descent: Any = DESCENT, kick: Any = KICK, slack: Any = SLACK) -> Proof:
    """V_k − V_{k+1} ≥ c‖g‖² − n‖ξ‖² + a square + terms ⟨ξ, m⟩, ⟨ξ, g⟩: every other entry is 0. ``descent``: c, ``kick``: n.

    Two interpolation inequalities, from x to x⁺ with the multiplier 1 + A/α and back with A/α, add up to the lower bound
    of f(x) − f(x⁺) that is used here.
    """
    after = BETA * MOMENTUM + (1 - BETA) * (GRADIENT + NOISE)
    moved = -ALPHA * after
    curvature = ((NEXT - GRADIENT) ** 2 - moved**2) / 4
    forth, back = 1 + A / ALPHA, A / ALPHA
    decrease = (forth - back) * (GRADIENT + NEXT) * -moved / 2 + (forth + back) * curvature
    energy = P * MOMENTUM**2 - A * MOMENTUM * GRADIENT - P * after**2 + A * after * NEXT
    square = slack * ((NEXT - GRADIENT) - moved) ** 2
    rest = decrease + energy - sp.sympify(descent) * GRADIENT**2 + sp.sympify(kick) * NOISE**2 - square
    entries = sp.Poly(sp.numer(sp.together(rest)), MOMENTUM, GRADIENT, NEXT, NOISE).terms()
    found = {powers: sp.expand(entry) for powers, entry in entries}
    of_mean_zero = {(1, 0, 0, 1), (0, 1, 0, 1)}  # ⟨ξ, m⟩ and ⟨ξ, g⟩
    silent = [powers for powers, entry in found.items() if entry != 0 and powers[3] == 0]
    noisy = [powers for powers, entry in found.items() if entry != 0 and powers[3] > 0 and powers not in of_mean_zero]
    return Proof.of(
        "sgdm_descent",
        "V_{k+1} ≤ V_k − c‖g‖² + n‖ξ‖² − a square: every entry of the quadratic form is 0 but ⟨ξ, m⟩ and ⟨ξ, g⟩",
        entries=not silent,
        entries_of_noise=not noisy,
        square=_positive_everywhere(slack),
        constants=same(1 / DESCENT, FACTOR / (ALPHA * ROOM)) and same(KICK / DESCENT, ALPHA / 2 / ROOM),
    )


def prove_sgdm_lyapunov_function(multiplier: Any = None, positivity: Any = None, last: Any = 1 - BETA**2) -> Proof:
    """Multipliers are ≥ 0 iff α ≤ 1+β; V ≥ 0; V_1 = Δ; and the last step needs none of its noise.

    ``multiplier``: A/α, that of x⁺ to x. ``positivity``: 2P − A², so that f − f* ≥ ‖g‖²/2 makes V ≥ 0. ``last``: c over
    the weight (2P − A²)/(4P) of ‖g‖² in V, at most 1, so V_K ≥ c‖g^K‖².
    """
    b, divisor = BETA, 2 * ALPHA * BETA + 1 - BETA**2
    multiplier = b * (1 + b - ALPHA) / divisor if multiplier is None else multiplier
    positivity = (
        ALPHA**3 * b**2 * (2 * (1 + b) - ALPHA * (1 - b)) / ((1 - b) * divisor**2) if positivity is None else positivity
    )
    function = P * MOMENTUM**2 - A * MOMENTUM * GRADIENT
    changes = sp.solve(sp.numer(sp.factor(A / ALPHA)), ALPHA)
    return Proof.of(
        "sgdm_lyapunov_function",
        "A/α = β(1+β−α)/(2αβ+1−β²);  2P − A² = α³β²(2(1+β) − α(1−β))/((1−β)(2αβ+1−β²)²) > 0;  V_1 = Δ;  V_K ≥ c‖g^K‖²",
        multiplier=same(A / ALPHA, multiplier) and changes == [1 + b],
        positivity=same(2 * P - A**2, positivity),
        above_zero=_positive_everywhere(positivity),
        start=function.subs(MOMENTUM, 0) == 0,
        last_step=same(4 * P * DESCENT, last * (2 * P - A**2)) and _positive_everywhere(1 - last),
    )


def prove_sgdm_energy(weight: Any = None, kick: Any = None) -> Proof:
    """f + q‖m‖² falls by (α − α²/2)‖m⁺‖² + q‖m⁺ − m‖² and rises by α⟨ξ, m⁺⟩; for α ≤ 2 the noise adds at most κσ².

    ``weight``: q = αβ/(2(1−β)). ``kick``: κ = (1−β)(β + (1−β)α)α/2.
    """
    q = ALPHA * BETA / (2 * (1 - BETA)) if weight is None else weight
    kick = (1 - BETA) * (BETA + (1 - BETA) * ALPHA) * ALPHA / 2 if kick is None else kick
    after = BETA * MOMENTUM + (1 - BETA) * (GRADIENT + NOISE)
    rise = -ALPHA * GRADIENT * after + ALPHA**2 / 2 * after**2 + q * after**2 - q * MOMENTUM**2
    fall = (ALPHA - ALPHA**2 / 2) * after**2 + sp.sympify(q) * (after - MOMENTUM) ** 2
    noise = sp.expand(ALPHA * NOISE * after - fall).coeff(NOISE, 2)  # what is linear in ξ has mean 0
    return Proof.of(
        "sgdm_energy",
        "f + αβ/(2(1−β))‖m‖² rises by at most (1−β)(β + (1−β)Lα)(α/2)σ² a step, by nothing without noise, for Lα ≤ 2",
        identity=same(rise, ALPHA * NOISE * after - fall),
        kick=same(noise, kick),
    )


def prove_sgdm_against_others(loss: Any = None, transient: str = "0.625", noise: str = "0.572") -> Proof:
    """Never above run_length_sharp; of Liu et al.'s constants at most 0.625 (transient) and 0.572 (noise).

    ``loss``: x = α(1+β)/(2(1−β)), with 1/(1 − x) the transient of run_length_sharp: D(1 − x) = φ − 2βαx/(1−β²). With it
    D/φ ≤ 1/(1 − x), and φ ≥ 1 − x. Against Liu et al. both ratios rise with α, so the largest published step decides.
    """
    loss = ALPHA * (1 + BETA) / (2 * (1 - BETA)) if loss is None else sp.sympify(loss)
    less = ROOM - FACTOR * (1 - loss)
    factor, room = FACTOR.subs(ALPHA, PUBLISHED_STEP), ROOM.subs(ALPHA, PUBLISHED_STEP)
    return Proof.of(
        "sgdm_against_others",
        "D/φ ≤ 1/(1 − Lα(1+β)/(2(1−β))), run_length_sharp's; at most 0.625 and 0.572 of Liu et al.'s constants",
        transient_below=same(less, 2 * BETA * ALPHA * loss / (1 - BETA**2)),
        noise_below=same(ROOM - (1 - loss), 2 * BETA * ALPHA / (1 - BETA**2)),
        transient=positive(sp.together(2 * sp.Rational(transient) * room - factor)),
        noise=positive(sp.together(sp.Rational(noise) * LIU_NOISE * room - sp.Rational(1, 2))),
    )


def prove_sgdm_linear_rate(rate: Any = None, kick: Any = None) -> Proof:
    """The largest τ with held‖g‖² + w‖m‖² ≥ τ(A‖g‖² + B‖m‖² − a⟨m, g⟩), and the noise of the energy if ‖m⁺‖² is kept.

    ``rate``: τ as a function of held, w, A, B, a and s = √((held·B − w·A)² + held·w·a²). ``kick``: α(1−β)(1−β/2).
    """
    held, w, loss, momentum, cross, root = sp.symbols("held w A B a s", positive=True)
    rate = 2 * held * w / (held * momentum + w * loss + root) if rate is None else rate
    kick = ALPHA * (1 - BETA) * (1 - BETA / 2) if kick is None else kick
    radicand = (held * momentum - w * loss) ** 2 + held * w * cross**2
    determinant = (held - rate * loss) * (w - rate * momentum) - (rate * cross / 2) ** 2
    left_over = (w - rate * momentum) * (held * momentum + w * loss + root) - w * (root - (held * momentum - w * loss))
    q = ALPHA * BETA / (2 * (1 - BETA))
    after = BETA * MOMENTUM + (1 - BETA) * (GRADIENT + NOISE)
    noise = sp.expand(ALPHA * NOISE * after - q * (after - MOMENTUM) ** 2).coeff(NOISE, 2)
    return Proof.of(
        "sgdm_linear_rate",
        "τ = 2cw/(cB + wA + √((cB − wA)² + cwa²)) makes the quadratic form singular and w − τB ≥ 0: it is the largest",
        singular=sp.rem(sp.numer(sp.together(determinant)), root**2 - radicand, root).expand() == 0,
        semidefinite=same(left_over, 0),
        kick=same(noise, kick),
    )


def prove_sgdm_decreasing_steps(slope: Any = BETA / (1 - BETA)) -> Proof:
    """For 0 < α ≤ 1 + β: p rises with α, and |dA/dα| is at most ``slope``."""
    rising, change = sp.diff(P, ALPHA), sp.diff(A, ALPHA)
    return Proof.of(
        "sgdm_decreasing_steps",
        "dp/dα > 0 and |dA/dα| ≤ β/(1−β) for 0 < α ≤ 1+β",
        rising=_positive_everywhere(rising),
        slope=_positive_everywhere(slope - change) and _positive_everywhere(slope + change),
    )


def same(left: Any, right: Any) -> bool:
    """Whether two rational functions are the same. Faster than simplifying where the denominators are large."""
    return bool(sp.cancel(sp.together(left - right)) == 0)


def _positive_everywhere(expression: Any) -> bool:
    """Whether it is > 0 for all 0 < β < 1 and 0 < α ≤ 1 + β: β = u/(1+u), α = (1+β)/(1+v), and no coefficient is negative."""
    u, v = sp.symbols("u v", positive=True)
    beta = u / (1 + u)
    inside = sp.sympify(expression).subs({ALPHA: (1 + beta) / (1 + v), BETA: beta}, simultaneous=True)
    parts = [sp.Poly(part, u, v).coeffs() for part in sp.fraction(sp.factor(sp.together(inside)))]
    signs = [all(c > 0 for c in part) - all(c < 0 for c in part) for part in parts]
    return 0 not in signs and signs[0] * signs[1] > 0
