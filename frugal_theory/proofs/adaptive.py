"""Adaptive rules (``docs/theory/adaptive.md``): what second moments add up to, what signs cost, what lags weigh."""

from __future__ import annotations

from typing import Any

import sympy as sp

from frugal_theory.proofs.proof import BETA, Proof, equal, sums_to

__all__ = ["prove_adaptive_loss", "prove_growth", "prove_lags", "prove_lion_age", "prove_median_sign"]

N = sp.Symbol("n", integer=True, nonnegative=True)
FIRST, SECOND = sp.symbols("beta_1 beta_2", positive=True)


def prove_growth(step: Any = None, least: Any = None, total: Any = (1 - BETA**N) / (1 - BETA)) -> Proof:
    """X_t = βX_{t−1} + g̃² + ε²: g̃²/X_t ≤ 1 − βX_{t−1}/X_t, and n ratios X_{t−1}/X_t of product 1/Q add up to ≥ nQ^{−1/n}.

    ``step``: what is left of 1 − βX_{t−1}/X_t after g̃²/X_t, ε²/X_t. ``least``: the least a + b for ab = 1/Q; with the
    inequality of the means it is any n's. ``total``: Σ_{s<n} β^s, which makes v̂ + ε² = X (1 − β)/(1 − βⁿ).
    """
    before, square, eps, ratio, q = sp.symbols("X g e a Q", positive=True)
    after = BETA * before + square + eps
    step = eps / after if step is None else step
    least = 2 / sp.sqrt(q) if least is None else least
    split = ratio + 1 / (q * ratio)
    constant = sp.Symbol("c", positive=True)
    return Proof.of(
        "adaptive_growth",
        "g̃²/X_t = 1 − βX_{t−1}/X_t − ε²/X_t; a + b ≥ 2Q^{−1/2} for ab = 1/Q; Σ_{s<n} βˢ = (1−βⁿ)/(1−β)",
        step=equal(1 - BETA * before / after - square / after, step),
        least=equal(split - sp.sympify(least), (sp.sqrt(ratio) - 1 / sp.sqrt(q * ratio)) ** 2),
        total=sums_to(BETA**N, sp.sympify(total), N),
        corrected=equal(constant * sp.sympify(total) * (1 - BETA) / (1 - BETA**N), constant),
    )


def prove_adaptive_loss(gap: Any = None, mixed: Any = None, root: Any = None) -> Proof:
    """(D̃ − D)² ≤ D̃² − D², Cantelli's share of g²/D̃ is concave in g² and σ², and H = A + √(NH) has the stated root.

    ``gap``: D̃² − D² − (D̃ − D)². ``mixed``: (g²/D̃)·σ²/(σ² + g²) as a function of p = g²/D̃, q = σ²/D̃. ``root``: H.
    """
    small, large, g, sigma, p, q = sp.symbols("D E g sigma p q", positive=True)
    constant, noise = sp.symbols("A N", positive=True)
    gap = 2 * small * (large - small) if gap is None else gap
    mixed = p * q / (p + q) if mixed is None else sp.sympify(mixed)
    root = ((sp.sqrt(noise) + sp.sqrt(noise + 4 * constant)) / 2) ** 2 if root is None else root
    share = g**2 / large * sigma**2 / (sigma**2 + g**2)
    hessian = sp.hessian(mixed, (p, q))
    # √H − √N/2 is the root of (√N + 4A)/4: squared, so that SymPy need not take roots of squares
    half = sp.sqrt(sp.sympify(root)) - sp.sqrt(noise) / 2
    return Proof.of(
        "adaptive_loss",
        "D̃² − D² − (D̃−D)² = 2D(D̃−D); (g²/D̃)σ²/(σ²+g²) = pq/(p+q), concave; H = A + √(NH) at ((√N+√(N+4A))/2)²",
        gap=equal(large**2 - small**2 - (large - small) ** 2, gap),
        mixed=equal(mixed.subs({p: g**2 / large, q: sigma**2 / large}), share),
        concave=equal(hessian.det(), 0) and equal(hessian[0, 0] * (p + q) ** 3, -2 * q**2),
        root=equal(half**2, noise / 4 + constant),
    )


