"""Exact expectations: one recursion against another, closed forms, invariances, and runs that diverge."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import sympy as sp

from frugal_theory.evidence.exact import dense as exact_dense
from frugal_theory.evidence.exact import diagonal as exact_diagonal
from frugal_theory.evidence.exact import stationary
from frugal_theory.evidence.exact.expectations import METRICS, expectations
from frugal_theory.evidence.exact.linear import updates
from frugal_theory.instance import Instance
from frugal_theory.problems import Gaussian, Quadratic
from tests.theory.enumeration import ALPHA, EIGENVALUES, READINGS, ROTATION, algorithm, run
from tests.tolerances import LONG_RECURSION


@READINGS
@pytest.mark.parametrize("gap", [1, 3, 10, 17, 70, 1000])
@pytest.mark.parametrize("steps", [1, 2, 7, 100, 333])
def test_giant_steps_land_where_single_steps_do(reading: Any, gap: int, steps: int) -> None:
    rng = np.random.default_rng(0)
    d = 1500  # more than one chunk
    lam, variance, x = rng.random(d), rng.random(d), rng.normal(size=d)
    member = rng.random(d) < 0.5
    linear = updates(0.3, 0.9, 0.7, reading, 0.01)
    single = exact_diagonal.scheduled(lam, variance, x, lambda _: member, linear, steps=steps, update_gap=gap)
    squares = np.array(list(single))
    weights = (rng.random(d), rng.random(d))
    found = exact_diagonal.redrawn(lam, variance, x, member, linear, steps=steps, update_gap=gap, weights=[(1.0, 1.0), weights])
    assert found[0] == pytest.approx(squares.sum(axis=1), rel=LONG_RECURSION, abs=0)
    assert found[1] == pytest.approx(squares @ np.where(member, *weights), rel=LONG_RECURSION, abs=0)


@READINGS
@pytest.mark.parametrize("law", ["independent", "fixed_size"])
def test_a_diagonal_quadratic_is_a_dense_one_too(reading: Any, law: str) -> None:
    rng = np.random.default_rng(1)
    lam, variance, x = rng.random(6), rng.random(6), rng.normal(size=6)
    linear = updates(0.5, 0.9, 1.0, reading)
    inclusion = exact_dense.independent(np.full(6, 0.5)) if law == "independent" else exact_dense.fixed_size([(3, 6)])
    dense = exact_dense.along_masks(np.diag(lam), variance, x, lambda _: inclusion, linear)
    traces = [float(np.trace(moment)) for moment in itertools.islice(dense, 200)]
    assert exact_diagonal.redrawn(lam, variance, x, 0.5, linear, steps=200)[0] == pytest.approx(
        traces, rel=LONG_RECURSION, abs=0
    )


def test_rotating_everything_changes_nothing() -> None:
    """Equal noise, eigen-directions: f, its start and its noise turn together."""
    start = np.array([0.3, -1.0, 2.0])
    noise, chosen = Gaussian(0.2), algorithm(subspace="eigen", density=0.34)
    here = run(chosen, Quadratic(EIGENVALUES, None, tuple(start)), steps=50, noise=noise)
    turned = run(chosen, Quadratic(EIGENVALUES, ROTATION, tuple(ROTATION @ start)), steps=50, noise=noise)
    assert turned[METRICS[0]] == pytest.approx(here[METRICS[0]], rel=LONG_RECURSION, abs=0)


def test_scaling_f_scales_as_it_must() -> None:
    """cf with noise cσ and α/c: the same trajectory, gradients c times as long."""
    chosen, c = algorithm(update_gap=3), 2.5
    of_parts = Instance.of_parts
    plain = of_parts(Quadratic(EIGENVALUES), Gaussian(0.2), chosen, learning_rate=ALPHA, steps=40)
    other = of_parts(Quadratic(c * EIGENVALUES), Gaussian(c * 0.2), chosen, learning_rate=ALPHA / c, steps=40)
    base, scaled = (expectations(made)[METRICS[0]] for made in (plain, other))
    assert scaled.mean == pytest.approx(c**2 * base.mean, rel=LONG_RECURSION, abs=0)


@READINGS
@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_the_recursion_tends_to_the_closed_form(reading: Any, probability: float) -> None:
    lam, sigma = 0.8, 0.3
    linear = updates(0.4, 0.7, 0.9, reading)
    limit = exact_diagonal.redrawn(lam, sigma**2, 1.0, probability, linear, steps=3000)[0, -1]
    closed = stationary.stationary(0.4, 0.7, lam, probability, sigma, 0.9, reading)
    assert limit == pytest.approx(float(closed), rel=LONG_RECURSION, abs=0)


@READINGS
def test_the_ends_of_the_closed_form(reading: Any) -> None:
    a, b, lam, s = stationary.ALPHA, stationary.BETA, stationary.LAMBDA, stationary.SIGMA
    form = stationary.stationary_expression(reading).subs(stationary.SCALE, 1)
    momentum = a * lam * s**2 * (1 + b) / (2 * (1 + b) - a * lam * (1 - b))
    plain = a * lam * s**2 / (2 - a * lam)
    assert sp.simplify(form.subs(stationary.PROBABILITY, 1) - momentum) == 0
    assert sp.simplify(form.subs(stationary.PROBABILITY, 0) - plain) == 0
    assert sp.simplify(form.subs(b, 0) - plain) == 0


def test_a_run_that_diverges_is_infinite_and_warns_of_nothing() -> None:
    """αλ = 4 blows plain SGD up; with momentum on everything β = 0.99 it does not, and no ∞·0 may arise there."""
    problem = Quadratic(np.array([4.0]))
    keys = {"learning_rate": 1.0, "steps": 3000}
    for gap in (1, 400):
        for density in (0.0, 0.5):
            made = Instance.of_parts(problem, Gaussian(0.1), algorithm(density=density, update_gap=gap), **keys)
            found = expectations(made, METRICS)
            assert all(np.isinf(evidence.mean[-1]) for evidence in found.values())
        heavy = algorithm(density=1.0, update_gap=gap, state_full={"rule": "sgdm", "beta": 0.99})
        found = expectations(Instance.of_parts(problem, Gaussian(0.1), heavy, **keys), METRICS)
        assert all(np.isfinite(evidence.mean).all() for evidence in found.values())


def test_the_branch_that_is_never_taken_may_diverge() -> None:
    """With αλ = 4 SGD explodes beyond float64 within one period and momentum does not."""
    heavy = updates(1.0, 0.99)
    long = exact_diagonal.redrawn(4.0, 0.1, 1.0, 1.0, heavy, steps=3000, update_gap=1000)
    short = exact_diagonal.redrawn(4.0, 0.1, 1.0, 1.0, heavy, steps=3000)
    assert np.isfinite(short).all()
    assert long == pytest.approx(short, rel=LONG_RECURSION, abs=0)
