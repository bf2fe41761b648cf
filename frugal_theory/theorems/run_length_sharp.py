"""The run-length theorem without its √2: momentum bounded step by step, the free constants at their best."""

from __future__ import annotations

import numpy as np

from frugal_theory.theorems.averages import running
from frugal_theory.theorems.run_length import RunLength, largest_weight
from frugal_theory.theorems.setting import Array, Setting

__all__ = ["RunLengthSharp", "smallest_bound"]

GAINS = np.geomspace(1, 16, 33)
"""Gradient weights Γ that are tried. Every one gives a valid bound; the smallest of them is reported."""


class RunLengthSharp(RunLength):
    """The bound of ``docs/theory/run-length.md``, section "Sharper constants", proved there. For Lα(1+β)/(2(1−β)) < 1::

        avg E‖gᵏ‖²_W ≤ [ Δ/(Kα) + (Lα/2)( avg E Σ_j W²σ_j² + β avg E Σ_{j∈J} W²σ_j² ) ] / (1 − Lα(1+β)/(2(1−β)))

    This is the member Γ = 1, η = Lαβ/(1−β) of a family of bounds with two free constants: Γ ≥ 1 is the weight of past
    gradients in E m², η Young's. The reported bound takes the best η exactly and the best Γ of a grid, for every K.

    >>> from frugal_theory.testing import measured_and_bound
    >>> measured_and_bound("run_length_sharp", density=0.5, update_gap=1, subspace="coordinates")
    (0.327, 0.556)
    """

    name = "run_length_sharp"
    title = "Run-length theorem, sharp constants"
    short_name = "run-length, sharp constants"
    label = "sharp run-length"
    statement = (
        "avg E‖gᵏ‖²_W ≤ [Δ/(Kα) + (Lα/2)(avg ΣW²σ² + β avg Σ_J W²σ²)] / (1 − Lα(1+β)/(2(1−β)))"
        "   for Lα(1+β)/(2(1−β)) < 1, or better (Γ, η at their best)"
    )
    formula = (
        r"\operatorname{avg}\mathbb{E}\|g^k\|^2_W\le\frac{\frac{\Delta}{K\alpha}"
        r"+\frac{L\alpha}{2}\Bigl(\operatorname{avg}\sum W^2\sigma^2+\beta\operatorname{avg}"
        r"\sum_JW^2\sigma^2\Bigr)}{1-\frac{L\alpha(1+\beta)}{2(1-\beta)}}"
        "\n"
        r"\text{for }\frac{L\alpha(1+\beta)}{2(1-\beta)}<1,\text{ or better (}\Gamma,\eta\text{ at their best)}"
    )

    def largest_step(self, setting: Setting) -> tuple[float, bool]:
        """2(1−β)/(L(1+β)), itself not admitted; 2/(Ls) if the set is always empty."""
        if setting.runs is not None and setting.runs.empty:
            return super().largest_step(setting)
        return 2 * (1 - setting.beta) / (setting.smoothness * (1 + setting.beta)), False

    def bound(self, setting: Setting) -> Array:
        """The right-hand side, shape (steps,)."""
        alpha, beta, smoothness = setting.alpha, setting.beta, setting.smoothness
        everything, on_set = (running(noise) for noise in setting.weighted_noise)
        plain = setting.gap / (setting.horizons * alpha) + smoothness * alpha / 2 * everything
        lag = (smoothness * alpha * beta / (1 - beta)) ** 2
        noise = (1 - beta) ** 2 / (1 - decay(beta, GAINS))
        room = 1 - smoothness * alpha * largest_weight(setting) / 2
        return smallest_bound(plain, lag / 2 * noise[:, None] * on_set, lag * GAINS[:, None], room)


def decay(beta: float, gain: Array) -> Array:
    """θ in [β², β] with (1−β)²θ/((θ−β²)(1−θ)) = Γ; Γ = 1 gives β."""
    total = 1 + beta**2 - (1 - beta) ** 2 / gain
    return (total - np.sqrt(np.maximum(total**2 - 4 * beta**2, 0))) / 2


def smallest_bound(plain: Array, noise: Array, lag: Array, room: float) -> Array:
    """min over η > 0 and the first axis of (A + B/η) / (φ₀ − η/2 − E/(2η)), shape (steps,); inf where none is admitted.

    ``plain``: A, shape (steps,). ``noise``: B, shape (constants, steps). ``lag``: E, shape (constants, 1). ``room``: φ₀.
    The best η solves Aη²/2 + Bη = AE/2 + Bφ₀. Without lag (β = 0) this is A/φ₀.
    """
    if not np.any(lag):
        return plain / room
    with np.errstate(divide="ignore", invalid="ignore"):
        eta = (np.sqrt(noise**2 + plain**2 * lag + 2 * plain * noise * room) - noise) / plain
        eta = np.where(plain > 0, eta, np.sqrt(lag))
        left = room * eta - eta**2 / 2 - lag / 2
        value = (plain * eta + noise) / left
    found: Array = np.where((lag < room**2) & (left > 0), value, np.inf).min(axis=0)  # lag underflows where Lα is tiny
    return found
