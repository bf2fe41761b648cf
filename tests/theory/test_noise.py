"""Noise: exact moments where the law is discrete, sample moments within their own standard error where it is not."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from frugal_theory.config.load import parse
from frugal_theory.problems import (
    Gaussian,
    Layer,
    Logistic,
    Matrix,
    Minibatch,
    Noise,
    Nonconvex,
    NoNoise,
    Quadratic,
    StudentT,
    build_noise,
)
from frugal_theory.problems.logistic import largest_variance, signed_features
from tests.tolerances import LEAST_P_VALUE, ROUNDING, STANDARD_ERRORS

TRIALS = 40_000
QUADRATIC = Quadratic(np.ones(4), blocks=2)
MATRIX = Matrix([Layer(np.eye(2), np.eye(3), np.ones((2, 3)))] * 2)


def generator(seed=0):
    return np.random.default_rng(seed)


def stack(problem, trials, value=0.0):
    return {name: np.full((trials, *shape), value) for name, shape in problem.shapes.items()}


def finite_sum(kind):
    if kind == "nonconvex":
        rng = generator(5)
        return Nonconvex(rng.standard_normal((40, 6)), rng.standard_normal(6))
    return Logistic(signed_features(kind), l2=0.05)


def per_sample(problem, x):
    """∇f_i(x) for every i, shape (n, d)."""
    stacked = {"x": np.broadcast_to(x, (problem.samples, x.size))}
    return problem.batch_gradient(stacked, np.arange(problem.samples)[:, None])["x"]


FINITE_SUMS = pytest.mark.parametrize("kind", ["breast-cancer", "digits", "nonconvex"])


@pytest.mark.parametrize(
    ("table", "kind"),
    [
        ('kind = "none"', NoNoise),
        ('kind = "gaussian"\nsigma = 0.3', Gaussian),
        ('kind = "student-t"\ndegrees_of_freedom = 4.0', StudentT),
        ('kind = "minibatch"\nbatch_size = 3', Minibatch),
        (None, NoNoise),
    ],
)
def test_every_table_has_its_noise(table, kind):
    noise = build_noise(parse('name = "test"\n' + (f"[noise]\n{table}\n" if table else "")))
    assert isinstance(noise, kind)
    assert isinstance(noise, Noise)


def test_no_noise_is_the_gradient_and_draws_nothing():
    rng, gradient = generator(), stack(QUADRATIC, 3, 2.0)
    sample = NoNoise().sample(rng, QUADRATIC, gradient, gradient)
    assert sample is not gradient
    assert all(sample[name] is gradient[name] for name in gradient)
    assert rng.bit_generator.state == generator().bit_generator.state
    assert not any(part.any() for part in NoNoise().variance(QUADRATIC).values())


@pytest.mark.parametrize("problem", [QUADRATIC, MATRIX], ids=["blocks", "matrices"])
@pytest.mark.parametrize("trials", [(), (5,), (2, 3)])
def test_gaussian_is_the_gradient_plus_scaled_normals(problem, trials):
    """One draw a parameter, in order; a list of sigma runs over all parameters' coordinates in order."""
    dimension = sum(math.prod(shape) for shape in problem.shapes.values())
    sigma = np.arange(dimension) / 10
    gradient = {name: generator(1).standard_normal((*trials, *shape)) for name, shape in problem.shapes.items()}
    before = {name: value.copy() for name, value in gradient.items()}
    sample = Gaussian(sigma.tolist()).sample(generator(), problem, gradient, gradient)
    rng, first = generator(), 0
    for name, shape in problem.shapes.items():
        own = sigma[first : first + math.prod(shape)].reshape(shape)
        first += math.prod(shape)
        np.testing.assert_array_equal(sample[name], before[name] + own * rng.standard_normal((*trials, *shape)))
        np.testing.assert_array_equal(gradient[name], before[name])
        np.testing.assert_array_equal(Gaussian(sigma.tolist()).variance(problem)[name], own**2)


