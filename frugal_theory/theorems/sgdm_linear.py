"""SGDM under the Polyak–Łojasiewicz condition, or strong convexity: the start is forgotten geometrically."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from frugal_theory.metrics.growing_norm import GrowingNorm
from frugal_theory.theorems.lyapunov import Lyapunov, largest_step
from frugal_theory.theorems.setting import Array, Setting
from frugal_theory.theorems.sgdm_sharp import SgdmSharp
from frugal_theory.theorems.theorem import Shown

__all__ = ["Contraction", "SgdmLinear", "contraction"]

KEPT = 0.5
"""The share of the descent that is kept for ‖g‖²; the other makes V contract."""

ADDED = (0.0, *np.geomspace(1e-9, 1e3, 97).tolist())
"""Weights θ of the energy f − f* + q‖m‖² beside V that are tried. Every one gives a valid bound."""


@dataclass(frozen=True)
class Contraction:
    """E Y_{k+1} ≤ (1−τ)E Y_k − (c/2)E‖gᵏ‖² + nσ² for L = 1, Y_1 = (1+θ)Δ. ``rate``: τ, ``start``: 1+θ, ``kick``: n."""

    rate: float
    start: float
    kick: float


class SgdmLinear(Shown):
    """Proved in ``docs/theory/momentum.md``. ‖∇f‖² ≥ 2μ(f − f*), Lα ≤ 1 + β (< 2 where β = 0), w_k ≤ w_{k−1}/(1−τ), w_1 = 1::

        avg w_k E‖gᵏ‖² ≤ (2D/(αφ)) [ (1−τ)(1+θ)Δ/K + (Lα²/2)(1/D + θ(1−β)(2−β)/(Lα)) σ² avg w_k ]

    with D and φ of sgdm_sharp. For μ ≪ L, τ ≈ μαφ/D and θ ≈ 0: once the start, which counts 1/Σw, is forgotten, the weighted
    average is at most about Lασ²/φ. Measured and bounded with w_k = min((1−τ)^{−(k−1)}, 10⁶). τ is explicit for every θ ≥ 0,
    and of a grid of θ the one is taken that makes τ large and what multiplies the noise small. Upper bound.

    >>> from frugal_theory.testing import measured_and_bound
    >>> measured_and_bound("sgdm_linear", (1.0, 0.5), density=1.0, learning_rate=0.5)
    (0.211, 0.466)
    """

    name = "sgdm_linear"
    title = "SGDM under the Polyak–Łojasiewicz condition"
    short_name = "SGDM, linear rate"
    label = "linear rate"
    source = "proved here (docs/theory/momentum.md)"
    statement = (
        "avg w_k E‖gᵏ‖² ≤ (2D/(αφ))[(1−τ)(1+θ)Δ/K + (Lα²/2)(1/D + θ(1−β)(2−β)/(Lα))σ² avg w_k], w_k ≤ (1−τ)^{−(k−1)},"
        " D = 1 + 2βLα/(1−β²), φ = 1 − Lα(1−β)/(2(1+β))   for Lα ≤ 1+β and ‖∇f‖² ≥ 2μ(f − f*)"
    )
    formula = (
        r"\operatorname{avg}w_k\mathbb{E}\|g^k\|^2\le\frac{2D}{\alpha\varphi}\Bigl[(1-\tau)(1"
        r"+\theta)\frac{\Delta}{K}+\frac{L\alpha^2}{2}\Bigl(\frac{1}{D}"
        r"+\frac{\theta(1-\beta)(2-\beta)}{L\alpha}\Bigr)\sigma^2\operatorname{avg}w_k\Bigr],"
        "\n"
        r"w_k\le(1-\tau)^{-(k-1)},\quad D=1+\frac{2\beta L\alpha}{1-\beta^2},\quad\varphi"
        r"=1-\frac{L\alpha(1-\beta)}{2(1+\beta)}"
        "\n"
        r"\text{for }L\alpha\le1+\beta\text{ and }\|\nabla f\|^2\ge2\mu(f-f^*)"
    )
    explicit = True
    premises = "P1–P5 (everything is selected, or nothing), PL"
    metric = "growing_squared_gradient_norm"

    def needs(self, setting: Setting) -> tuple[str, ...]:  # noqa: ARG002  (the contract's arguments)
        """The Polyak–Łojasiewicz condition with the μ of the constants."""
        return ("PL",)

    def covers(self, setting: Setting) -> str | None:
        """SGDM with every coordinate in the momentum set, or SGD, on a problem that says its μ."""
        if reason := SgdmSharp().covers(setting):
            return reason
        if setting.constants.strong_convexity is None:
            return "no μ > 0 with ‖∇f‖² ≥ 2μ(f − f*) is known (the problem says it by its attribute strong_convexity)"
        return None

    def largest_step(self, setting: Setting) -> tuple[float, bool]:
        """(1+β)/L, itself admitted; 2/L, itself not admitted, where β = 0."""
        return largest_step(setting)

    def measure(self, setting: Setting) -> GrowingNorm:
        """The metric, with the weights that τ allows."""
        return GrowingNorm(contraction(setting).rate)

    def bound(self, setting: Setting) -> Array:
        """The right-hand side, shape (steps,)."""
        found, kept = contraction(setting), KEPT * Lyapunov.of(setting).descent
        weights = np.cumsum(GrowingNorm(found.rate).weights(setting.steps)) / setting.horizons
        start = (1 - found.rate) * found.start * setting.smoothness * setting.gap / setting.horizons
        bound: Array = (start + found.kick * setting.total_variance * weights) / kept
        return bound


def contraction(setting: Setting) -> Contraction:
    """Of all θ of the grid the one with the largest τ/n."""
    constant = setting.constants.strong_convexity
    assert constant is not None  # covers() has said so
    function = Lyapunov.of(setting)
    found = [_with_energy(function, constant.value / setting.smoothness, theta) for theta in ADDED]
    return max(found, key=lambda one: one.rate / one.kick)


def _with_energy(function: Lyapunov, mu: float, theta: float) -> Contraction:
    """τ for Y = V + θ(f − f* + q‖m‖²) + w‖m‖²: the largest with (c/2)‖g‖² + w‖m‖² ≥ τY, by f − f* ≤ ‖g‖²/(2μ)."""
    alpha, beta = function.reach, function.beta
    held = (1 - KEPT) * function.descent
    faded = theta * alpha * (1 - alpha / 2)
    kick = function.kick + theta * alpha * (1 - beta) * (1 - beta / 2)
    loss, momentum = (1 + theta) / (2 * mu), function.square + theta * alpha * beta / (2 * (1 - beta)) + faded
    if beta == 0:
        return Contraction(held / loss, 1 + theta, kick)  # no momentum in V
    both = held * momentum + faded * loss
    root = np.hypot(held * momentum - faded * loss, np.sqrt(held * faded) * function.cross)
    return Contraction(float(2 * held * faded / (both + root)), 1 + theta, kick)
