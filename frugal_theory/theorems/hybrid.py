"""The hybrid theorem: SGDM on the momentum set, signSGD off it, which is what practice runs."""

from __future__ import annotations

import numpy as np

from frugal_theory.algorithm.rules import Sgdm
from frugal_theory.metrics import HybridNorm, Metric
from frugal_theory.theorems.averages import known_law, off_set, running
from frugal_theory.theorems.setting import Array, Setting
from frugal_theory.theorems.theorem import Shown

__all__ = ["Hybrid"]


class Hybrid(Shown):
    """The bound of ``docs/theory/signs.md``, section "The hybrid theorem", proved there.

    With W as in the run-length theorem, κ the state-free ``lr_scale``, d_k the number of coordinates off J_k and
    φ = 1 − Lα(1/2 + 2β/(1−β)) > 0, for any oblivious sets of coordinates::

        avg E[ φ Σ_{j∈J_k} W g_j² + κ Σ_{j∉J_k} |g_j| ]
            ≤ Δ/(Kα) + (Lα/2)( (1+3β)/(1+β) avg E Σ_{j∈J_k} W²σ_j² + κ²(1+β)/(1−β) avg E d_k ) + 2κ avg E Σ_{j∉J_k} σ_j

    If J_k is always empty the β terms vanish, and this is signSGD with L for every coordinate. Upper bound.

    >>> from frugal_theory.testing import measured_and_bound
    >>> measured_and_bound("hybrid", density=0.5, subspace="coordinates", state_free="signsgd", learning_rate=0.01)
    (0.679, 1.15)
    """

    name = "hybrid"
    title = "Hybrid theorem: SGDM on the set, signSGD off it"
    short_name = "hybrid theorem"
    label = "hybrid"
    source = "proved here (docs/theory/signs.md)"
    statement = (
        "avg E[φΣ_J W g² + κΣ_{∉J}|g|] ≤ Δ/(Kα) + (Lα/2)((1+3β)/(1+β) avg Σ_J W²σ² + κ²(1+β)/(1−β) avg d_k)"
        " + 2κ avg Σ_{∉J}σ   for φ = 1 − Lα(1/2 + 2β/(1−β)) > 0"
    )
    formula = (
        r"\operatorname{avg}\mathbb{E}\Bigl[\varphi\sum_JWg^2+\kappa\sum_{\notin J}\lvert g\rvert \Bigr]"
        r"\le\frac{\Delta}{K\alpha}+\frac{L\alpha}{2}\Bigl(\frac{1+3\beta}{1+\beta}\operatorname{avg}"
        r"\sum_JW^2\sigma^2+\frac{\kappa^2(1+\beta)}{1-\beta}\operatorname{avg}d_k\Bigr)"
        r"+2\kappa\operatorname{avg}\sum_{\notin J}\sigma"
        "\n"
        r"\text{for }\varphi=1-L\alpha\Bigl(\frac{1}{2}+\frac{2\beta}{1-\beta}\Bigr)>0"
    )
    explicit = True
    metric = "hybrid_norm"

    def covers(self, setting: Setting) -> str | None:
        """SGDM on oblivious sets of coordinates in the reading "reset", signsgd off them."""
        algorithm, runs = setting.algorithm, setting.runs
        if algorithm.weight_decay:
            return f"weight_decay = {algorithm.weight_decay:g} changes the objective"
        if not isinstance(algorithm.state_full, Sgdm) and not (runs is not None and runs.empty):
            return f'the state-full rule is "{algorithm.state_full.rule}", not "sgdm"'
        if algorithm.state_free.rule != "signsgd" or algorithm.state_free.lr_scale == 0:
            return f'the state-free rule is "{algorithm.state_free.rule}", not "signsgd"'
        if runs is None:
            return None  # premise P6 says so
        if runs.law == "turning" or (algorithm.subspace == "eigen" and not (runs.full or runs.empty)):
            return f'subspace "{algorithm.subspace}" is not a set of coordinates'
        if runs.law != "fixed" and algorithm.off_set_momentum != "reset":
            return f'off_set_momentum = "{algorithm.off_set_momentum}" carries momentum across the set; only "reset" is covered'
        return None

    def largest_step(self, setting: Setting) -> tuple[float, bool]:
        """Where φ = 0, itself not admitted."""
        return 1 / (setting.smoothness * self.divisor(setting.beta)), False

    def divisor(self, beta: float) -> float:
        """(1 − φ)/(Lα) = 1/2 + 2β/(1−β)."""
        return 0.5 + 2 * beta / (1 - beta)

    def factors(self, setting: Setting) -> tuple[float, float, float]:
        """What multiplies (Lα/2) avg Σ_J W²σ², (Lα/2) κ² avg d_k and κ avg Σ_{∉J} σ."""
        beta = setting.beta
        return (1 + 3 * beta) / (1 + beta), (1 + beta) / (1 - beta), 2.0

    def measure(self, setting: Setting) -> Metric:
        """φ Σ_J W g² + κ Σ_{∉J} |g|."""
        phi = 1 - setting.smoothness * setting.alpha * self.divisor(setting.beta)
        return HybridNorm(phi, setting.algorithm.state_free.lr_scale)

    def bound(self, setting: Setting) -> Array:
        """The right-hand side, shape (steps,)."""
        alpha, kappa = setting.alpha, setting.algorithm.state_free.lr_scale
        inside = running(known_law(setting).noise(setting.variance, setting.steps)[1])
        count = off_set(setting, {name: np.ones(shape) for name, shape in setting.shapes.items()})
        deviation = off_set(setting, {name: np.sqrt(variance) for name, variance in setting.variance.items()})
        on_noise, curvature, signs = self.factors(setting)
        quadratic = setting.smoothness * alpha / 2 * (on_noise * inside + curvature * kappa**2 * count)
        return setting.gap / (setting.horizons * alpha) + quadratic + signs * kappa * deviation
