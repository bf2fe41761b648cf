"""The interpolated rate: the closed form against search, the printed table, and runs of the algorithm itself."""

from __future__ import annotations

import numpy as np
import pytest

import frugal_theory as ft
from frugal_theory.theorems.interpolation import asymptotic_rate, best_rate
from tests.tolerances import DOUBLE_ROOT, PRINTED, ROUNDING


def power(exponent: float, size: int = 1000) -> np.ndarray:
    return np.arange(1, size + 1) ** -float(exponent)


TABLE = [
    (1, 0, 0.0020),
    (1, 10, 0.0218),
    (1, 31, 0.0442),
    (1, 1000, 0.0613),
    (2, 0, 2.00e-6),
    (2, 10, 2.42e-4),
    (2, 31, 1.41e-3),
    (2, 1000, 2.00e-3),
]


@pytest.mark.parametrize(("exponent", "k", "printed"), TABLE)
def test_the_table_of_theory_md(exponent, k, printed):
    assert best_rate(power(exponent), k).speed == pytest.approx(printed, rel=PRINTED)


@pytest.mark.parametrize("k", range(8))
def test_the_rate_is_attained_at_its_alpha_and_beta(k):
    for exponent in (0.5, 1, 3):
        best = best_rate(power(exponent, 7), k)
        found = asymptotic_rate(power(exponent, 7), k, best.alpha, best.beta)
        assert found == pytest.approx(best.rate, abs=DOUBLE_ROOT)


def test_no_alpha_and_beta_do_better():
    rng = np.random.default_rng(0)
    for _ in range(120):
        eigenvalues = rng.random(int(rng.integers(1, 8))) ** 3 + 1e-3
        k = int(rng.integers(0, eigenvalues.size + 1))
        best = best_rate(eigenvalues, k)
        spread = rng.choice([0.01, 0.3, 2.0], size=(2, 150)) * rng.standard_normal((2, 150))
        betas = np.clip(1 - (1 - best.beta) * np.exp(spread[1]), 0, 1 - 1e-9)
        rates = [asymptotic_rate(eigenvalues, k, best.alpha * np.exp(s), b) for s, b in zip(spread[0], betas, strict=True)]
        assert min(rates) >= best.rate - DOUBLE_ROOT


def test_the_ends_are_gradient_descent_and_heavy_ball():
    eigenvalues, kappa = power(1, 50), 50.0
    assert best_rate(eigenvalues, 0).rate == pytest.approx((kappa - 1) / (kappa + 1), rel=ROUNDING)
    root = np.sqrt(kappa)
    assert best_rate(eigenvalues, 50).rate == pytest.approx((root - 1) / (root + 1), rel=ROUNDING)


def test_a_partial_set_never_exceeds_root_two_over_kappa():
    for exponent in (0.5, 1, 2):
        eigenvalues = power(exponent)
        kappa = eigenvalues[0] / eigenvalues[-1]
        speeds = np.array([best_rate(eigenvalues, k).speed for k in range(1, 1000)])
        assert np.all(speeds <= np.sqrt(2 / kappa))
        reached = 1 + int(np.argmax(speeds >= speeds.max() * (1 - ROUNDING)))
        assert reached == pytest.approx(np.sqrt(1000) * 2 ** (-1 / (2 * exponent)), rel=0.2)


@pytest.mark.parametrize("k", [1, 4, 12])
def test_the_algorithm_converges_at_that_rate(quadratic, k):
    """‖x‖ of the noise-free run on subspace eigen, over its last 200 steps, at an α and β off the double root."""
    overrides = {"algorithm.subspace": "eigen", "algorithm.density": k / 12, "noise": {"kind": "none"}, "problem.rotated": True}
    best = best_rate(power(1, 12), k)
    beta, alpha = 0.97 * best.beta, best.alpha
    experiment = quadratic(overrides | {"algorithm.state_full.beta": beta})
    problem = ft.build_problem(experiment)
    x = problem.start(np.random.default_rng(1))
    state = ft.init(bases=problem.bases)
    norms = []
    for _ in range(600):
        x, state = ft.step(experiment.algorithm, x, problem.gradient(x), state, alpha)
        norms.append(np.linalg.norm(x["x"]))
        if norms[-1] < 1e-250:
            break
    last = len(norms) - 1
    measured = (norms[last] / norms[last - 200]) ** (1 / 200)
    assert measured == pytest.approx(asymptotic_rate(power(1, 12), k, alpha, beta), rel=PRINTED)


@pytest.mark.parametrize(("eigenvalues", "k"), [([], 0), ([1.0, 0.0], 1), ([1.0], 2), ([1.0], -1)])
def test_bad_input_is_refused(eigenvalues, k):
    with pytest.raises(ValueError, match="allowed"):
        best_rate(eigenvalues, k)
