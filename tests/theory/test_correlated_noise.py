"""Subspaces with a basis under noise whose coordinates are correlated: the bounds hold by the worst trace, and the premise that
spares it is tested."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import frugal_theory as ft
from benchmarks import bench_premises as study
from benchmarks.bench_premises import Additive
from frugal_theory.config import Algorithm
from frugal_theory.instance import Instance
from frugal_theory.premises import LEVEL, check_premises
from frugal_theory.premises.covariance import directed, paired
from frugal_theory.premises.draws import Draws
from frugal_theory.premises.moments import POWER
from frugal_theory.premises.uncorrelated import in_basis
from frugal_theory.problems import Gaussian, Quadratic
from frugal_theory.theorems import THEOREMS
from tests.tolerances import LEAST_P_VALUE, ROUNDING

FAMILY = ("run_length", "run_length_sharp", "short_runs", "orthogonal_subspaces")


class Together:
    """σ ε v with one fair sign ε for all coordinates and v of signs: mean zero, variance σ² in every coordinate, rank one."""

    def __init__(self, direction, sigma=1.0):
        self.direction, self.sigma = direction, sigma

    def variance(self, problem):
        return {name: np.full(shape, self.sigma**2) for name, shape in problem.shapes.items()}

    def at(self, x):  # noqa: ARG002
        return self.direction

    def sample(self, rng, problem, x, gradient):  # noqa: ARG002
        g = gradient["x"]
        return {"x": g + self.sigma * rng.choice([-1.0, 1.0], (*g.shape[:-1], 1)) * self.at(x["x"])}


class AwayFromStart(Together):
    """σ ε sign(x − x¹): the covariance follows x, and x follows the basis of the period."""

    def at(self, x):
        return np.where(x >= self.direction, 1.0, -1.0)


def algorithm(**keys):
    given = {"density": 0.02, "subspace": "eigen", "update_gap": 10, "state_full": {"rule": "sgdm", "beta": 0.9}}
    return Algorithm(**(given | {"state_free": {"rule": "none"}} | keys))


def eigen_instance(steps=2000, alpha=0.02):
    d = 50
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((d, d)))[0]
    problem = Quadratic(np.arange(1, d + 1.0) ** -1, rotation, start=[1e-3] * d)
    noise = Together(np.sign(problem.bases["x"][:, 0]))
    return Instance.of_parts(problem, noise, algorithm(), learning_rate=alpha, steps=steps)


def exact_average(instance):
    """avg E‖gᵏ‖²_W of SGDM on the first eigenvector alone, noise of variance ⟨v, q⟩²: a recursion of two second moments."""
    q, alpha, beta = instance.bases["x"][:, 0], instance.setting.alpha, 0.9
    curvature, variance = instance.problem.smoothness, float(instance.noise.direction @ q) ** 2
    step = np.array([[1 - alpha * (1 - beta) * curvature, -alpha * beta], [(1 - beta) * curvature, beta]])
    inject = np.array([-alpha * (1 - beta), 1 - beta])
    moments = np.zeros((2, 2))
    moments[0, 0] = float(instance.start["x"] @ q) ** 2
    found = np.empty(instance.setting.steps)
    for k in range(instance.setting.steps):
        found[k] = curvature**2 * moments[0, 0]
        moments = step @ moments @ step.T + variance * np.outer(inject, inject)
    return np.cumsum(found) / instance.setting.horizons


@pytest.mark.parametrize("name", ["run_length", "run_length_sharp"])
def test_a_fixed_basis_under_correlated_noise_stays_below_the_bound(name):
    """Noise along the top eigenvector: E‖Πξ‖² is up to d times Σ Π_jj σ_j². Exact numbers."""
    instance = eigen_instance()
    measured, bound = exact_average(instance), THEOREMS[name].bound(instance.setting)
    assert np.all(measured <= bound * (1 + ROUNDING))
    assert measured[-1] > 0.25 * bound[-1], "the worst trace is nearly attained, so a smaller one would be false"


def random_average(steps=300, trials=32, d=64, alpha=0.02):
    start = np.full(d, 1e-3)
    problem = Quadratic(np.ones(d), None, start=start.tolist())
    noise = AwayFromStart(start)
    keys = algorithm(subspace="random", density=1 / 16, update_gap=steps)
    instance = Instance.of_parts(problem, noise, keys, learning_rate=alpha, steps=steps, trials=trials)
    rng, x = np.random.default_rng(0), {"x": np.repeat(start[None], trials, axis=0)}
    state, measured, weights = ft.init(trials=np.arange(trials)), np.empty((steps, trials)), 1 - 0.9 ** np.arange(steps, 0, -1)
    for k in range(steps):
        gradient = problem.gradient(x)
        drawn = noise.sample(rng, problem, x, gradient)
        x, state = ft.step(keys, x, drawn, state, alpha)
        measured[k] = weights[k] * np.sum(state.parts["x"].project(gradient["x"]) ** 2, axis=-1)
    return instance, np.cumsum(measured, axis=0) / np.arange(1, steps + 1)[:, None]


@pytest.mark.parametrize("name", FAMILY)
def test_a_basis_held_under_noise_that_follows_x_stays_below_the_bound(name):
    """x moves within the basis of the period, and so does noise of the covariance sign(x − x¹) sign(x − x¹)ᵀ."""
    instance, measured = random_average()
    error = measured.std(axis=1, ddof=1) / np.sqrt(measured.shape[1])
    bound = THEOREMS[name].bound(instance.setting)
    assert np.all(measured.mean(axis=1) - 4 * error <= bound)


@pytest.mark.parametrize("name", FAMILY)
def test_the_worst_trace_is_the_closed_form(name):
    """Random bases: ρσ² on the first step of a period, whatever the covariance; afterwards σ² on the set and max(W, s)²σ²."""
    gap, rho, beta, scale = 5, 0.25, 0.9, 0.3
    keys = algorithm(subspace="random", density=rho, update_gap=gap, state_free={"rule": "sgd", "lr_scale": scale})
    made = Instance.of_parts(Quadratic(np.ones(8)), Together(np.ones(8)), keys, learning_rate=0.01, steps=12).setting
    weight = 1 - beta ** (gap - np.arange(12) % gap)
    first = np.arange(12) % gap == 0
    everything = 8 * np.where(first, (1 - rho) * scale**2 + rho * weight**2, np.maximum(weight, scale) ** 2)
    on_set = 8 * np.where(first, rho, 1.0) * weight**2
    for found, expected in zip(made.weighted_noise, (everything, on_set), strict=True):
        np.testing.assert_allclose(found, expected, rtol=ROUNDING)
    known = made.having(uncorrelated=True)
    assert np.all(THEOREMS[name].bound(known) <= THEOREMS[name].bound(made) * (1 + ROUNDING))
    np.testing.assert_allclose(known.weighted_noise[1], 8 * rho * weight**2, rtol=ROUNDING)


@pytest.mark.parametrize("keys", [{"subspace": "random", "update_gap": 1}, {"subspace": "coordinates"}, {"density": 1.0}])
def test_where_the_trace_is_known_nothing_is_needed(keys):
    """T = 1: the basis is independent of x, and E tr(ΠΣ) = tr(E Π Σ) = ρσ². A set of coordinates: Σ_jj alone counts."""
    made = Instance.of_parts(Quadratic(np.ones(8)), Gaussian(1.0), algorithm(**({"density": 0.25} | keys)), learning_rate=0.01)
    for name in ("run_length", "run_length_sharp", "short_runs"):
        assert THEOREMS[name].needs(made.setting) == ()
        unknown = made.setting.having(uncorrelated=False)
        np.testing.assert_array_equal(THEOREMS[name].bound(made.setting), THEOREMS[name].bound(unknown))


def test_a_basis_of_coordinates_mixes_nothing():
    """The eigenvectors of a separable quadratic are the axes, so correlations do not matter."""
    made = Instance.of_parts(Quadratic(np.arange(1.0, 5.0)), Together(np.ones(4)), algorithm(density=0.5), learning_rate=0.01)
    assert not made.setting.runs.turned
    np.testing.assert_allclose(made.setting.weighted_noise, 2.0, rtol=ROUNDING)


# --- the premise -----------------------------------------------------------------------------------------------------


def premise(noise, problem=None, keys=None, seed=0):
    problem = Quadratic(np.ones(20)) if problem is None else problem
    made = Instance.of_parts(problem, noise, keys or algorithm(), learning_rate=0.01, seed=seed)
    return check_premises(made, further=("uncorrelated",))[-1]


class Correlated(Additive):
    """Gaussian noise with the factor given, said to be uncorrelated."""

    uncorrelated = True

    def __init__(self, factor):
        super().__init__(
            lambda rng, shape: rng.standard_normal((*shape[:-1], factor.shape[1])) @ factor.T, np.sum(factor**2, axis=1)
        )


class Spread(Additive):
    uncorrelated = True


def test_every_pair_correlated_by_a_little_is_seen_in_one_direction():
    """A correlation of 0.05 of all pairs of 400 coordinates: no pair shows it, and tr(ΠΣ) can be 20 times Σ Π_jjσ_j²."""
    d, correlation = 400, 0.05
    factor = np.hstack([np.sqrt(1 - correlation) * np.eye(d), np.full((d, 1), np.sqrt(correlation))])
    found = premise(Correlated(factor), Quadratic(np.ones(d)))
    assert not found.held
    assert "one direction" in found.how


def test_noise_in_the_basis_itself_is_seen():
    """What the eigenvector that is selected has of it, where neither a pair nor a leading direction shows it."""
    d, rng = 200, np.random.default_rng(0)
    rotation = np.linalg.qr(rng.standard_normal((d, d)))[0]
    made = Instance.of_parts(Quadratic(np.arange(1.0, d + 1) ** -1, rotation), Gaussian(1.0), algorithm(density=0.005))
    direction = made.bases["x"][:, :1]
    noise = rng.standard_normal((4096, d)) + 0.5 * rng.standard_normal((4096, 1)) * direction.T
    at = Draws("x¹", noise[None], np.zeros(d))
    assert not paired(at.flat, at.rounding, LEVEL / 6).refused
    assert in_basis(made, at, LEVEL / 6).refused
    assert not in_basis(made, Draws("x¹", rng.standard_normal((1, 4096, d)), np.zeros(d)), LEVEL / 6).refused


@pytest.mark.parametrize("name", [name for name, noise in study.TRUE.items() if isinstance(noise, Additive)])
def test_uncorrelated_noise_is_refused_within_the_level(name):
    """Dependent (multivariate t), skewed, sparse and heavy-tailed noise, too."""
    rng, repetitions, level = np.random.default_rng(3), 40, 0.05
    drawn = [study.TRUE[name].law(rng, (1024, 20)) for _ in range(repetitions)]
    for test in (paired, directed):
        count = sum(test(noise, np.zeros(20), level).refused for noise in drawn)
        assert stats.binom.sf(count - 1, repetitions, level) > LEAST_P_VALUE


def test_a_correlation_of_the_stated_size_is_found():
    rng, count = np.random.default_rng(0), 0
    for _ in range(40):
        noise = rng.standard_normal((1024, 20))
        size = paired(noise, np.zeros(20), LEVEL / 18).detectable
        noise[:, 0] = size * noise[:, 1] + np.sqrt(1 - size**2) * noise[:, 0]
        count += paired(noise, np.zeros(20), LEVEL / 18).refused
    assert stats.binom.cdf(count, 40, POWER) > LEAST_P_VALUE


def test_a_false_word_makes_the_theorem_not_applicable():
    noise = Together(np.ones(20))
    noise.uncorrelated = True
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((20, 20)))[0]
    found = premise(noise, Quadratic(np.arange(1.0, 21), rotation), algorithm(density=0.5))
    assert not found.held
    assert found.level == pytest.approx(LEVEL / 6)
    assert premise(Spread(lambda rng, shape: rng.standard_normal(shape))).held
