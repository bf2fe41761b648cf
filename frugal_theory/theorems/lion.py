"""Lion on the momentum set, signSGD or nothing off it."""

from __future__ import annotations

import math

import numpy as np

from frugal_theory.algorithm.rules import Lion as Rule
from frugal_theory.metrics import HybridOneNorm, Metric
from frugal_theory.theorems.adam_hybrid import off_the_sets
from frugal_theory.theorems.adaptive import flat
from frugal_theory.theorems.ages import expected_over_ages, flat_share, scheduled_ages
from frugal_theory.theorems.averages import known_law, running
from frugal_theory.theorems.setting import Array, Setting
from frugal_theory.theorems.signsgd_sharp import needs_shape, sign_loss
from frugal_theory.theorems.theorem import Shown

__all__ = ["Lion"]


class Lion(Shown):
    """The bound of ``docs/theory/adaptive.md``, section "Lion on the set", proved there.

    For every α > 0 and any oblivious sets of coordinates whose momentum is thrown away when they leave, with the age a of a
    coordinate in the set, ρ = 1 − β₁β₂^{a−1}, q² = (1−β₂)/(1+β₂)·(1 − β₂^{2(a−1)}), λ = (1 − β₂^{a−1})/(1−β₂) − (a−1)β₂^{a−1}::

        avg E[ Σ_{j∈J} |g_j| + κ Σ_{j∉J} |g_j| ] ≤ Δ/(Kα) + (α/2) avg E Σ L_j u_j² + avg E[ Σ_J n σ_j + cκ Σ_{∉J} σ_j ]
                                            + 2αβ₁ avg √( λ_k · ΣL_j u_j² · E Σ_J L_j λ/ρ² )

    with n = min(c(1−β₁) + 2β₁q, 2√((1−β₁)² + β₁²q²))/ρ and c of ``signsgd_sharp``; λ_k is λ at age k, and ΣL_j u_j² at its
    largest. On everything, in the long run: Δ/(Kα) + αΣL_j(1/2 + 2β₁/(1−β₂)) + nΣσ_j. β₁ = 0 is signSGD. Upper bound.

    >>> from frugal_theory.testing import measured_and_bound
    >>> measured_and_bound("lion", density=1.0, state_full="lion", learning_rate=0.01)
    (0.755, 1.21)
    """

    name = "lion"
    title = "Hybrid theorem: Lion on the set, signSGD off it"
    short_name = "hybrid theorem, Lion"
    label = "Lion"
    source = "proved here (docs/theory/adaptive.md)"
    statement = (
        "avg E[Σ_J|g| + κΣ_{∉J}|g|] ≤ Δ/(Kα) + (α/2)avg ΣLu² + avg[Σ_J nσ + cκΣ_{∉J}σ] + 2αβ₁ avg √(λ_k ΣLu² Σ_J Lλ/ρ²)"
        "   for α > 0; long runs on everything: Δ/(Kα) + αΣL(1/2 + 2β₁/(1−β₂)) + nΣσ"
    )
    formula = (
        r"\operatorname{avg}\mathbb{E}\Bigl[\sum_J\lvert g\rvert +\kappa\sum_{\notin J}\lvert g\rvert \Bigr]"
        r"\le\frac{\Delta}{K\alpha}+\frac{\alpha}{2}\operatorname{avg}\sum Lu^2+\operatorname{avg}\Bigl["
        r"\sum_Jn\sigma+c\kappa\sum_{\notin J}\sigma\Bigr]+2\alpha\beta_1\operatorname{avg}\sqrt{\lambda_k"
        r"\sum Lu^2\sum_J\frac{L\lambda}{\rho^2}}"
        "\n"
        r"\text{for }\alpha>0;\text{ long runs on everything: }\frac{\Delta}{K\alpha}+\alpha\sum L\Bigl(\frac{1}{2}"
        r"+\frac{2\beta_1}{1-\beta_2}\Bigr)+n\sum\sigma"
    )
    explicit = True
    premises = "P1 for every coordinate, −D ⪯ ∇²f ⪯ D; P2–P6; noise that is symmetric and unimodal where it says so"
    metric = "hybrid_one_norm"

    def covers(self, setting: Setting) -> str | None:
        """Lion on oblivious sets of coordinates in the reading "reset"; signsgd or none off them."""
        full, free = setting.algorithm.state_full, setting.algorithm.state_free
        if not isinstance(full, Rule):
            return f'the state-full rule is "{full.rule}", not "lion"'
        if free.rule == "sgd" and not (setting.runs is not None and setting.runs.full):
            return 'the state-free rule is "sgd", not "signsgd" or "none"'
        return off_the_sets(setting)

    def needs(self, setting: Setting) -> tuple[str, ...]:
        """P1 for every coordinate, and the shape of the noise where the constant makes use of it."""
        return ("coordinate_smoothness", *needs_shape(setting))

    def largest_step(self, setting: Setting) -> tuple[float, bool]:  # noqa: ARG002
        """Any step is admitted."""
        return math.inf, False

    def measure(self, setting: Setting) -> Metric:
        """Σ_J |g| + κ Σ_{∉J} |g|."""
        return HybridOneNorm(_scale(setting))

    def bound(self, setting: Setting) -> Array:
        """The right-hand side, shape (steps,)."""
        rule, runs, steps = setting.algorithm.state_full, known_law(setting), setting.steps
        assert isinstance(rule, Rule)
        first, kappa, alpha, loss = rule.betas[0], _scale(setting), setting.alpha, sign_loss(setting)
        noisy, late, lag = _by_age(*rule.betas, loss, steps)
        curvature, deviation = flat(setting.coordinate_smoothness), np.sqrt(flat(setting.variance))
        share = scheduled_ages(runs, steps) if runs.law == "scheduled" else flat_share(runs)[:, None]
        _, kinds, of = np.unique(share, axis=0, return_index=True, return_inverse=True)
        signs, moved, lagged = np.zeros(steps), np.zeros(steps), np.zeros(steps)
        for kind, j in enumerate(kinds):
            alike = of.ravel() == kind
            member = share[j] if runs.law == "scheduled" else float(share[j, 0])
            curved, spread = float(curvature[alike].sum()), float(deviation[alike].sum())

            def of_age(values: Array, member: float | Array = member) -> Array:
                return expected_over_ages(values, member, runs.law, setting.algorithm.update_gap)

            inside = of_age(np.ones(steps))
            signs += spread * (of_age(noisy) + loss * kappa * (1 - inside))
            moved += curved * (inside + kappa**2 * (1 - inside))
            lagged += curved * of_age(late)
        # the largest Σ L_j u_j² that any step has: of sets that change, with every coordinate on its larger side
        largest = moved if runs.law == "fixed" else np.full(steps, float(curvature.sum()) * max(1.0, kappa**2))
        drift = 2 * alpha * first * np.sqrt(lag * largest * lagged)
        return setting.gap / (setting.horizons * alpha) + running(alpha / 2 * moved + signs + drift)


def _by_age(first: float, second: float, loss: float, steps: int) -> tuple[Array, Array, Array]:
    """n, λ/ρ² and λ at the ages 1 … ``steps``, shape (steps,) each."""
    before = np.arange(steps, dtype=float)
    decayed = second**before
    kept = 1 - first * decayed
    past = np.sqrt((1 - second) / (1 + second) * (1 - decayed**2))
    one_by_one = loss * (1 - first) + 2 * first * past
    together = 2 * np.sqrt((1 - first) ** 2 + (first * past) ** 2)
    lag = (1 - decayed) / (1 - second) - before * decayed
    return np.minimum(one_by_one, together) / kept, lag / kept**2, lag


def _scale(setting: Setting) -> float:
    """κ; 0 where nothing is done off the set, or nothing is off it."""
    free = setting.algorithm.state_free
    return 0.0 if free.rule == "none" or known_law(setting).full else free.lr_scale
