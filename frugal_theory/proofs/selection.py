"""Selection by svd of the stochastic gradient: the best Young constant, the sign of what the noise adds, the floor."""

from __future__ import annotations

from typing import Any

import sympy as sp

from frugal_theory.proofs.proof import Proof, equal

__all__ = ["prove_svd_selection"]

A, B, M, V = sp.symbols("A B M v", positive=True)
ETA, ROOM, LEAST, SHARE, W, S = sp.symbols("eta phi c rho w s", positive=True)


def prove_svd_selection(best: Any = None, floor: Any = None, limit: Any = None, least: Any = None) -> Proof:
    """(A + B/η)/(c(φ₀ − η/2)) − v with A = Δ/(Kα), B = Mv/2: smallest at η*, which is φ₀ for A → 0; what noise adds is ≥ 0.

    ``best``: η*. ``floor``: the bound over v for A → 0. ``limit``: the floor for M = φ₀ = 1 and c = ρ. ``least``: the weight of
    ‖g̃‖² where the set has the share ρ of it, between s + (w − s)ρ and w for w ≥ s.
    """
    best = 2 * B * ROOM / (B + sp.sqrt(B**2 + 2 * A * B * ROOM)) if best is None else best
    floor = M / (LEAST * ROOM**2) - 1 if floor is None else floor
    limit = 1 / SHARE - 1 if limit is None else limit
    least = S + (W - S) * SHARE if least is None else least
    value = (A + B / ETA) / (LEAST * (ROOM - ETA / 2))
    slope = sp.diff(value, ETA) * LEAST * ETA**2 * (ROOM - ETA / 2) ** 2
    quadratic = A * ETA**2 / 2 + B * ETA - B * ROOM
    bound = value.subs({A: 0, B: M * V / 2, ETA: ROOM}) - V
    inside = sp.Symbol("inside", positive=True)  # the share of ‖g̃‖² on the set
    return Proof.of(
        "svd_selection",
        "η* = 2Bφ₀/(B + √(B²+2ABφ₀)), φ₀ for A → 0;  1/(2η) + η/2 ≥ 1;  floor v(M/(cφ₀²) − 1), → v(1/ρ − 1)",
        stationary=equal(slope, quadratic),
        root=equal(sp.simplify(quadratic.subs(ETA, best)), 0),
        without_transient=equal(sp.limit(best, A, 0), ROOM),
        grows_with_noise=equal(2 * ETA * (1 / (2 * ETA) + ETA / 2 - 1), (ETA - 1) ** 2),
        floor=equal(bound, V * sp.sympify(floor)),
        limit=equal(sp.sympify(floor).subs({M: 1, ROOM: 1, LEAST: SHARE}), limit),
        weight=equal(sp.expand(W * inside + S * (1 - inside)).subs(inside, SHARE), least),
    )
