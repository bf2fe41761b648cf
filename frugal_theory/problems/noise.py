"""Noise: what turns the gradient into a stochastic gradient. All of it is unbiased and fresh at every step (P3, P5)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from frugal_theory import config
from frugal_theory.config.registry import Kind
from frugal_theory.problems.problem import FiniteSum, Problem

__all__ = ["FourthMoments", "Gaussian", "Minibatch", "NoNoise", "StudentT", "has_mean_zero", "no_sixth_moment"]

Array = NDArray[np.float64]
Arrays = dict[str, Array]


class FourthMoments(NamedTuple):
    """Upper bounds over all x in terms of the declared variances: ``whole`` of E‖ξ‖⁴/σ⁴, ``coordinate`` of every E ξ_j⁴/σ_j⁴.

    Inf where there is none. The first is at most the second, whatever the coordinates have to do with each other (Minkowski).
    """

    whole: float
    coordinate: float


class NoNoise:
    """The gradient itself: σ_j = 0."""

    symmetric_unimodal = True
    uncorrelated = True

    def variance(self, problem: Problem) -> Arrays:
        """Zeros."""
        return {name: np.zeros(shape) for name, shape in problem.shapes.items()}

    def kurtosis(self, problem: Problem) -> FourthMoments:  # noqa: ARG002
        """0."""
        return FourthMoments(0.0, 0.0)

    def median_deviation(self, problem: Problem) -> Arrays:
        """Zeros."""
        return self.variance(problem)

    def gradient_bound(self, problem: Problem) -> Arrays | None:
        """R_j with |∂_j f| ≤ R_j everywhere, if the problem's method of this name knows one."""
        bound = getattr(problem, "gradient_bound", None)
        return None if bound is None else cast(Arrays | None, bound())

    def sample(
        self,
        rng: np.random.Generator,  # noqa: ARG002  (the contract's arguments)
        problem: Problem,  # noqa: ARG002
        x: Mapping[str, Array],  # noqa: ARG002
        gradient: Mapping[str, Array],
    ) -> Arrays:
        """The gradient; nothing is drawn."""
        return dict(gradient)


class Gaussian:
    """g_j + σ_j ξ_j, ξ_j standard normal and independent: the variance is σ_j².

    ``sigma``: one number for all coordinates, or one for each, all parameters' coordinates in order.
    """

    symmetric_unimodal = True
    uncorrelated = True

    def __init__(self, sigma: float | Sequence[float]) -> None:
        self.sigma = _scale(sigma)

    def variance(self, problem: Problem) -> Arrays:
        """σ_j²."""
        return {name: scale**2 for name, scale in _by_parameter(self.sigma, problem).items()}

    def kurtosis(self, problem: Problem) -> FourthMoments:
        """3 by coordinate."""
        return _independent(3.0, self.variance(problem))

    def median_deviation(self, problem: Problem) -> Arrays:
        """The median of |σ_j ξ_j|: the upper quartile of the standard normal law times σ_j."""
        from scipy.special import ndtri

        return {name: float(ndtri(0.75)) * scale for name, scale in _by_parameter(self.sigma, problem).items()}

    def sample(
        self,
        rng: np.random.Generator,
        problem: Problem,
        x: Mapping[str, Array],  # noqa: ARG002
        gradient: Mapping[str, Array],
    ) -> Arrays:
        """One draw of standard normals a parameter, in the order of ``gradient``."""
        scales = _by_parameter(self.sigma, problem)
        return {name: _add(g, rng.standard_normal(g.shape), scales[name]) for name, g in gradient.items()}


