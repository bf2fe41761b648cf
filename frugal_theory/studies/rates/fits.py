"""Rates: exponents fitted to exact expectations on quadratics, each with an interval, against what theory predicts.

Evidence is exact, so a fitted exponent has no sampling error; it has the error of its model. A power law holds in a limit
only, so ``_exponent`` fits log y = c + p log x + b₁s + b₂s², with s the quantity that vanishes in the limit. The interval is
p ± the largest of three errors: by how much p changes without b₂, Student's t times the fit's standard error, and 0.001.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from frugal_theory.algorithm.rules import Sgdm
from frugal_theory.config import Experiment, Quadratic
from frugal_theory.config.changing import changing
from frugal_theory.config.load import ExperimentError
from frugal_theory.evidence.exact.diagonal import redrawn
from frugal_theory.evidence.exact.linear import updates
from frugal_theory.instance import setting_of
from frugal_theory.theorems.interpolation import asymptotic_rate
from frugal_theory.theorems.theorem import published_step

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FITS", "Law", "RateFit", "law_of", "rates"]

Array = NDArray[np.float64]

CONFIDENCE = 0.99

SMALLEST_ERROR = 1e-3
"""No exponent is claimed to be known better: terms beyond s² are not fitted. The same for a linear rate, relative."""

RESOLUTION = 0.05
"""An interval wider than this on either side of its estimate decides nothing."""

CONDITION = 10.0
"""Condition number of the spectrum where the noise floor and the linear rates are measured."""


@dataclass(frozen=True)
class RateFit:
    """One fitted rate. ``verdict``: "agrees" if the interval has the predicted number in it, "inconclusive" if it is wide.

    ``data``: the numbers behind it, a list of (x, y).
    """

    name: str
    what: str
    predicted: float
    estimate: float
    lower: float
    upper: float
    verdict: Literal["agrees", "differs", "inconclusive"]
    data: tuple[tuple[float, float], ...] = field(repr=False, default=())

    def frame(self) -> pd.DataFrame:
        """Tidy table: a row a point of the fit."""
        import pandas as pd

        x, y = np.array(self.data).T
        facts = {key: getattr(self, key) for key in ("name", "predicted", "estimate", "lower", "upper", "verdict")}
        return pd.DataFrame({**facts, "x": x, "y": y})


@dataclass(frozen=True)
class Law:
    """What the fits keep of an experiment: L, Σσ_j², β, T, ρ, and the largest published step."""

    smoothness: float
    variance: float
    beta: float
    gap: int
    density: float

    @property
    def largest_step(self) -> float:
        """(1−β)/(L(4−β+β²))."""
        return published_step(self.smoothness, self.beta)

    def gradients(
        self,
        eigenvalues: ArrayLike,
        alpha: float,
        steps: int,
        *,
        start: ArrayLike = 0.0,
        variance: ArrayLike = 0.0,
        share: ArrayLike | None = None,
    ) -> Array:
        """E Σ (g_jᵏ)² for k = 1 … steps, coordinates drawn with probability ρ every T steps."""
        share = self.density if share is None else share
        linear = updates(alpha, self.beta)
        return redrawn(eigenvalues, variance, start, share, linear, steps=steps, update_gap=self.gap)[0]


def rates(experiment: Experiment, *, progress: Callable[[str], None] | None = None) -> list[RateFit]:
    """Fit every rate for the experiment's β, T, ρ, L and σ².

    Raises ExperimentError for what is not Algorithm 2 on a quadratic. ``progress(name)`` is called after each fit.
    """
    law = law_of(experiment)
    fits = []
    for fit in FITS.values():
        found = fit(law)
        fits.append(found)
        if progress is not None:
            progress(found.name)
    return fits


def law_of(experiment: Experiment) -> Law:
    """What the fits keep of an experiment. Raises ExperimentError for what is not Algorithm 2, with coordinates drawn every T
    steps, on a quadratic."""
    algorithm, problem = experiment.algorithm, experiment.problem
    if not isinstance(problem, Quadratic) or not isinstance(algorithm.state_full, Sgdm):
        raise ExperimentError(f'{experiment.name}: rates: problem.kind = "quadratic" and state_full.rule = "sgdm" are needed')
    if algorithm.state_free.rule != "sgd" or algorithm.state_free.lr_scale != 1 or algorithm.weight_decay:
        raise ExperimentError(f'{experiment.name}: rates: state_free = "sgd" with lr_scale 1, and no weight_decay, are needed')
    if algorithm.split_lr_scale != 1 or algorithm.off_set_momentum != "reset" or changing(algorithm):
        raise ExperimentError(
            f'{experiment.name}: rates: off_set_momentum = "reset" and split_lr_scale = 1, and no density_schedule or '
            "update_gap_schedule, are needed"
        )
    if algorithm.subspace != "coordinates" and 0 < algorithm.density < 1:  # of blocks, all are taken before one comes again
        raise ExperimentError(f'{experiment.name}: rates: subspace = "coordinates", or density 0 or 1, is needed')
    setting = setting_of(experiment)
    variance = setting.total_variance if np.isfinite(setting.total_variance) and setting.total_variance > 0 else 1.0
    return Law(setting.smoothness, variance, algorithm.state_full.beta, algorithm.update_gap, algorithm.density)


# --- the transient ---------------------------------------------------------------------------------------------


def _horizon(law: Law) -> int:
    """A number of steps after which momentum and periods have settled."""
    return 20 * max(law.gap, round(1 / (1 - law.beta)))


def transient_slow(law: Law) -> RateFit:
    """avg E‖gᵏ‖² at K without noise, Δ = 1, curvature λ = 1/(Kα) where it is slowest: gradients do not vanish before K."""
    points = []
    for k in _horizon(law) * 2 ** np.arange(5):
        for alpha in law.largest_step / 2.0 ** np.arange(1, 4):
            curvature = 1 / (k * alpha)
            found = law.gradients(curvature, alpha, int(k), start=np.sqrt(2 / curvature))
            points.append((1 / (k * alpha), float(np.mean(found)), 1 / k))
    return _exponent("transient in 1/(Kα), λ = 1/(Kα)", "avg E‖g‖² at Δ = 1, no noise", 1.0, points)


def transient_worst(law: Law) -> RateFit:
    """The largest avg E‖gᵏ‖² at K over all curvatures up to L, without noise, Δ = 1."""
    points = []
    curvatures = law.smoothness * np.geomspace(1e-3, 1, 13)
    for alpha in law.largest_step / 2.0 ** np.arange(3, 8):
        for multiple in 10 ** np.array([1.0, 1.5, 2.0]):  # steps of the grid of curvatures, so that all see the same one
            k = int(multiple * max(_horizon(law), 1 / (alpha * law.smoothness * _effective(law))))
            worst = max(float(np.mean(law.gradients(c, alpha, k, start=np.sqrt(2 / c)))) for c in curvatures)
            points.append((1 / (k * alpha), worst, alpha / law.largest_step))
    return _exponent("transient in 1/(Kα), worst λ", "largest avg E‖g‖² over λ ≤ L, no noise", 1.0, points)


def _effective(law: Law) -> float:
    """A lower bound of the effective step size over α: 1 − ρ of the steps are SGD, and momentum keeps 1 − β at least."""
    return max(1 - law.density, 1 - law.beta)


# --- the noise floor -------------------------------------------------------------------------------------------


def _floor(law: Law, alpha: float, variance: float) -> float:
    """E‖g‖² in stationarity, on eight eigenvalues from L/10 to L that share σ²."""
    eigenvalues = law.smoothness * np.linspace(1 / CONDITION, 1, 8)
    steps = int(20 / (alpha * eigenvalues[0] * _effective(law))) + _horizon(law)
    steps = -(-steps // law.gap) * law.gap
    found = law.gradients(eigenvalues, alpha, steps, variance=variance / len(eigenvalues))
    return float(np.mean(found[-law.gap :]))


def noise_in_alpha(law: Law) -> RateFit:
    """The floor against α."""
    alphas = law.largest_step / 2.0 ** np.arange(7)
    points = [(float(a), _floor(law, float(a), law.variance), float(a / law.largest_step)) for a in alphas]
    return _exponent("noise floor in α", "E‖g‖² in stationarity", 1.0, points)


def noise_in_variance(law: Law) -> RateFit:
    """The floor against σ²."""
    variances = law.variance * 4.0 ** np.arange(-3, 4)
    points = [(float(v), _floor(law, law.largest_step / 2, float(v)), 0.0) for v in variances]
    return _exponent("noise floor in σ²", "E‖g‖² in stationarity", 1.0, points)


# --- the constant of Theorem 5.2 ---------------------------------------------------------------------------------


def implied_constant(law: Law, beta: float, density: float) -> float:
    """The largest measured/shape for coordinates drawn at every step: over transient and noise, and all horizons.

    The learning rate is half the published step, λ = L. Measured and shape are both sums of a transient and of a noise
    part, so the largest ratio is that of one part alone.
    """
    one = Law(law.smoothness, 1.0, beta, 1, density)
    alpha = one.largest_step / 2
    steps = int(20 / (alpha * one.smoothness * float(_share_applied(density, beta))))
    horizons = np.arange(1, steps + 1)
    transient = one.gradients(one.smoothness, alpha, steps, start=np.sqrt(2 / one.smoothness))
    noise = one.gradients(one.smoothness, alpha, steps, variance=1.0)
    factor = 1 + density * (1 - density) * beta / (1 - beta)
    return float(
        max(
            np.max(np.cumsum(transient)) * alpha,
            np.max(np.cumsum(noise) / horizons) / (one.smoothness * alpha * factor),
        )
    )


def _share_applied(density: Array | float, beta: float) -> Array | float:
    """ω_p of the run-length theorem for independent draws: the share of a gradient that is ever applied."""
    return 1 - density * beta * (1 - density) / (1 - density * beta)


LEAKS = 2.0 ** -np.arange(5, 13)
"""1 − β of the fits of Theorem 5.2's constant."""


