"""Second moments known beforehand: how large the average of one trial can be, in the square mean, from constants alone.

No number of trials shows that an expectation is *below* a bound unless something is known of rare large values. Here it follows
from L, Δ, σ_j² and the kurtosis q of the noise, E‖ξ‖⁴ ≤ qσ⁴ given the past: the descent inequality of a theorem holds
along every single run, so its square mean is bounded as its mean is (``docs/theory/statistics.md``). Three
families have one; steps that cannot exceed a size bound the gradient itself by how far x can have come.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from frugal_theory.evidence.ceilings import PLAIN, WEIGHTED, average_of, first_norm, flat, largest, reach
from frugal_theory.instance import Instance
from frugal_theory.metrics import (
    METRICS,
    HybridNorm,
    Metric,
    RegularisedNorm,
    SignNorm,
)
from frugal_theory.problems.noise import has_mean_zero
from frugal_theory.theorems.held_sets import smallest_weight
from frugal_theory.theorems.independent_sampling import smallest_mean_weight
from frugal_theory.theorems.setting import Setting
from frugal_theory.theorems.sgd_weight_decay import decay, regularised
from frugal_theory.theorems.signsgd_sharp import sign_loss
from frugal_theory.theorems.theorem import off_the_family

__all__ = ["Known", "known_squares"]

Array = NDArray[np.float64]
Arrays = Mapping[str, Array]


@dataclass(frozen=True)
class Known:
    """What is known of the average x_k of one trial up to step k: E x_k² ≤ ``square``, x_k ≤ ``ceiling``, shape (steps,).

    Infinite where nothing is. ``how``: from what, or what is missing, as the end of a sentence.
    """

    square: Array
    ceiling: Array
    how: str

    def against(self, bound: Array, at: NDArray[np.int64]) -> Array:
        """V for the horizons with 0-based numbers ``at``: E x'² ≤ V for every x' ≤ x with E x' = ``bound``."""
        most = np.where(bound > 0, self.ceiling[at] * np.where(bound > 0, bound, 1.0), np.inf)
        return np.minimum(self.square[at], most)


def known_squares(
    instance: Instance, metric: Metric, kurtosis: float | None, *, exact_over_noise: bool = False, bounded: bool = False
) -> Known:
    """What is known of the running averages of a metric.

    ``kurtosis``: q with E‖ξ‖⁴ ≤ qσ⁴ given the past, None if it is not known. ``exact_over_noise``: a trial is one of the sets
    alone, its average an expectation over the noise. ``bounded``: whether gradients are known to keep their declared bound.
    """
    setting, name = instance.setting, _kind(metric)
    if not has_mean_zero(instance.noise):  # what a noise of one's own says of itself may not have been tested
        setting = setting.having(symmetric_unimodal=False, uncorrelated=False)
        instance = replace(instance, setting=setting)
    nothing = np.full(setting.steps, np.inf)
    if setting.runs is None:
        return Known(nothing, nothing, "the selection depends on the noise")
    ceiling, reached = reach(instance, name, metric)
    if bounded and (most := largest(setting, name, metric)) is not None:
        ceiling, reached = np.minimum(ceiling, most), True
    noise = _Noise.of(setting, kurtosis, exact_over_noise)
    if noise is None:
        how = "neither the noise, by a method kurtosis(problem), nor its draws bound its fourth moment"
        return Known(nothing, ceiling, "steps or gradients have a largest size" if reached else how)
    with np.errstate(all="ignore"):
        linear = _momentum(setting, name, noise), _sets(setting, name, noise), _decayed(setting, metric, noise)
        other = _signs(setting, name, metric, noise), _growth(instance, name, metric, noise)
        square = np.min([nothing, *(root for root in (*linear, *other) if root is not None)], axis=0) ** 2
    square = np.where(np.isnan(square), np.inf, square)
    if np.isfinite(square).all():
        how = "the descent inequality along a run"
    elif reached:
        how = "steps or gradients have a largest size"
    else:
        how = "no theorem bounds a single trial of this metric, algorithm and step size"
    return Known(square, ceiling, how)


def _kind(metric: Metric) -> str:
    """The name of a metric of this package; "" for any other, whatever it is called."""
    if type(metric) is SignNorm:
        return "sign_norm"
    return next((name for name in (PLAIN, WEIGHTED, "gradient_one_norm") if metric is METRICS[name]), "")