@pytest.mark.parametrize(
    ("noise", "kurtosis"),
    [
        (Gaussian([0.0, 0.5, 1.0, 2.0]), 3.0),
        (Gaussian(0.5), 3.0),
        (StudentT(12.0, [0.0, 0.5, 1.0, 2.0]), 3 + 6 / 8),
        (StudentT(12.0, 0.5), 3 + 6 / 8),
    ],
    ids=["gaussian-list", "gaussian", "student-list", "student"],
)
def test_additive_noise_has_its_moments(noise, kurtosis):
    """Mean, variance and covariances, each within its standard error: sd/√N, σ²√((κ−1)/N), σ_iσ_j/√N."""
    gradient = stack(QUADRATIC, TRIALS, 3.0)
    sample = np.hstack(list(noise.sample(generator(), QUADRATIC, gradient, gradient).values()))
    variance = np.concatenate(list(noise.variance(QUADRATIC).values()))
    assert (np.abs(sample.mean(axis=0) - 3.0) <= STANDARD_ERRORS * np.sqrt(variance / TRIALS)).all()
    covariance = np.cov(sample, rowvar=False)
    error = np.outer(np.sqrt(variance), np.sqrt(variance)) / math.sqrt(TRIALS)
    np.fill_diagonal(error, variance * math.sqrt((kurtosis - 1) / TRIALS))
    assert (np.abs(covariance - np.diag(variance)) <= STANDARD_ERRORS * error).all()


@pytest.mark.parametrize("nu", [1.5, 2.0, 3.0, 8.0])
def test_student_noise_has_its_law(nu):
    """The whole distribution (Kolmogorov and Smirnov), as the variance may not exist."""
    gradient = stack(QUADRATIC, 5_000, 1.0)
    sample = StudentT(nu, 0.2).sample(generator(), QUADRATIC, gradient, gradient)
    for part in sample.values():
        assert stats.kstest((part.ravel() - 1.0) / 0.2, stats.t(nu).cdf).pvalue > LEAST_P_VALUE


def test_student_variance_is_infinite_up_to_two_degrees_of_freedom():
    for nu, expected in ((1.0, math.inf), (2.0, math.inf), (3.0, 3 * 0.04), (4.0, 2 * 0.04)):
        variance = np.concatenate(list(StudentT(nu, [0.0, 0.2, 0.2, 0.2]).variance(QUADRATIC).values()))
        np.testing.assert_allclose(variance, [0.0, expected, expected, expected], rtol=ROUNDING)


@FINITE_SUMS
def test_samples_average_to_the_gradient(kind):
    """E over the n equally likely samples, exactly: P3 for mini-batches."""
    problem = finite_sum(kind)
    for scale in (0.0, 1.0, 50.0):
        x = scale * generator().standard_normal(problem.shapes["x"])
        expected = problem.gradient({"x": x})["x"]
        tolerance = ROUNDING * (1 + np.abs(expected).max())
        np.testing.assert_allclose(per_sample(problem, x).mean(axis=0), expected, rtol=0, atol=tolerance)


def test_a_sample_is_the_problem_of_that_row_alone():
    logistic, nonconvex = finite_sum("breast-cancer"), finite_sum("nonconvex")
    x = generator().standard_normal(30)
    for i in (0, 17, 568):
        alone = Logistic(logistic.signed_features[i : i + 1], logistic.l2).gradient({"x": x})["x"]
        np.testing.assert_allclose(per_sample(logistic, x)[i], alone, rtol=ROUNDING)
    for i in (0, 17, 39):
        alone = Nonconvex(nonconvex.features[i : i + 1], nonconvex.solution).gradient({"x": x[:6]})["x"]
        np.testing.assert_allclose(per_sample(nonconvex, x[:6])[i], alone, rtol=ROUNDING, atol=ROUNDING)


@FINITE_SUMS
def test_sample_variance_bounds_the_exact_one_everywhere(kind):
    """At hundreds of points near and far and far out on every axis; a variance of rounding is (ROUNDING |x|)²."""
    problem = finite_sum(kind)
    bound = problem.sample_variance()["x"]
    (dimension,) = problem.shapes["x"]
    scales = np.resize([0.0, 0.1, 0.5, 1.0, 5.0, 50.0, 1e4], 100 if kind == "digits" else 600)
    directions = np.concatenate([generator().standard_normal((scales.size, dimension)), np.eye(dimension), -np.eye(dimension)])
    lengths = np.concatenate([scales, np.full(2 * dimension, 1e3)])
    largest = np.zeros(dimension)
    for x in lengths[:, None] * directions:
        rounding = (ROUNDING * np.abs(x)) ** 2
        largest = np.maximum(largest, per_sample(problem, x).var(axis=0) - rounding)
    assert (largest <= bound * (1 + ROUNDING)).all()
    assert largest.max() > bound.max() / 4  # the bound is of the right size


