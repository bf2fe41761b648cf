"""Intervals: their coverage for skewed averages of few and of many trials, measured; their critical values, again."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import skew, t

from frugal_theory.evidence.few_trials import (
    CRITICAL,
    LEVELS,
    REFERENCE_SKEWNESS,
    TRIALS,
    critical_value,
    critical_values,
    enough,
)
from frugal_theory.evidence.intervals import TOO_SKEWED, mean_interval
from frugal_theory.evidence.moments import Moments, sampled
from tests.tolerances import EXCESS_MISSES, IMPORTANCE_SAMPLING, ROUNDING, STANDARD_ERRORS

LAWS = {
    "χ²_1": (lambda rng, shape: rng.standard_normal(shape) ** 2, 1.0),
    "exponential": (lambda rng, shape: rng.standard_exponential(shape), 1.0),
    "gamma 4": (lambda rng, shape: rng.standard_gamma(4, shape), 4.0),
    "normal": (lambda rng, shape: 3 + rng.standard_normal(shape), 3.0),
    "exponential to the left": (lambda rng, shape: 3 - rng.standard_exponential(shape), 2.0),
}
"""Laws with skewness from −2 to √8, and their means."""


def interval(samples, confidence):
    """The interval of every row."""
    mean, deviation = samples.mean(axis=1), samples.std(axis=1, ddof=1)
    return mean_interval(mean, deviation, skew(samples, axis=1), samples.shape[1], confidence)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("trials", [4, 8, 16, 32, 64, 128])
def test_coverage_for_skewed_averages(law, trials):
    """The 99 % and the 99.9 % interval miss no more often than they say. Student's alone misses χ²_1 5 % and 2 % of the
    time with 4 trials."""
    draw, mean = LAWS[law]
    repetitions = 40_000
    samples = draw(np.random.default_rng(trials), (repetitions, trials))
    for confidence in (0.99, 0.999):
        lower, upper = interval(samples, confidence)
        missed = np.mean((lower > mean) | (upper < mean))
        nominal = (1 - confidence) * EXCESS_MISSES
        assert missed <= nominal + STANDARD_ERRORS * np.sqrt(nominal / repetitions), (confidence, missed)


def test_what_is_too_skewed_has_no_end_on_that_side():
    """Samples of a lognormal law with deviation 2 never show its skewness, 414."""
    samples = np.random.default_rng(0).lognormal(sigma=2, size=(200, 256))
    skewness = skew(samples, axis=1)
    lower, upper = interval(samples, 0.99)
    limit = max(TOO_SKEWED, np.sqrt(256) / 4)
    np.testing.assert_array_equal(np.isinf(upper), skewness > limit)
    assert np.isinf(upper).mean() > 0.9
    assert np.isfinite(lower).all()
    lower, upper = interval(-samples, 0.99)
    np.testing.assert_array_equal(np.isinf(lower), skewness > limit)
    assert np.isfinite(upper).all()


def test_a_skewness_that_overflows_leaves_both_ends_open():
    """Cubes of 10¹¹⁰ are no numbers any more; Student's t alone would take such averages for symmetric ones."""
    averages = 1e110 * np.random.default_rng(0).chisquare(1, size=(64, 1))
    with np.errstate(over="ignore", invalid="ignore"):
        moments = Moments.of(averages)
    found = sampled("monte_carlo", "squared_gradient_norm", moments, 0.99)
    assert (found.lower[0], found.upper[0]) == (-np.inf, np.inf)


def test_two_trials_say_nothing():
    for trials in (1, 2):
        lower, upper = mean_interval(np.ones(3), np.ones(3), np.zeros(3), trials, 0.5)
        assert np.isneginf(lower).all()
        assert np.isposinf(upper).all()


def test_intervals_contain_students_and_shrink_with_trials():
    mean, deviation, skewness = np.array([1.0]), np.array([0.5]), np.array([2.0])
    half = t.ppf(0.995, 31) * 0.5 / np.sqrt(32)
    lower, upper = mean_interval(mean, deviation, skewness, 32, 0.99)
    assert lower <= 1 - half
    assert upper > 1 + half, "right skew pushes the upper end out"
    narrow = mean_interval(mean, deviation, skewness, 3200, 0.99)
    assert narrow[1] - narrow[0] < (upper - lower) / 5


@pytest.mark.parametrize("trials", [4, 16, 96])
def test_critical_values_by_another_sample(trials):
    again = critical_values(trials, LEVELS[3:], 30_000, np.random.default_rng(99))
    np.testing.assert_allclose(again, CRITICAL[TRIALS.index(trials)][3:], rtol=IMPORTANCE_SAMPLING)
    assert critical_value(trials, LEVELS[4]) == pytest.approx(CRITICAL[TRIALS.index(trials)][4])


def test_critical_values_between_and_beyond_the_table():
    """Between entries they are between; beyond, they go on growing with confidence; all exceed Student's."""
    assert critical_value(8, 1e-3) > critical_value(10, 1e-3) > critical_value(12, 1e-3)
    assert critical_value(16, 1e-5) < critical_value(16, 3e-6) < critical_value(16, 1e-6)
    assert critical_value(16, 1e-11) > critical_value(16, 1e-9)
    assert pytest.approx(skew(np.random.default_rng(0).chisquare(1, 10**7)), rel=IMPORTANCE_SAMPLING) == REFERENCE_SKEWNESS
    table = np.array(CRITICAL)
    assert (np.diff(table, axis=0) < 0).all()
    assert (np.diff(table, axis=1) > 0).all()
    for n, row in zip(TRIALS, CRITICAL, strict=True):
        assert row[3] > t.isf(LEVELS[3], n - 1)


def test_how_many_are_enough_grows_with_confidence():
    assert enough(32, 0.99)
    assert not enough(31, 0.99)
    assert not enough(100, 0.9999)
    assert enough(128, 0.9999)


@pytest.mark.parametrize("with_sixth_moment", [True, False])
def test_trials_that_differ_by_rounding_only_do_not_differ(with_sixth_moment):
    # Which BLAS kernel runs decides whether equal trials come out an ulp apart: no verdict may depend on it.
    equal = np.full((8, 3), 0.3)
    nearly = equal.copy()
    nearly[2, 0] = np.nextafter(0.3, 1)
    nearly[5, 1] = np.nextafter(0.3, 0)
    one, other = (
        sampled("monte_carlo", "squared_gradient_norm", Moments.of(values), 0.99, interval=with_sixth_moment)
        for values in (equal, nearly)
    )
    np.testing.assert_array_equal(other.deviation, 0.0)
    np.testing.assert_array_equal(other.skewness, one.skewness)
    np.testing.assert_allclose(other.upper, one.upper, rtol=ROUNDING)
    np.testing.assert_allclose(other.lower, one.lower, rtol=ROUNDING)


def test_trials_that_differ_by_more_than_rounding_do():
    values = np.full((8, 1), 0.3)
    values[3] *= 1 + 1e-10
    assert sampled("monte_carlo", "squared_gradient_norm", Moments.of(values), 0.99, interval=False).upper[0] == np.inf