@dataclass(frozen=True)
class Part:
    """Coordinates on the momentum set, or off it: each with its ``share`` of the draws, of which one lasts ``gap`` steps."""

    share: Array
    gap: float = 0.0

    def mean(self, values: Array) -> float:
        """E Σ_j v_j over the part."""
        return float(values @ self.share)

    def average(self, values: Array, steps: Array) -> Array:
        """‖avg Σ_j v_j‖ over the parts of k steps, in the square mean, whatever the joint law of one draw."""
        mean, most = self.mean(values), float(values @ (self.share > 0))
        return np.sqrt(mean**2 + mean * (most - mean) * np.minimum(1.0, self.gap / steps))

    def products(self, values: Array, steps: Array) -> Array:
        """The sum of E S_i S_l over k steps i ≠ l, over k², S_i = Σ_j v_j over the part of step i."""
        mean, most = self.mean(values), float(values @ (self.share > 0))
        together = np.clip(self.gap - 1, 0.0, steps - 1)  # other steps of the same draw
        return np.asarray((mean**2 * (steps - 1) + mean * (most - mean) * together) / steps)


def _parts(setting: Setting) -> tuple[Part, Part]:
    """The coordinates that may be on the momentum set, and those that may be off it."""
    runs = setting.runs
    assert runs is not None
    count = flat(setting, setting.variance).size
    if runs.law in ("scheduled", "turning") or setting.algorithm.subspace == "eigen":
        return Part(np.full(count, float(not runs.empty))), Part(np.full(count, float(not runs.full)))
    share = flat(setting, runs.share)
    gap = float(setting.algorithm.update_gap) if runs.law == "redrawn" else 0.0
    return Part(share, gap), Part(1 - share, gap)


@dataclass(frozen=True)
class _Noise:
    """σ_j² as a vector (d,), q, ``along``: the largest variance in any direction, and whether the noise is averaged out."""

    variance: Array
    kurtosis: float
    along: float
    averaged: bool

    @classmethod
    def of(cls, setting: Setting, kurtosis: float | None, averaged: bool) -> _Noise | None:
        variance = flat(setting, setting.variance)
        if averaged or not np.any(variance):
            kurtosis = 1.0
        if kurtosis is None or not math.isfinite(kurtosis) or not np.isfinite(variance).all():
            return None
        kurtosis = max(1.0, kurtosis)  # draws may show less where the declared variance is not attained
        along = float(variance.max() if setting.constants.uncorrelated else variance.sum())
        return cls(variance, kurtosis, along, averaged)

    def squares(self, part: Part, steps: Array) -> Array:
        """‖avg Q_i‖, Q_i = Σ_j ξ_j² over the coordinates of ``part``, in the square mean.

        Given the parts, E Q_i Q_l ≤ S_i S_l for i ≠ l, S_i = Σ_j σ_j²; and E Q_i² ≤ qσ⁴, be it all in what is in every part.
        """
        if self.averaged:
            return part.average(self.variance, steps)
        total = float(self.variance.sum())
        return np.sqrt(part.products(self.variance, steps) + self.kurtosis * total**2 / steps)

    def drift(self, length: Array, steps: Array) -> Array:
        """‖avg ⟨ξ, v⟩‖ for v settled by the past with avg E‖v‖² ≤ ``length``."""
        return np.zeros_like(steps) if self.averaged else np.sqrt(self.along * length / steps)


# --- SGDM on everything, and SGD: the Lyapunov function of sgdm_sharp --------------------------------------------------


def _momentum(setting: Setting, name: str, noise: _Noise) -> Array | None:
    """√E x² for ‖g‖² under SGD and SGDM, 0 < Lα ≤ 1 + β (the proof of sgdm_sharp, along one run)."""
    plain = name == PLAIN or (name == WEIGHTED and not (setting.runs and setting.runs.empty))
    if not plain or not (setting.is_sgd or setting.is_sgdm):
        return None
    smoothness, steps = setting.smoothness, setting.horizons
    beta = 0.0 if setting.is_sgd else setting.beta
    a = smoothness * setting.alpha * (setting.sgd_scale if setting.is_sgd else 1.0)
    if not 0 < a <= 1 + beta:
        return None
    shared = 1 + 2 * beta * a / (1 - beta**2)
    p = (a * beta / (1 - beta)) ** 2 / (2 * shared)
    lag = a * beta / (1 - beta) - (a**2 * beta / (1 - beta) ** 2 / shared)
    c, n = a * (1 - a * (1 - beta) / (2 * (1 + beta))) / shared, a**2 / (2 * shared)
    square = (1 + beta) ** 2 / (4 * (2 * a * beta + 1 - beta**2))
    curved = (1 + 2 * lag / a) * a**2 / 4 + p + square * a**2
    on_momentum = 2 * beta * (1 - beta) * curved
    on_gradient = a * (1 - beta) / 2 + 2 * square * a * (1 - beta) - 2 * (1 - beta) ** 2 * curved
    everything = Part(np.ones_like(noise.variance))
    total = float(noise.variance.sum())
    transient = smoothness * setting.gap / steps
    gradients = (transient + n * total) / c
    momenta = (1 - beta) * total + gradients
    drift = noise.drift(2 * on_momentum**2 * momenta + 2 * on_gradient**2 * gradients, steps)
    return np.asarray((transient + n * noise.squares(everything, steps) + drift) / c)


