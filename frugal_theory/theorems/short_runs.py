"""The run-length theorem for runs that end: a step condition that survives β → 1."""

from __future__ import annotations

import numpy as np

from frugal_theory.algorithm.run_lengths import RunLengths
from frugal_theory.theorems.averages import known_law, on_set, running
from frugal_theory.theorems.run_length import RunLength
from frugal_theory.theorems.run_length_sharp import smallest_bound
from frugal_theory.theorems.setting import Array, Setting

__all__ = ["ShortRuns", "memory"]

SHARES = np.geomspace(1e-4, 16, 41)
"""Constants c of (a + b)² ≤ (1 + c)a² + (1 + 1/c)b² that are tried. Every one gives a valid bound."""


class ShortRuns(RunLength):
    """Sets drawn every T steps, or turning bases: momentum that is thrown away in time delays little.

    Proved in ``docs/theory/run-length.md``, section "Sharper constants". a is the number of steps that the run has lasted, and
    C ≤ 1 the *memory*: the largest weight that a gradient has in all later momenta of its run, relative to its own W.
    For Lα(1/2 + √((1+c)C) β/(1−β)) < 1 and any c > 0::

        avg E‖gᵏ‖²_W ≤ [ Δ/(Kα) + (Lα/2)( avg E ΣW²σ² + √((1+c)/C)/c · β/(1+β) · avg E Σ_J W²(1−β^{2a})σ² ) ]
                        / (1 − Lα(1/2 + √((1+c)C) β/(1−β)))

    c = C = 1 and a = ∞ is the run-length theorem. √C β/(1−β) stays bounded as β → 1: by √(p(1+p))/(1−p) for T = 1. The
    reported bound takes the best c of a grid and the best Young constant η for every K.

    >>> from frugal_theory.testing import measured_and_bound
    >>> measured_and_bound("short_runs", density=0.5, update_gap=1, subspace="coordinates")
    (0.327, 0.454)
    """

    name = "short_runs"
    title = "Run-length theorem for short runs"
    short_name = "run-length, short runs"
    label = "short runs"
    statement = (
        "avg E‖gᵏ‖²_W ≤ [Δ/(Kα) + (Lα/2)(avg ΣW²σ² + √((1+c)/C)/c β/(1+β) avg Σ_J W²(1−β^{2a})σ²)]"
        " / (1 − Lα(1/2 + √((1+c)C) β/(1−β)))   for every c > 0 (the best is taken), C ≤ 1 the memory of a run"
    )
    formula = (
        r"\operatorname{avg}\mathbb{E}\|g^k\|^2_W\le\frac{\frac{\Delta}{K\alpha}"
        r"+\frac{L\alpha}{2}\Bigl(\operatorname{avg}\sum W^2\sigma^2+\frac{\sqrt{\frac{1+c}{C}}}{c}\frac{\beta}{1"
        r"+\beta}\operatorname{avg}\sum_JW^2(1-\beta^{2a})\sigma^2\Bigr)}{1-L\alpha\Bigl(\frac{1}{2}+\sqrt{(1"
        r"+c)C}\frac{\beta}{1-\beta}\Bigr)}"
        "\n"
        r"\text{for every }c>0\text{ (the best is taken), }C\le1\text{ the memory of a run}"
    )

    def covers(self, setting: Setting) -> str | None:
        """Algorithm 2 on units that are drawn every T steps, or on a random basis."""
        if setting.runs is not None and setting.runs.law not in ("redrawn", "turning"):
            return "the momentum set is not drawn anew every T steps"
        return super().covers(setting)

    def largest_step(self, setting: Setting) -> tuple[float, bool]:
        """1/(L(1/2 + √((1+c)C) β/(1−β))) for the smallest c, itself not admitted."""
        if setting.runs is None:
            return super().largest_step(setting)
        beta = setting.beta
        reach = np.sqrt((1 + SHARES[0]) * memory(setting.runs)) * beta / (1 - beta)
        return float(1 / (setting.smoothness * (0.5 + reach))), False

    def bound(self, setting: Setting) -> Array:
        """The right-hand side, shape (steps,)."""
        alpha, beta, smoothness = setting.alpha, setting.beta, setting.smoothness
        runs = known_law(setting)
        everything = running(setting.weighted_noise[0])
        young = on_set(setting, _squared_weight_by_age, dict(setting.variance))
        plain = setting.gap / (setting.horizons * alpha) + smoothness * alpha / 2 * everything
        lag = (smoothness * alpha * beta / (1 - beta)) ** 2
        noise = lag / 2 * (1 + 1 / SHARES[:, None]) * (1 - beta) / (1 + beta) * young
        return smallest_bound(plain, noise, lag * (1 + SHARES[:, None]) * memory(runs), 1 - smoothness * alpha / 2)


def _squared_weight_by_age(runs: RunLengths, step: int) -> dict[str, Array]:
    """E[W²(1 − β^{2a}) | j in the set] at the 0-based step: past and future of a run are independent."""
    once, twice = runs.leak(step), runs.leak(step, 2)
    square, gap = runs.beta**2, runs.algorithm.update_gap
    period, phase = divmod(step, gap)
    found = {}
    for name, share in runs.share.items():
        stay = np.where(share == 1, 1.0, 0.0) if runs.law == "turning" else share
        again = stay * square**gap  # E β^{2a} = β^{2·phase} E β^{2Tn}, n ≤ period earlier periods with j in the set
        earlier = (1 - stay) * (1 - again**period) / (1 - again) + again**period
        found[name] = (1 - 2 * once[name] + twice[name]) * (1 - square**phase * earlier)
    return found


def memory(runs: RunLengths) -> float:
    """C = max over phases i of E[Σ_{k>i} W_k²(1−β^{a_k})(1−β)β^{k−1−i}] / E W_i, k over the later steps of i's run.

    For a turning basis every run has T steps and C is a finite sum. For drawn units 1 − β^a is bounded by 1, and the
    expectation is over the end of the run. 0 for β = 0 or runs of a single step.
    """
    beta, gap = runs.beta, runs.algorithm.update_gap
    left = np.arange(1.0, gap + 1)  # steps left in the period, this one included
    largest = 0.0
    for share in runs.share.values():
        for p in np.unique(share):
            if p == 1:
                largest = 1.0
            elif runs.law == "turning":
                largest = max(largest, _memory((1 - beta**left) ** 2 * (1 - beta ** (gap - left)), 1 - beta**left, beta, 0.0))
            elif p > 0:
                once, twice = (beta ** (n * left) * (1 - p) / (1 - p * beta ** (n * gap)) for n in (1, 2))
                largest = max(largest, _memory(1 - 2 * once + twice, 1 - once, beta, float(p)))
    return largest if beta > 0 else 0.0


def _memory(squares: Array, weights: Array, beta: float, stay: float) -> float:
    """max_h (1−β)[Σ_{l<h} q_l β^{h−1−l} + stay β^{h−1} Σ_l q_l β^{T−l} / (1 − stay β^T)] / w_h, with q and w by steps left."""
    gap = len(squares)
    ahead = np.zeros(gap)  # Σ_{l<h} q_l β^{h−1−l}
    for h in range(1, gap):
        ahead[h] = beta * ahead[h - 1] + squares[h - 1]
    whole = beta * ahead[-1] + squares[-1]  # a following period, seen from its first step
    later = stay * beta ** np.arange(gap) * whole / (1 - stay * beta**gap)
    return float(np.max((1 - beta) * (ahead + later) / weights))