class StudentT:
    """g_j + σ_j t_j, t_j of Student's t distribution with ν degrees of freedom, independent.

    σ_j is the scale. The variance is σ_j²ν/(ν − 2) for ν > 2 and infinite for ν <= 2, where P4 fails and no theorem
    here applies (for ν <= 1 there is no mean either). ``sigma`` as in :class:`Gaussian`; ``degrees_of_freedom``: ν > 0.
    """

    symmetric_unimodal = True
    uncorrelated = True

    def __init__(self, degrees_of_freedom: float, sigma: float | Sequence[float]) -> None:
        if not degrees_of_freedom > 0:
            raise ValueError(f"degrees_of_freedom = {degrees_of_freedom}: a number > 0 is allowed")
        self.degrees_of_freedom = float(degrees_of_freedom)
        self.sigma = _scale(sigma)

    def variance(self, problem: Problem) -> Arrays:
        """σ_j²ν/(ν − 2), or infinity; 0 where σ_j is."""
        nu = self.degrees_of_freedom
        factor = nu / (nu - 2) if nu > 2 else math.inf
        scales = _by_parameter(self.sigma, problem)
        return {name: np.where(scale > 0, factor, 0.0) * np.where(scale > 0, scale, 1.0) ** 2 for name, scale in scales.items()}

    def kurtosis(self, problem: Problem) -> FourthMoments:
        """3 + 6/(ν − 4) by coordinate; infinite up to ν = 4."""
        nu = self.degrees_of_freedom
        return _independent(3 + 6 / (nu - 4) if nu > 4 else math.inf, self.variance(problem))

    def median_deviation(self, problem: Problem) -> Arrays:
        """The median of |σ_j t_j|, which is finite for every ν: the upper quartile of Student's law times σ_j."""
        from scipy.special import stdtrit

        quartile = float(stdtrit(self.degrees_of_freedom, 0.75))
        return {name: quartile * scale for name, scale in _by_parameter(self.sigma, problem).items()}

    def sample(
        self,
        rng: np.random.Generator,
        problem: Problem,
        x: Mapping[str, Array],  # noqa: ARG002
        gradient: Mapping[str, Array],
    ) -> Arrays:
        """One draw of t variables a parameter, in the order of ``gradient``."""
        scales = _by_parameter(self.sigma, problem)
        nu = self.degrees_of_freedom
        return {name: _add(g, rng.standard_t(nu, g.shape), scales[name]) for name, g in gradient.items()}


class Minibatch:
    """(1/b) Σ ∇f_i(x) over b samples drawn uniformly with replacement, anew at every step and for every trial.

    The samples are independent, so the mean is unbiased and its variance is that of one sample divided by b.
    """

    def __init__(self, batch_size: int) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size = {batch_size}: a whole number >= 1 is allowed")
        self.batch_size = batch_size

    def variance(self, problem: Problem) -> Arrays:
        """The problem's bound of the variance of ∂_j f_i over all x, divided by b. Raises ValueError without samples."""
        return {name: bound / self.batch_size for name, bound in _finite_sum(problem).sample_variance().items()}

    def kurtosis(self, problem: Problem) -> FourthMoments | None:
        """From the range of a sample's gradient, ``problem.sample_range()``; None if the problem does not have one.

        With X_i = ∇f_i − ∇f at a drawn sample, ‖X_i‖ ≤ R and E‖X_i‖² ≤ s²: E‖Σ X_i‖⁴ ≤ bR²s² + 3b(b−1)s⁴, so with σ² = s²/b
        E‖ξ‖⁴/σ⁴ ≤ (R²/s² + 3(b−1))/b. The same by coordinate.
        """
        if not hasattr(problem, "sample_range"):
            return None
        variance = _finite_sum(problem).sample_variance()
        by_coordinate, whole = problem.sample_range()
        flat = np.concatenate([np.ravel(variance[name]) for name in problem.shapes])
        reach = np.concatenate([np.ravel(by_coordinate[name]) for name in problem.shapes])
        b, total = self.batch_size, float(flat.sum())
        if total == 0:
            return FourthMoments(0.0, 0.0)
        coordinate = float(np.max(reach[flat > 0] ** 2 / flat[flat > 0]))
        reached = min(whole**2, float(np.sum(reach**2)))
        found = FourthMoments(*((ratio + 3 * (b - 1)) / b for ratio in (reached / total, coordinate)))
        return FourthMoments(min(found), found.coordinate)

    def gradient_bound(self, problem: Problem) -> Arrays | None:
        """R_j with |∂_j f_i| ≤ R_j for every sample and everywhere, if the problem's ``sample_gradient_bound`` knows one."""
        bound = getattr(problem, "sample_gradient_bound", None)
        return None if bound is None else cast(Arrays | None, bound())

    def sample(
        self, rng: np.random.Generator, problem: Problem, x: Mapping[str, Array], gradient: Mapping[str, Array]
    ) -> Arrays:
        """One batch a trial, for all parameters together. Raises ValueError without samples."""
        finite_sum = _finite_sum(problem)
        name, shape = next(iter(problem.shapes.items()))
        trials = gradient[name].shape[: gradient[name].ndim - len(shape)]
        batch = rng.integers(finite_sum.samples, size=(*trials, self.batch_size))
        return finite_sum.batch_gradient(x, batch)


