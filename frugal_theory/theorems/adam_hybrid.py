"""The hybrid theorem of the default algorithm: Adam on the momentum set, signSGD or SGD off it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from frugal_theory.algorithm.rules import AdamW, Sgdm
from frugal_theory.algorithm.run_lengths import RunLengths
from frugal_theory.metrics import AdaptiveNorm, Metric
from frugal_theory.theorems.adaptive import adam_sums, flat, harmonic, largest_below
from frugal_theory.theorems.averages import known_law, off_set
from frugal_theory.theorems.setting import Array, Setting
from frugal_theory.theorems.signsgd_sharp import needs_shape, sign_loss
from frugal_theory.theorems.theorem import Shown

__all__ = ["AdamHybrid", "adam_bound", "adam_rule", "no_bound", "off_the_sets"]

LEAST_MISSED, EXTENSIONS = 1e-3, 12
"""Horizons beyond K at which the last gradients of K are applied but for this share, and how many are tried."""


class AdamHybrid(Shown):
    """The bound of ``docs/theory/adaptive.md``, section "Adam on the set", proved there.

    Adam with β₁ < β₂ (or β₁ = 0), its bias corrections and its ε, on any oblivious sets of coordinates whose state is thrown
    away when they leave; signSGD, SGD or nothing off them, with κ = ``lr_scale``; |g̃_j| ≤ R_j almost surely. For every α > 0
    (under SGD off the set Lακ < 2) and every K' = K + m, m ≥ 0::

        (1 − β₁^{m+1}) Σ_{k≤K} E[ Σ_{j∈J_k} W g_j²/(R_j+ε) + κ Σ_{j∉J_k} |g_j| ] ≤ H

    for the largest H with H ≤ A + √(N·HS/(H+S)), where A, N and S are sums up to K' (signSGD off the set)::

        A = Δ/α + (α/2) min(Σ L_j u_j², LΣ u_j²) + αL √( β₁/(1−β₁) (Σ u² + κ²Σd_k) Q ) + cκ Σ_k Σ_{j∉J_k} σ_j

    where the second sum is over all coordinates, u_j² = κ² off the set, and with the bounds of Σu², Q, N and S that the page
    derives: by coordinate about (1−β₂) steps + ln(R²/ε²) an entry, each
    times its R_j for N. W = 1 − E β₁^r as in the run-length theorem. Upper bound; S is what noise there is.

    >>> from frugal_theory.testing import measured_and_bound
    >>> betas = {"rule": "adamw", "betas": [0.0, 0.9]}
    >>> keys = {"state_full": betas, "state_free": "signsgd", "density": 0.5, "subspace": "coordinates"}
    >>> measured_and_bound("adam_hybrid", batch=16, learning_rate=0.02, **keys)
    (0.125, 0.569)
    """

    name = "adam_hybrid"
    title = "Hybrid theorem of the default algorithm: Adam on the set, signSGD or SGD off it"
    short_name = "hybrid theorem, Adam"
    label = "Adam hybrid"
    source = "proved here (docs/theory/adaptive.md), after Défossez et al. 2022"
    statement = (
        "avg E[Σ_J W g²/(R+ε) + κΣ_{∉J}|g|] ≤ H/(K(1−β₁^{m+1}))   for the largest H ≤ A + √(N·HS/(H+S)), any α > 0, |g̃| ≤ R;"
        " A = Δ/α + (α/2)min(ΣL_ju², LΣu²) + αL√(β₁/(1−β₁)(Σu² + κ²Σd_k)Q) + cκΣσ, u² = κ² off the set"
    )
    formula = (
        r"\operatorname{avg}\mathbb{E}\Bigl[\sum_J\frac{Wg^2}{R+\varepsilon}+\kappa"
        r"\sum_{\notin J}\lvert g\rvert \Bigr]\le\frac{H}{K(1-\beta_1^{m+1})}"
        "\n"
        r"\text{for the largest }H\le A+\sqrt{\frac{N\cdot HS}{H+S}},\text{ any }\alpha>0"
        r",\quad\lvert \tilde{g}\rvert \le R;"
        "\n"
        r"A=\frac{\Delta}{\alpha}+\frac{\alpha}{2}\min\Bigl(\sum L_ju^2,L\sum u^2\Bigr)"
        r"+\alpha L\sqrt{\frac{\beta_1}{1-\beta_1}\Bigl(\sum u^2+\kappa^2\sum d_k\Bigr)Q}+c\kappa\sum\sigma,"
        "\n"
        r"u^2=\kappa^2\text{ off the set}"
    )
    explicit = True
    premises = "P1 for every coordinate, with L_j; P2–P6; bounded stochastic gradients (premise “bounded”)"
    metric = "adaptive_norm"

    def needs(self, setting: Setting) -> tuple[str, ...]:
        """Bounded stochastic gradients, P1 for every coordinate, and under signs the shape of the noise where it says so."""
        return ("bounded", "coordinate_smoothness", *(needs_shape(setting) if _signs(setting) else ()))

    def covers(self, setting: Setting) -> str | None:
        """Adam with β₁ < β₂ on oblivious sets of coordinates in the reading "reset"; signsgd, sgd or none off them."""
        return adam_rule(setting) or off_the_sets(setting) or no_bound(setting)

    def largest_step(self, setting: Setting) -> tuple[float, bool]:
        """2/(Lκ) under SGD off the set, itself not admitted; any step otherwise."""
        kappa = _scale(setting)
        if _signs(setting) or kappa == 0 or known_law(setting).full:
            return math.inf, False
        return 2 / (setting.smoothness * kappa), False

    def measure(self, setting: Setting) -> Metric:
        """Σ_J W g²/(R+ε) + κ Σ_{∉J} |g|, or κ Σ_{∉J} g² under SGD."""
        rule, limits = setting.algorithm.state_full, setting.gradient_bound
        assert isinstance(rule, AdamW)
        assert limits is not None
        inverse = {name: 1 / (np.asarray(limit) + rule.eps) for name, limit in limits.items()}
        return AdaptiveNorm(inverse, _scale(setting), _leaks(setting, rule.betas[0]), squares=not _signs(setting))

    def bound(self, setting: Setting) -> Array:
        """The right-hand side, the least over m, shape (steps,)."""
        return adam_bound(setting)


def adam_bound(setting: Setting) -> Array:
    """The least over m of H/(K(1 − β₁^{m+1})), shape (steps,)."""
    rule = setting.algorithm.state_full
    assert isinstance(rule, AdamW)
    beyond = _extensions(rule.betas[0])
    total = _total(setting.having(steps=setting.steps + beyond[-1]))
    found = [total[m : m + setting.steps] / (1 - rule.betas[0] ** (m + 1)) for m in beyond]
    least: Array = np.min(found, axis=0) / setting.horizons
    return least


def _total(setting: Setting) -> Array:
    """H for K' = 1 … steps, shape (steps,)."""
    rule = setting.algorithm.state_full
    assert isinstance(rule, AdamW)
    sums, alpha, smooth, kappa = adam_sums(setting, setting.steps), setting.alpha, setting.smoothness, _scale(setting)
    first, k, signs = rule.betas[0], setting.horizons, _signs(setting)
    outside = {name: np.asarray(variance) for name, variance in setting.variance.items()}
    diagonal = setting.coordinate_smoothness
    curved = sums.curved
    if signs:
        curved = curved + kappa**2 * k * off_set(setting, {name: np.asarray(value) for name, value in diagonal.items()})
        moved = kappa**2 * k * off_set(setting, {name: np.ones(shape) for name, shape in setting.shapes.items()})
        floor = sign_loss(setting) * kappa * k * off_set(setting, {name: np.sqrt(v) for name, v in outside.items()})
    else:
        moved, floor = kappa**2 * k * off_set(setting, outside), np.zeros_like(k)
        curved = curved + smooth * moved if kappa == 0 or flat(diagonal).max() <= smooth else np.full_like(k, np.inf)
    # of uᵀ∇²f u: all of it by the L_j, or all of it by L. The L_j on the set with L < L_j off it would bound nothing
    constant = setting.gap / alpha + alpha / 2 * np.minimum(curved, smooth * (sums.updates + moved)) + floor
    lag = alpha * smooth * np.sqrt(first / (1 - first) * sums.lagged)
    of_squares = 0.0 if signs else kappa  # (u_j)² is κ²g_j² and noise under SGD: κ times what the metric counts
    divisor = 1 - alpha * smooth * of_squares / 2

    def larger(h: Array) -> Array:
        lost = np.sqrt(sums.noise * harmonic(h, sums.spread))
        found: Array = constant + lag * np.sqrt(sums.updates + moved + of_squares * h) + lost
        return found / divisor

    flat_part = (constant + lag * np.sqrt(sums.updates + moved)) / divisor
    return largest_below(flat_part, (lag * math.sqrt(of_squares) + np.sqrt(sums.noise)) / divisor, larger)