def _decayed(setting: Setting, metric: Metric, noise: _Noise) -> Array | None:
    """√E x² for ‖∇f + λx‖² under SGD with weight decay, which is SGD on f + (λ/2)‖x‖² with the same noise."""
    if type(metric) is not RegularisedNorm or setting.constants.squared_start is None or metric.decay != decay(setting):
        return None
    return _momentum(regularised(setting), PLAIN, noise)


# --- Algorithm 2: the auxiliary sequence of the run-length theorem -----------------------------------------------------


def _sets(setting: Setting, name: str, noise: _Noise) -> Array | None:
    """√E x² for ‖g‖² and ‖g‖²_W under Algorithm 2 with sets of any law, where Lα(1/2 + β/(1−β)) < 1."""
    free, runs = setting.algorithm.state_free, setting.runs
    assert runs is not None
    if name not in (PLAIN, WEIGHTED) or off_the_family(setting) or (free.rule == "sgd" and free.lr_scale > 1):
        return None
    beta, steps, a = setting.beta, setting.horizons, setting.smoothness * setting.alpha
    room = 1 - a * (1 + beta) / (2 * (1 - beta))
    if not room > 0:
        return None
    (inside, _), everything = _parts(setting), Part(np.ones_like(noise.variance))
    lag = a * beta / (1 - beta)
    held, transient = inside.mean(noise.variance), setting.gap / (steps * setting.alpha)
    weighted = (transient + a / 2 * (float(noise.variance.sum()) + beta * held)) / room
    quadratic = a / 2 * noise.squares(everything, steps) + lag / 2 * (1 - beta) * noise.squares(inside, steps)
    root = (transient + quadratic + noise.drift(_length(weighted, held, lag, beta), steps)) / room
    expected = runs.law == "redrawn" and beta > 0
    if expected:
        root = 2 * root  # W is measured as it is expected: ‖Σ E[y_k | past]‖ ≤ 2‖Σ y_k‖ in the square mean, for y ≥ 0
    return root if name == WEIGHTED else root / _least_weight(setting, expected)


def _length(gradients: Array, held: float, lag: float, beta: float) -> Array:
    """avg E‖v‖² of what stands beside ξ in the descent inequality of a run, over α; ``gradients``: avg E‖g‖²_W.

    v = (LαW − 1)Wg − W(∇f(z) − g) + ℓW²(βm + (1−β)g), the last from m² along a run: (βm + (1−β)(g + ξ))² is at most βm² +
    (1−β)g² + (1−β)²ξ² + 2(1−β)⟨βm + (1−β)g, ξ⟩.
    """
    momenta = (1 - beta) * held + gradients
    own = lag * np.sqrt(beta * momenta + (1 - beta) * gradients)
    return np.asarray((np.sqrt(gradients) + lag * np.sqrt(momenta) + own) ** 2)


def _least_weight(setting: Setting, expected: bool) -> Array:
    """What ‖g‖² is at least multiplied by in ‖g‖²_W, shape (steps,), 0 where nothing moves.

    Of sets drawn at every step that is E[W | past], too: ‖Σ E[y_k | past]‖ ≤ 2‖Σ y_k‖, y = ‖g‖²_W. ``expected``: whether
    this 2 has been paid already.
    """
    runs, least = setting.runs, smallest_weight(setting)
    assert runs is not None
    if runs.law == "redrawn" and setting.algorithm.update_gap == 1:
        return np.maximum(least, smallest_mean_weight(setting) / (1 if expected else 2))
    return least


# --- a few steps: how far the gradient can have grown --------------------------------------------------------------------