def constant_at_density(law: Law) -> RateFit:
    """Theorem 5.2's implied constant against 1/(1−β), at the experiment's density: bounded, by 1/(1−ρ)."""
    density = law.density if 0 < law.density < 1 else 0.5
    points = [(1 / leak, implied_constant(law, 1 - leak, density), leak) for leak in LEAKS]
    name = f"theorem_5_2's constant in 1/(1−β), ρ = {density:g}"
    return _exponent(name, "largest measured/shape; 0 is bounded", 0.0, points)


def constant_at_worst_density(law: Law) -> RateFit:
    """Theorem 5.2's implied constant against 1/(1−β), at the density that is worst for each β: where ω_p is least."""
    name = "theorem_5_2's constant in 1/(1−β), worst ρ"
    return _exponent(name, "one constant for all ρ would need 0", 0.0, _worst_constants(law))


def leak_at_worst_density(law: Law) -> RateFit:
    """The same numbers against what the run-length theorem says: ω_p is least, about 2√(1−β), at 1 − p ≈ √(1−β)."""
    name = "theorem_5_2's constant in 1/(1−β), worst ρ, by 1/ω"
    return _exponent(name, "the same; the run-length theorem's 1/ω", 0.5, _worst_constants(law))


@lru_cache(maxsize=4)
def _worst_constants(law: Law) -> tuple[tuple[float, float, float], ...]:
    points = []
    for leak in 2.0 ** -np.arange(4, 12):
        densities = 1 - np.sqrt(leak) * np.geomspace(0.5, 2, 201)
        density = float(densities[np.argmin(_share_applied(densities, 1 - leak))])
        points.append((float(1 / leak), implied_constant(law, 1 - leak, density), float(np.sqrt(leak))))
    return tuple(points)