def prove_lags(tail: Any = None, reach: Any = FIRST / (1 - FIRST), early: Any = None, missed: Any = None) -> Proof:
    """Weights (1−β₁)β₁^s/(1−β₁^t) of lags s < t: tails, their sum over lags, bias correction, gradients applied too late.

    ``tail``: β₁^l less the weight of the lags ≥ l, which is ≥ 0. ``reach``: Σ_{l≥1} β₁^l. ``early``: 1/(1−x) − 1 for
    x = β₁^t. ``missed``: (1−x) − (1−x)(1−y) for x = β₁^r, y = β₁^{m+1}, which is ≥ 0.
    """
    lag, t = sp.symbols("l t", positive=True)
    x, y = sp.symbols("x y", positive=True)
    tail = FIRST**t * (1 - FIRST**lag) / (1 - FIRST**t) if tail is None else tail
    early = x / (1 - x) if early is None else early
    missed = (1 - x) * y if missed is None else missed
    weight = (FIRST**lag - FIRST**t) / (1 - FIRST**t)
    partial = FIRST * (1 - FIRST**N) / (1 - FIRST)
    return Proof.of(
        "adaptive_lags",
        "lags ≥ l weigh (β₁ˡ − β₁ᵗ)/(1 − β₁ᵗ) ≤ β₁ˡ; Σ_{l≥1} β₁ˡ = β₁/(1−β₁); 1/(1−x) = 1 + x/(1−x); (1−x)y ≥ 0 is missed",
        weight=sums_to((1 - FIRST) * FIRST**N, 1 - FIRST**N, N),
        tail=equal(FIRST**lag - weight, tail),
        reach=sums_to(FIRST ** (N + 1), partial, N) and equal(partial.subs(FIRST**N, 0), reach),
        early=equal(1 / (1 - x) - 1, early),
        missed=equal((1 - x) - (1 - x) * (1 - y), missed),
    )


def prove_lion_age(
    kept: Any = 1 - FIRST * SECOND**N,
    past: Any = (1 - SECOND) / (1 + SECOND) * (1 - SECOND ** (2 * N)),
    lag: Any = (1 - SECOND**N) / (1 - SECOND) - N * SECOND**N,
    loss: Any = None,
) -> Proof:
    """Lion at age n + 1: weights of the past, their squares, their mean lag; what a sign costs that is off by b.

    ``kept``: ρ. ``past``: q². ``lag``: λ. ``loss``: v + 2b − 2(x + b)v²/(v²+x²), which is ≥ 0: a sum of squares over v²+x².
    """
    x, v, b = sp.symbols("x v b", positive=True)
    loss = (v * (v - x) ** 2 + 2 * b * x**2) / (v**2 + x**2) if loss is None else loss
    return Proof.of(
        "lion_age",
        "ρ = 1 − β₁β₂ⁿ, q² = (1−β₂)/(1+β₂)(1−β₂²ⁿ), λ = (1−β₂ⁿ)/(1−β₂) − nβ₂ⁿ; 2(x+b)v²/(v²+x²) ≤ v + 2b",
        kept=sums_to(FIRST * (1 - SECOND) * SECOND**N, sp.sympify(kept) - (1 - FIRST), N),
        past=sums_to((1 - SECOND) ** 2 * SECOND ** (2 * N), sp.sympify(past), N),
        lag=sums_to((N + 1) * (1 - SECOND) * SECOND**N, sp.sympify(lag), N),
        loss=equal(v + 2 * b - 2 * (x + b) * v**2 / (v**2 + x**2), loss),
    )


def prove_median_sign(kept: Any = None, chord: Any = None) -> Proof:
    """E[g sign(g+ξ)] = gF(g), F the distribution function of |ξ|, and a concave F is above its chord up to the median.

    ``kept``: gF for a sign that is wrong with probability (1 − F)/2. ``chord``: what u + (t/m)(w − u) exceeds t/(2m) by, for
    F(0) = u ≥ 0 and F(m) = w ≥ ½.
    """
    g, share, t, m, u, w = sp.symbols("g F t m u w", positive=True)
    kept = g * share if kept is None else kept
    chord = u * (1 - t / m) + t / m * (w - sp.Rational(1, 2)) if chord is None else chord
    return Proof.of(
        "median_sign",
        "g(1 − 2·½(1−F)) = gF; u + (t/m)(w−u) − t/(2m) = u(1 − t/m) + (t/m)(w − ½) ≥ 0",
        kept=equal(g * (1 - (1 - share)), kept),
        chord=equal(u + t / m * (w - u) - t / (2 * m), chord),
    )