def _growth(instance: Instance, name: str, metric: Metric, noise: _Noise) -> Array | None:
    """√E x² under SGDM on any sets and SGD, signs or nothing off them, at any step, through ‖gᵏ‖₄, the root of the fourth mean:

    ‖gᵏ⁺¹‖₄ ≤ ‖g¹‖ + Lα(Σ_{i≤k} ‖gⁱ‖₄ + ‖Σ wⁱξⁱ‖₄ + kκ√d) with weights wⁱ ≤ 1, the last term for signs. At k = 1 it is ‖g¹‖²
    itself; it is of use for few steps.
    """
    from frugal_theory.theorems import THEOREMS

    setting = instance.setting
    free, signs = setting.algorithm.state_free, THEOREMS["hybrid"].covers(setting) is None
    if not signs and (off_the_family(setting) or (free.rule == "sgd" and free.lr_scale > 1)):
        return None
    if name == WEIGHTED and setting.runs is not None and setting.runs.off_set_weight > 1:
        return None
    first, count = first_norm(instance), noise.variance.size
    spread = 1.0 if noise.averaged else max(4.0, 3 * noise.kurtosis)
    a, scatter = setting.smoothness * setting.alpha, spread**0.25 * math.sqrt(float(noise.variance.sum()))
    signed = free.lr_scale * math.sqrt(count) if signs else 0.0
    norms, total = np.full(setting.steps, np.inf), 0.0
    for k in range(setting.steps):
        norms[k] = first + a * (total + scatter * math.sqrt(k) + signed * k)
        total += norms[k]
        if not math.isfinite(total):
            break
    return average_of(norms, setting, name, metric)


# --- SGDM on the set and signSGD off it --------------------------------------------------------------------------------


def _signs(setting: Setting, name: str, metric: Metric, noise: _Noise) -> Array | None:
    """√E x² for the norms of the hybrid theorem and of signSGD; in the mean over the noise it is the theorem's own bound."""
    from frugal_theory.theorems import THEOREMS

    hybrid, runs = THEOREMS["hybrid_sharp"], setting.runs
    assert runs is not None
    if hybrid.covers(setting) is not None:
        return None
    by_sign = runs.empty and name in ("gradient_one_norm", "sign_norm")
    if not by_sign and type(metric) is not HybridNorm:
        return None
    kappa, beta, steps = setting.algorithm.state_free.lr_scale, setting.beta, setting.horizons
    a, (inside, outside) = setting.smoothness * setting.alpha, _parts(setting)
    floor = 0.0 if _by_deviation(setting, metric) and setting.symmetric_unimodal else sign_loss(setting) * kappa
    deviation, ones = np.sqrt(noise.variance), np.ones_like(noise.variance)
    count, loss = outside.average(ones, steps), floor * outside.average(deviation, steps)
    if not noise.averaged:  # a wrong sign costs 2|g_j| ≤ 2|ξ_j|, and in the mean the floor
        loss = np.sqrt(loss**2 + (2 * kappa * float(deviation @ (outside.share > 0))) ** 2 / steps)
    transient = setting.gap / (steps * setting.alpha)
    if runs.empty:
        curvature = min(setting.smoothness * ones.sum(), float(flat(setting, setting.coordinate_smoothness).sum()))
        root = transient + setting.alpha * kappa**2 * curvature / 2 + loss
        return root / kappa * (1.0 if by_sign else _scale(metric))
    assert isinstance(metric, HybridNorm)
    lag, held = a * beta / (1 - beta), inside.mean(noise.variance)
    phi = 1 - a / 2 - lag
    if not phi > 0:
        return None
    curvature, mean_loss = kappa**2 * outside.mean(ones), floor * outside.mean(deviation)
    bound = transient + a / 2 * ((1 + beta) * held + curvature / (1 - beta)) + mean_loss
    quadratic = a / 2 * (noise.squares(inside, steps) + kappa**2 * count) + lag / 2 * (1 - beta) * noise.squares(inside, steps)
    drift = noise.drift(_length(bound / phi, held, lag, beta), steps)
    root = (transient + quadratic + lag / 2 * kappa**2 * count + loss + drift) * max(
        1.0, metric.phi / phi, metric.scale / kappa
    )
    return 2 * root if runs.law == "redrawn" and beta > 0 else root


def _scale(metric: Metric) -> float:
    assert isinstance(metric, HybridNorm)
    return metric.scale


def _by_deviation(setting: Setting, metric: Metric) -> bool:
    """Whether the metric has |g|h(|g|/s) for |g|, with s at least the declared deviation; h falls as s grows."""
    deviation = metric.deviation if type(metric) in (HybridNorm, SignNorm) else None  # type: ignore[attr-defined]
    return deviation is not None and all(
        bool(np.all(deviation[key] >= np.sqrt(variance) * (1 - 1e-12))) for key, variance in setting.variance.items()
    )