def has_mean_zero(noise: object) -> bool:
    """Whether the noise is one of this package, drawn afresh at every step with mean zero by construction.

    What derives from one of them may draw something else, and is one of its author's own.
    """
    return type(noise) in (NoNoise, Gaussian, StudentT, Minibatch)


def no_sixth_moment(noise: object) -> bool:
    """Whether ‖g‖² has no third moment, so that no interval around an average of it is valid: Student's t with ν ≤ 6.

    Intervals correct for the skewness of ‖g‖², which does not exist then. A noise of your own says so by its attribute
    ``degrees_of_freedom``.
    """
    return bool(getattr(noise, "degrees_of_freedom", math.inf) <= 6)


def _independent(kurtosis: float, variance: Arrays) -> FourthMoments:
    """Of independent coordinates: E‖ξ‖⁴ = σ⁴ + Σ(κ − 1)σ_j⁴."""
    flat = np.concatenate([np.ravel(value) for value in variance.values()])
    total = float(flat.sum())
    if total == 0:
        return FourthMoments(0.0, 0.0)
    if not math.isfinite(kurtosis):
        return FourthMoments(math.inf, math.inf)
    return FourthMoments(1 + (kurtosis - 1) * float(np.sum((flat / total) ** 2)), kurtosis)


def _scale(sigma: float | Sequence[float]) -> Array:
    """``sigma`` as an array of shape () or (d,)."""
    scale = np.array(sigma, dtype=np.float64)
    if scale.ndim > 1 or scale.size == 0 or not np.isfinite(scale).all() or scale.min() < 0:
        raise ValueError(f"sigma = {sigma}: a number >= 0 is allowed, or a list of such numbers, one for each coordinate")
    return scale


def _by_parameter(scale: Array, problem: Problem) -> Arrays:
    """σ_j by parameter, each of the parameter's shape."""
    if scale.ndim == 0:
        return {name: np.broadcast_to(scale, shape) for name, shape in problem.shapes.items()}
    sizes = {name: math.prod(shape) for name, shape in problem.shapes.items()}
    if scale.size != sum(sizes.values()):
        raise ValueError(f"sigma has {scale.size} entries, the problem has {sum(sizes.values())} coordinates; they must agree")
    parts: Arrays = {}
    first = 0
    for name, shape in problem.shapes.items():
        parts[name] = scale[first : first + sizes[name]].reshape(shape)
        first += sizes[name]
    return parts


def _add(gradient: Array, draw: Array, scale: Array) -> Array:
    """g + σ ξ, in the memory of ξ: this runs at every step of every trial."""
    draw *= scale
    draw += gradient
    return draw


def _finite_sum(problem: Problem) -> FiniteSum:
    if not all(hasattr(problem, name) for name in ("samples", "batch_gradient", "sample_variance")):
        raise ValueError(
            f"mini-batch noise needs a problem made of samples (samples, batch_gradient and sample_variance); "
            f"{type(problem).__name__} is not, Logistic and Nonconvex are"
        )
    return cast(FiniteSum, problem)  # isinstance would look at the whole protocol again at every step


NONE = Kind(config.NoNoise, lambda _: NoNoise())
GAUSSIAN = Kind(config.GaussianNoise, lambda table: Gaussian(table.sigma))
STUDENT_T = Kind(config.StudentNoise, lambda table: StudentT(table.degrees_of_freedom, table.sigma))
MINIBATCH = Kind(config.MinibatchNoise, lambda table: Minibatch(table.batch_size))