# --- linear rates ------------------------------------------------------------------------------------------------


def linear_rate_sgd(law: Law) -> RateFit:
    """−log of the factor by which ‖gᵏ‖ shrinks, without noise and with nothing in the set."""
    return _linear(law, 0)


def linear_rate_half(law: Law) -> RateFit:
    """The same with the top half of the eigen-directions in the set."""
    return _linear(law, 4)


def linear_rate_sgdm(law: Law) -> RateFit:
    """The same with everything in the set."""
    return _linear(law, 8)


def _linear(law: Law, count: int) -> RateFit:
    """Slopes of −½ log ‖gᵏ‖² over the second half of a long run; the interval spans those of its quarters."""
    eigenvalues = law.smoothness * np.linspace(1, 1 / CONDITION, 8)
    # Momentum on the top directions frees the step: the first one without it sets the limit, unless β is small.
    on_set = [2 * (1 + law.beta) / ((1 - law.beta) * value) for value in eigenvalues[:count]]
    alpha = 0.9 * float(min(on_set + [2 / value for value in eigenvalues[count:]]))
    radius = asymptotic_rate(eigenvalues, count, alpha, law.beta)
    predicted = -float(np.log(radius))
    steps = max(200, min(int(100 / predicted), 100_000))
    share = np.where(np.arange(8) < count, 1.0, 0.0)
    squares = law.gradients(eigenvalues, alpha, steps, start=1.0, share=share)
    k = np.arange(1, steps + 1)
    slopes = [
        -0.5 * float(np.polyfit(k[a:b], np.log(squares[a:b]), 1)[0])
        for a, b in ((steps // 2, steps), (steps // 2, 3 * steps // 4), (3 * steps // 4, steps))
    ]
    error = max(*(abs(slope - slopes[0]) for slope in slopes), SMALLEST_ERROR * predicted)
    data = tuple((float(k[i]), float(squares[i])) for i in np.linspace(steps // 2, steps - 1, 32).astype(int))
    name = f"linear rate, momentum on {count} of 8 eigen-directions"
    return _fit(name, "−log of the factor of ‖g‖ a step", predicted, slopes[0], error, data, scale=predicted)


FITS: dict[str, Callable[[Law], RateFit]] = {
    fit.__name__: fit
    for fit in (
        transient_slow,
        transient_worst,
        noise_in_alpha,
        noise_in_variance,
        constant_at_density,
        constant_at_worst_density,
        leak_at_worst_density,
        linear_rate_sgd,
        linear_rate_half,
        linear_rate_sgdm,
    )
}
"""Every fit, in the order of the table."""


# --- fitting -----------------------------------------------------------------------------------------------------


def _exponent(name: str, what: str, predicted: float, points: Sequence[tuple[float, float, float]]) -> RateFit:
    """Fit log y = c + p log x + b₁s + b₂s² to points (x, y, s)."""
    x, y, s = np.array(points).T
    finer, error = _least_squares(np.log(x), np.log(y), s, 2)
    coarser, _ = _least_squares(np.log(x), np.log(y), s, 1)
    error = max(error, abs(finer - coarser), SMALLEST_ERROR)
    data = tuple((float(a), float(b)) for a, b in zip(x, y, strict=True))
    return _fit(name, what, predicted, finer, error, data)


def _least_squares(x: Array, y: Array, s: Array, corrections: int) -> tuple[float, float]:
    """p and its error at ``CONFIDENCE``."""
    from scipy.stats import t

    powers = [s**power for power in range(1, corrections + 1)] if np.any(s) else []
    design = np.stack([x - x.mean(), np.ones_like(x), *powers], axis=1)
    solution, *_ = np.linalg.lstsq(design, y)
    freedom = len(y) - design.shape[1]
    residual = y - design @ solution
    covariance = np.linalg.inv(design.T @ design) * float(residual @ residual) / freedom
    return float(solution[0]), float(t.ppf(0.5 + CONFIDENCE / 2, freedom) * np.sqrt(covariance[0, 0]))


def _fit(
    name: str,
    what: str,
    predicted: float,
    estimate: float,
    error: float,
    data: tuple[tuple[float, float], ...],
    scale: float = 1.0,
) -> RateFit:
    lower, upper = estimate - error, estimate + error
    within = lower <= predicted <= upper
    sharp = error <= RESOLUTION * scale
    verdict: Literal["agrees", "differs", "inconclusive"] = "differs" if not within else "agrees" if sharp else "inconclusive"
    return RateFit(name, what, predicted, estimate, lower, upper, verdict, data)
