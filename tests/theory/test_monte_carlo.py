"""Monte Carlo: closed forms, the same bits whatever the chunking, and independent streams."""

from __future__ import annotations

import numpy as np
import pytest

import frugal_theory as ft
from frugal_theory.evidence.moments import Moments
from frugal_theory.evidence.monte_carlo.simulation import monte_carlo, simulation
from frugal_theory.instance import instance_of, setting_of
from tests.tolerances import ROUNDING, STANDARD_ERRORS


def evidence(experiment, metrics=("squared_gradient_norm",), **keys):
    return monte_carlo(simulation(instance_of(experiment), metrics), **keys)


def test_the_contract_of_evidence(quadratic):
    found = ft.simulate(quadratic())
    assert found.source == "monte_carlo"
    for array in (found.steps, found.mean, found.lower, found.upper):
        assert array.shape == (60,)
    assert found.steps.tolist() == list(range(1, 61))
    assert (found.lower <= found.mean).all()
    assert (found.mean <= found.upper).all()
    assert list(found.frame().columns) == ["source", "metric", "step", "mean", "lower", "upper"]


def test_gradient_descent_in_closed_form(quadratic):
    """Without noise x_k = (1 − αλ)^(k−1) x_1, one trial is exact and there is no interval."""
    experiment = quadratic({"noise": {"kind": "none"}, "algorithm.density": 0.0})
    found = ft.simulate(experiment)
    eigenvalues = 1.0 / np.arange(1, 13)
    from frugal_theory.algorithm.selection import stream

    x1 = ft.build_problem(experiment).start(np.random.default_rng(stream(7, "start")))["x"]
    k = np.arange(60)[:, None]
    squares = np.sum((eigenvalues * (1 - 0.02 * eigenvalues) ** k * x1) ** 2, axis=1)
    expected = np.cumsum(squares) / np.arange(1, 61)
    np.testing.assert_allclose(found.mean, expected, rtol=ROUNDING)
    np.testing.assert_array_equal(found.lower, found.upper)
    assert found.trials == 1


@pytest.mark.parametrize("density", [0.0, 1.0])
def test_stationary_noise_in_closed_form(quadratic, density):
    """One coordinate, started in equilibrium: E(λx)² = αλσ²/(2−αλ), and with momentum αλσ²(1+β)/(2(1+β)−αλ(1−β))."""
    alpha, eigenvalue, beta, sigma = 0.3, 1.0, 0.9, 1.0
    settled = alpha * eigenvalue * sigma**2 / (2 - alpha * eigenvalue)
    if density == 1.0:
        settled = alpha * sigma**2 * (1 + beta) / (2 * (1 + beta) - alpha * (1 - beta))
    experiment = quadratic(
        {
            "algorithm.density": density,
            "algorithm.learning_rate": alpha,
            "problem": {"kind": "quadratic", "eigenvalues": [eigenvalue] * 40, "start": [0.0] * 40},
            "noise.sigma": sigma,
            "simulation": {"steps": 2000, "trials": 64},
        }
    )
    found = ft.simulate(experiment)
    late = (2000 * found.mean[-1] - 400 * found.mean[399]) / 1600  # the average over steps 401 … 2000
    error = 2000 * found.deviation[-1] / 1600 / np.sqrt(found.trials)
    assert abs(late - 40 * settled) < STANDARD_ERRORS * error
    assert error < 0.01 * 40 * settled


def test_mean_displacement_is_the_effective_step_size(quadratic):
    """On a constant gradient the mean displacement per step tends to αω_p g (theory, section 4, corollaries)."""
    p, beta, steps = 0.4, 0.9, 400
    chosen = quadratic({"algorithm.density": p, "algorithm.update_gap": 1}).algorithm
    trials = np.arange(4000)
    x, state = {"x": np.zeros((4000, 3))}, ft.init(trials)
    for _ in range(steps):
        x, state = ft.step(chosen, x, {"x": np.ones((4000, 3))}, state, learning_rate=1.0)
    omega = 1 - p * beta * (1 - p) / (1 - p * beta)
    moved = -x["x"] / steps
    error = moved.std() / np.sqrt(moved.size)
    ends = 1 / (1 - beta) / steps  # momentum still under way at the end
    assert abs(moved.mean() - omega) < STANDARD_ERRORS * error + ends * beta * p