def adam_rule(setting: Setting) -> str | None:
    """Why the state-full rule is not Adam with β₁ = 0 or β₁ < β₂, or None if it is."""
    full = setting.algorithm.state_full
    if not isinstance(full, AdamW):
        return f'the state-full rule is "{full.rule}", not "adamw"'
    first, second = full.betas
    return None if first == 0 or first < second else f"β₁ = {first:g} is not below β₂ = {second:g}"


def off_the_sets(setting: Setting) -> str | None:
    """Why the setting is not one of oblivious sets of coordinates, with signsgd, sgd or none off them; None if it is."""
    algorithm, runs = setting.algorithm, setting.runs
    if algorithm.weight_decay:
        return f"weight_decay = {algorithm.weight_decay:g} changes the objective"
    if runs is None:
        return None  # premise P6 says so
    if runs.empty:
        return "nothing is in the set"
    if not runs.full and algorithm.state_free.rule not in ("signsgd", "sgd", "none"):
        return f'the state-free rule is "{algorithm.state_free.rule}", not "signsgd", "sgd" or "none"'
    if runs.law == "turning" or (algorithm.subspace == "eigen" and not runs.full):
        return f'subspace "{algorithm.subspace}" is not a set of coordinates'
    if runs.law != "fixed" and algorithm.off_set_momentum != "reset":
        return f'off_set_momentum = "{algorithm.off_set_momentum}" carries state across the set; only "reset" is covered'
    return None


def no_bound(setting: Setting) -> str | None:
    """Why there is no bound of the stochastic gradients, or None if one is declared."""
    if setting.gradient_bound is not None:
        return None
    return "the stochastic gradients are not known to be bounded: the noise declares no bound for this problem"


def _signs(setting: Setting) -> bool:
    return setting.algorithm.state_free.rule == "signsgd"


def _scale(setting: Setting) -> float:
    """κ; 0 where nothing is off the set, or nothing is done there."""
    free = setting.algorithm.state_free
    return 0.0 if free.rule == "none" or known_law(setting).full else free.lr_scale


def _leaks(setting: Setting, first: float) -> RunLengths:
    """The law of the set as if its rule were SGDM with β = β₁: what of a gradient is never applied is the same."""
    algorithm = setting.algorithm.model_copy(update={"state_full": Sgdm(beta=first)})
    return replace(known_law(setting), algorithm=algorithm)


def _extensions(first: float) -> list[int]:
    """Values of m from 0 on."""
    if first == 0:
        return [0]
    longest = math.ceil(math.log(LEAST_MISSED) / math.log(first))
    return [0, *np.unique(np.geomspace(1, longest, EXTENSIONS).astype(int)).tolist()]
