"""Closed stationary forms, derived by SymPy: what one coordinate of a quadratic settles at.

f(x) = ½λx², noise of variance σ², and at every step the coordinate is in the momentum set with probability p,
independently of the past. The second moments z = (E x², E xm, E m²) then obey z ← Fz + v (theory, section 5), whose
fixed point is a rational function of (α, β, λ, p, σ).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import ArrayLike, NDArray

from frugal_theory.evidence.exact.linear import Reading

__all__ = ["ALPHA", "BETA", "LAMBDA", "PROBABILITY", "SCALE", "SIGMA", "stationary", "stationary_expression"]

ALPHA, BETA, LAMBDA, PROBABILITY, SIGMA, SCALE = sp.symbols("alpha beta lambda p sigma s", nonnegative=True)
"""The symbols of the closed forms; s is the state-free rule's ``lr_scale``."""


@cache
def stationary_expression(off_set_momentum: Reading = "reset") -> Any:
    """E(λx)² in stationarity, a SymPy expression in ALPHA, BETA, LAMBDA, PROBABILITY, SIGMA and SCALE.

    Its ends, with s = 1 and momentum reset off the set: αλσ²(1+β)/(2(1+β) − αλ(1−β)) for p = 1 and
    αλσ²/(2 − αλ) for p = 0. It is the limit of E(λxᵏ)² wherever the recursion is stable, and means nothing elsewhere.
    """
    a, b, lam, p, sigma, s = ALPHA, BETA, LAMBDA, PROBABILITY, SIGMA, SCALE
    xx, xm, mm = unknown = sp.symbols("xx xm mm")
    kept = {"reset": sp.Integer(0), "decay": b, "hold": sp.Integer(1)}[off_set_momentum]

    def moments(shrink: Any, take: Any, grow: Any, keep: Any, noise_x: Any, noise_m: Any) -> tuple[Any, Any, Any]:
        """Second moments after (x, m) ← [[shrink, take], [grow, keep]](x, m) + (noise_x, noise_m)·noise."""
        return (
            shrink**2 * xx + 2 * shrink * take * xm + take**2 * mm + noise_x**2 * sigma**2,
            shrink * grow * xx + (shrink * keep + take * grow) * xm + take * keep * mm + noise_x * noise_m * sigma**2,
            grow**2 * xx + 2 * grow * keep * xm + keep**2 * mm + noise_m**2 * sigma**2,
        )

    inside = moments(1 - a * (1 - b) * lam, -a * b, (1 - b) * lam, b, -a * (1 - b), 1 - b)
    outside = moments(1 - a * s * lam, sp.Integer(0), sp.Integer(0), kept, -a * s, sp.Integer(0))
    equations = [p * i + (1 - p) * o - u for i, o, u in zip(inside, outside, unknown, strict=True)]
    (solution,) = sp.linsolve(equations, unknown)
    return sp.factor(lam**2 * solution[0])


def stationary(
    learning_rate: ArrayLike,
    beta: ArrayLike,
    eigenvalue: ArrayLike,
    probability: ArrayLike,
    sigma: ArrayLike,
    lr_scale: ArrayLike = 1.0,
    off_set_momentum: Reading = "reset",
) -> NDArray[np.float64]:
    """E(λx)² in stationarity, as numbers: arrays that broadcast against each other. See :func:`stationary_expression`."""
    values = _compiled(off_set_momentum)(learning_rate, beta, eigenvalue, probability, sigma, lr_scale)
    return np.asarray(values, dtype=np.float64)


@cache
def _compiled(off_set_momentum: Reading) -> Callable[..., Any]:
    symbols = (ALPHA, BETA, LAMBDA, PROBABILITY, SIGMA, SCALE)
    function: Callable[..., Any] = sp.lambdify(symbols, stationary_expression(off_set_momentum), "numpy")
    return function