@pytest.mark.parametrize("jobs", [1, 2])
def test_same_seed_same_bits_whatever_the_chunking(quadratic, jobs):
    experiment = quadratic({"simulation.trials": 80})
    once = evidence(experiment)["squared_gradient_norm"]
    again = evidence(experiment, jobs=jobs)["squared_gradient_norm"]
    for name in ("mean", "lower", "upper", "deviation", "skewness"):
        np.testing.assert_array_equal(getattr(once, name), getattr(again, name))


def test_trials_are_the_same_however_many_there_are(quadratic):
    """The first batch of a larger study is the whole of a smaller one."""
    few = evidence(quadratic({"simulation.trials": 32}))["squared_gradient_norm"]
    seen = []
    monkey = Moments.of

    def spy(averages):
        seen.append(averages.copy())
        return monkey(averages)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Moments, "of", spy)
        evidence(quadratic({"simulation.trials": 96}))
    np.testing.assert_array_equal(seen[0].mean(axis=0), few.mean)
    assert [len(batch) for batch in seen] == [32, 32, 32]


def test_merged_moments_are_those_of_everything():
    rng = np.random.default_rng(0)
    values = rng.exponential(size=(90, 4))
    merged = Moments.of(values[:32]).merge(Moments.of(values[32:50])).merge(Moments.of(values[50:]))
    whole = Moments.of(values)
    for name in ("mean", "second", "third"):
        np.testing.assert_allclose(getattr(merged, name), getattr(whole, name), rtol=100 * ROUNDING)
    assert merged.count == 90


def test_changing_the_noise_moves_nothing_else(quadratic):
    """Streams are independent: with other noise the start and the sets are the same."""
    gaussian, silent = setting_of(quadratic()), setting_of(quadratic({"noise": {"kind": "none"}}))
    assert gaussian.gap == silent.gap
    x = {"x": np.ones((5, 12))}
    parts = []
    for setting in (gaussian, silent):
        g = setting.noise.sample(np.random.default_rng(0), setting.problem, x, setting.problem.gradient(x))
        parts.append(ft.step(setting.algorithm, x, g, ft.init(np.arange(5)))[1].parts["x"].inside)
    np.testing.assert_array_equal(*parts)


def test_changing_the_selection_moves_nothing_else(quadratic):
    a, b = quadratic(), quadratic({"algorithm.seed": 99})
    assert setting_of(a).gap == setting_of(b).gap
    full = [
        evidence(e)["squared_gradient_norm"].mean
        for e in (quadratic({"algorithm.density": 1.0}), quadratic({"algorithm.density": 1.0, "algorithm.seed": 99}))
    ]
    np.testing.assert_array_equal(*full)


def test_the_weighted_norm_of_a_fixed_set_is_the_norm(quadratic):
    for overrides in ({"algorithm.density": 1.0}, {"algorithm.set": [0, 3]}, {"algorithm.density": 0.0}):
        found = evidence(quadratic(overrides), ("squared_gradient_norm", "weighted_squared_gradient_norm"))
        plain, weighted = found.values()
        np.testing.assert_allclose(plain.mean, weighted.mean, rtol=ROUNDING)


def test_unknown_metrics_are_refused(quadratic):
    with pytest.raises(ValueError, match="unknown metric"):
        evidence(quadratic(), ("loss",))


def test_divergence_is_reported_not_raised(quadratic):
    found = ft.simulate(quadratic({"algorithm.learning_rate": 1e200, "simulation.steps": 30}))
    assert not np.isfinite(found.mean[-1])