def test_largest_variance_bounds_every_corner():
    """The variance is convex, so its maximum over the box is at a corner: all 2¹⁰ of them."""
    ends = generator().standard_normal((10, 5)) + np.array([0.0, 0.5, 1.0, 2.0, -3.0])
    corners = np.array(list(itertools.product((0.0, 1.0), repeat=10)))
    exact = (corners[:, :, None] * ends).var(axis=1).max(axis=0)
    bound, second_moment = largest_variance(ends), (ends**2).mean(axis=0)
    assert (exact <= bound * (1 + ROUNDING)).all()
    assert (bound <= second_moment * (1 + ROUNDING)).all()
    assert bound[3] < second_moment[3] / 2


def test_largest_variance_is_popoviciu_for_equal_ends():
    """n even and every v_i in [0, c]: half of them 0, half c, gives c²/4, and no more is possible."""
    np.testing.assert_allclose(largest_variance(np.full((6, 1), -3.0)), [9 / 4], rtol=ROUNDING)


def test_batches_with_replacement_divide_the_variance_exactly():
    """All n² batches of two: their mean is ∇f and their variance half of one sample's."""
    problem = Nonconvex(generator().standard_normal((9, 3)), np.ones(3))
    x = generator(1).standard_normal(3)
    batches = np.array(list(itertools.product(range(9), repeat=2)))
    means = problem.batch_gradient({"x": np.broadcast_to(x, (81, 3))}, batches)["x"]
    np.testing.assert_allclose(means.mean(axis=0), problem.gradient({"x": x})["x"], rtol=0, atol=ROUNDING)
    np.testing.assert_allclose(means.var(axis=0), per_sample(problem, x).var(axis=0) / 2, rtol=ROUNDING)


@pytest.mark.parametrize("blocks", [1, 3])
def test_minibatch_draws_uniformly_with_replacement(blocks):
    """Sample mean and variance of 40,000 batches against the exact ones, and each trial has a batch of its own."""
    rng = generator(5)
    problem = Nonconvex(rng.standard_normal((40, 6)), rng.standard_normal(6), blocks=blocks)
    whole = Nonconvex(problem.features, problem.solution)
    point = rng.standard_normal(6)
    x = {name: np.broadcast_to(part, (TRIALS, *part.shape)) for name, part in problem.partition.split(point).items()}
    sample = problem.partition.join(Minibatch(4).sample(generator(), problem, x, problem.gradient(x)))
    single = per_sample(whole, point)
    variance = single.var(axis=0) / 4
    fourth = ((single - single.mean(axis=0)) ** 4).mean(axis=0) / 64 + 3 * (3 / 64) * single.var(axis=0) ** 2
    mean_error, variance_error = np.sqrt(variance / TRIALS), np.sqrt((fourth - variance**2) / TRIALS)
    assert (np.abs(sample.mean(axis=0) - single.mean(axis=0)) <= STANDARD_ERRORS * mean_error).all()
    assert (np.abs(sample.var(axis=0) - variance) <= STANDARD_ERRORS * variance_error).all()
    bound = problem.partition.join(Minibatch(4).variance(problem))
    np.testing.assert_allclose(bound, whole.sample_variance()["x"] / 4, rtol=ROUNDING)
    alone = Minibatch(4).sample(generator(), problem, problem.partition.split(point), problem.partition.split(point))
    np.testing.assert_allclose(problem.partition.join(alone), sample[0], rtol=ROUNDING, atol=ROUNDING)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Gaussian(-0.1), "a number >= 0"),
        (lambda: Gaussian([[1.0]]), "a list of such numbers"),
        (lambda: Gaussian([1.0, 2.0]).variance(QUADRATIC), "sigma has 2 entries, the problem has 4"),
        (lambda: StudentT(0.0, 1.0), "degrees_of_freedom = 0.0"),
        (lambda: Minibatch(0), "batch_size = 0"),
        (lambda: Minibatch(2).variance(QUADRATIC), "Quadratic is not"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
