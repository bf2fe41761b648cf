"""Three questions under simulations/, interpolation, momentum_factor and svd_bias: small versions against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

import frugal_theory as ft
from frugal_theory.algorithm.rules import Sgdm
from frugal_theory.algorithm.subspaces import orthonormal, principal
from frugal_theory.problems.matrix import Layer, Matrix
from frugal_theory.simulations import contraction, interpolation, momentum_factor, svd_bias
from frugal_theory.studies import questions
from frugal_theory.theorems.interpolation import asymptotic_rate, best_rate
from tests.tolerances import (
    ATTAINED,
    DOUBLE_ROOT,
    FACTORISATION,
    LARGE_MATRIX,
    ROUNDING,
    SMALL_STEPS,
    STANDARD_ERRORS,
)


def power(exponent: float, size: int) -> np.ndarray:
    return np.arange(1, size + 1) ** -float(exponent)


def random_basis(size: int, k: int, seed: int = 0) -> np.ndarray:
    return orthonormal(np.random.default_rng(seed).standard_normal(size * k), size, k)


# --- interpolation ---------------------------------------------------------------------------------------------


def test_a_path_is_that_of_the_algorithm(quadratic):
    """The rates of runs whose set is the svd of the gradient, against ``ft.step`` on the same matrix problem."""
    eigenvalues, gap, periods, k, alpha, beta = power(1, 5), 3, 6, 2, 1.7, 0.6
    start = np.random.default_rng(3).standard_normal((1, 5, 6))

    def choose(gradients: np.ndarray, _: int) -> np.ndarray:
        return contraction.projector(principal(gradients, "left", k))

    (rate,) = contraction.path_rates(eigenvalues, start, choose, gap, periods)(alpha, beta)
    overrides = {"algorithm.subspace": "svd", "algorithm.density": k / 5, "algorithm.update_gap": gap}
    overrides |= {"algorithm.state_full.beta": beta, "problem": {"kind": "matrix", "rows": 5, "columns": 6}}
    algorithm = quadratic(overrides).algorithm
    problem = Matrix([Layer(np.diag(np.sqrt(eigenvalues)), np.eye(6), np.zeros((5, 6)))])
    x, state, norms = {"W": start[0]}, ft.init(), []
    for _ in range(gap * periods):
        norms.append(np.linalg.norm(x["W"]))
        x, state = ft.step(algorithm, x, problem.gradient(x), state, alpha)
    half = periods // 2 * gap
    measured = (np.linalg.norm(x["W"]) / norms[half]) ** (1 / (gap * periods - half))
    assert rate == pytest.approx(measured, rel=FACTORISATION)


@pytest.mark.parametrize("k", [1, 3])
def test_leading_coordinates_have_the_closed_rate(k):
    eigenvalues = power(1, 6)
    radius = contraction.fixed_rate(eigenvalues, np.eye(6)[:, :k])
    for alpha, beta in ((0.3, 0.9), (1.9, 0.5), (3.0, 0.8)):
        assert radius(alpha, beta) == pytest.approx(asymptotic_rate(eigenvalues, k, alpha, beta), abs=DOUBLE_ROOT)
    rate, _, _ = contraction.fastest(radius, eigenvalues)
    assert rate == pytest.approx(best_rate(eigenvalues, k).rate, rel=ATTAINED)


@pytest.mark.parametrize("k", [1, 4, 7])
def test_no_set_is_stable_beyond_its_largest_step(k):
    """And the largest step of any k directions is at most that of the leading ones (Cauchy)."""
    eigenvalues = power(1, 8)
    leading = contraction.largest_step(eigenvalues, contraction.projector(np.eye(8)[:, :k]))
    assert leading == pytest.approx(2 / eigenvalues[k], rel=ROUNDING)
    for seed in range(5):
        basis = random_basis(8, k, seed)
        largest = contraction.largest_step(eigenvalues, contraction.projector(basis))
        assert largest <= leading
        radius = contraction.fixed_rate(eigenvalues, basis)
        assert all(radius(1.001 * largest, beta) > 1 for beta in (0.0, 0.5, 0.9, 0.99))
        assert radius(0.9 * largest, 0.999) < 1
    assert contraction.largest_step(eigenvalues, np.eye(8)) == np.inf


def test_top_directions_interpolate_and_random_ones_do_not(monkeypatch):
    monkeypatch.setattr(interpolation, "HORIZON", 40)
    monkeypatch.setattr(interpolation, "HELD_OUT", 3)
    settings = {"problem.dimension": 9, "sweep": {"problem.exponent": [2.0], "algorithm.density": [0.0, 0.3334, 1.0]}}
    table = interpolation.measure(questions.experiment("interpolation", settings))
    eigen = table[table["set"] == "eigen"]
    assert list(eigen["k"]) == [0, 3, 9]
    assert eigen["fraction"].iloc[-1] == pytest.approx(1, rel=ATTAINED)
    assert eigen["fraction"].to_numpy() == pytest.approx(eigen["closed_form"].to_numpy(), rel=ATTAINED)
    partial = table[table["k"] == 3].set_index("set")
    assert (partial["alpha"] <= partial["largest_step"].fillna(np.inf)).all()
    assert partial.loc["svd once", "fraction"] > 0.9 * partial.loc["eigen", "fraction"]
    descent = eigen["fraction"].iloc[0]
    for kind in ("random once", "random anew"):
        assert partial.loc[kind, "fraction"] < 0.5 * (descent + partial.loc["eigen", "fraction"])
    assert "Momentum on the top 33 %" in interpolation.answer(table).sentence


# --- momentum_factor -------------------------------------------------------------------------------------------


def test_the_worst_density_has_the_least_share_applied():
    densities = np.linspace(0, 1, 20001)[1:-1]
    for beta in (0.3, 0.9, 0.999):
        least = momentum_factor.applied(momentum_factor.worst_density(beta), beta)
        assert least == pytest.approx(1 / (0.5 + 0.5 / np.sqrt(1 - beta)), rel=ROUNDING)
        assert np.all(momentum_factor.applied(densities, beta) >= least * (1 - ROUNDING))


def test_the_noise_never_needs_the_factor_and_the_start_needs_another():
    """The floor is below SGD's at its largest step, 1/(2 − 1/4); the transient's constant is 1/ω for small steps."""
    one = questions.experiment("momentum_factor", {"algorithm.learning_rate": {"fraction_of_admissible": 0.02}})
    for beta, density in ((0.5, 0.25), (0.9, 0.5), (0.96, momentum_factor.worst_density(0.96))):
        changes = {"density": density, "state_full": Sgdm(beta=beta)}
        found = momentum_factor.constants(one.model_copy(update={"algorithm": one.algorithm.model_copy(update=changes)}))
        assert found["transient"] == pytest.approx(1 / found["applied"], rel=SMALL_STEPS)
        assert found["transient"] <= found["transient_bound"]
        assert found["floor"] <= found["floor_bound"]
        assert found["floor"] <= 4 / 7
    assert momentum_factor.largest_floor()["floor"] == pytest.approx(4 / 7, rel=ATTAINED)


# --- svd_bias --------------------------------------------------------------------------------------------------


def test_the_set_chosen_from_the_gradient_is_that_of_the_algorithm():
    """Two periods by ``ft.step`` alone, bit for bit."""
    experiment = questions.experiment("svd_bias", {"algorithm.update_gap": 3, "simulation.trials": 4})
    problem, algorithm, trials = ft.build_problem(experiment), experiment.algorithm, np.arange(4)
    kept = algorithm.model_copy(update={"update_gap": svd_bias.NEVER})
    rng = np.random.default_rng(0)
    x = y = {"W": rng.standard_normal((4, 8, 12))}
    state, other = ft.init(trials), ft.init(trials)
    for k in range(6):
        noise = rng.standard_normal((4, 8, 12))
        x, state = ft.step(algorithm, x, {"W": problem.gradient(x)["W"] + noise}, state, 0.1)
        stochastic = {"W": problem.gradient(y)["W"] + noise}
        if k % 3 == 0:
            other = svd_bias.state_chosen_from(algorithm, stochastic, trials, k // 3)
        y, other = ft.step(kept, y, stochastic, other, 0.1)
    assert np.array_equal(x["W"], y["W"])


def agrees(samples: np.ndarray, expected: float) -> bool:
    return bool(abs(samples.mean() - expected) <= STANDARD_ERRORS * samples.std() / np.sqrt(len(samples)))


def test_the_bias_of_a_choice_is_steins():
    rng = np.random.default_rng(1)
    gradient = rng.standard_normal((4, 6))
    for sigma in (0.1, 1.0, 4.0):
        found = svd_bias.captured(gradient, sigma, 2, 20_000, rng)
        assert agrees(found["own"] - found["copy"] - found["stein"], 0.0)
        assert found["stein"].mean() > STANDARD_ERRORS * found["stein"].std() / np.sqrt(20_000)
    small = svd_bias.captured(gradient, 0.01, 2, 2000, rng)
    assert small["stein"].mean() == pytest.approx(svd_bias.small_noise(gradient, 0.01, 2), rel=ATTAINED)


def test_the_bias_of_rank_one_gradients():
    """Few noise: (rows − 1)σ²/θ². Many rows and columns: rows · σ²/θ² of what an independent set captures (Benaych-Georges &
    Nadakuditi 2012, where own and copy are 1 − c/θ⁴ and (1 − c/θ⁴)θ²/(θ² + c) with c = rows/columns, σ² = 1/columns)."""
    left, right = random_basis(5, 1), random_basis(7, 1)
    assert svd_bias.small_noise(2 * left @ right.T, 0.1, 1) == pytest.approx(4 * 0.1**2 / 4, rel=FACTORISATION)
    rows, columns, theta = 60, 120, 1.6
    c = rows / columns
    gradient = theta * random_basis(rows, 1) @ random_basis(columns, 1).T
    found = svd_bias.captured(gradient, columns**-0.5, 1, 400, np.random.default_rng(0))
    assert found["own"].mean() == pytest.approx(1 - c / theta**4, rel=LARGE_MATRIX)
    assert found["own"].mean() / found["copy"].mean() == pytest.approx(1 + c / theta**2, rel=LARGE_MATRIX)


def test_noise_alone_is_captured_by_its_energy():
    """Where there is no signal, own is the energy share c and copy is k/rows."""
    gradient = 1e-3 * np.random.default_rng(0).standard_normal((3, 4))
    found = svd_bias.captured(gradient, 1.0, 1, 5000, np.random.default_rng(2))
    assert agrees(found["copy"], 1 / 3)
    assert found["energy"].mean() > 0.5


@pytest.mark.parametrize("rule", ["sgd", "none"])
def test_the_bias_of_a_period(rule):
    """(w_1 − s)B, and B at the first step is all there is: the gradient is constant."""
    experiment = questions.experiment("svd_bias", {"algorithm.state_free": rule, "algorithm.state_full.beta": 0.6})
    gradient, scale = np.random.default_rng(5).standard_normal((3, 4)), float(rule == "sgd")
    settings = (experiment.algorithm.model_copy(update={"density": 0.34}), gradient, 1.0, 4, 12_000, 0)
    own, copy = svd_bias.progress(*settings, own=True), svd_bias.progress(*settings, own=False)
    choice = svd_bias.captured(gradient, 1.0, 1, 40_000, np.random.default_rng(6))
    share, bias = choice["copy"].mean(), choice["stein"].mean()
    for gap in (1, 2, 4):
        steps = gap * svd_bias.mean_step(0.6, gap, scale, share, share)
        assert agrees(copy[:, gap - 1], steps)
        assert agrees(own[:, gap - 1] - copy[:, gap - 1], (1 - 0.6**gap - scale) * bias)


def test_an_oblivious_set_has_no_bias():
    """Columns and random bases do not look at the gradient: own and copy are the same, bit for bit."""
    for subspace in ("columns", "random"):
        algorithm = questions.experiment("svd_bias", {"algorithm.subspace": subspace}).algorithm
        settings = (algorithm, np.ones((8, 12)), 1.0, 3, 5, 0)
        assert np.array_equal(svd_bias.progress(*settings, own=True), svd_bias.progress(*settings, own=False))


def test_the_floor_of_small_steps():
    """A set chosen from an independent sample: αV/(2 eff) per unit of noise, dimension 96, λ = 1; and own's is below it."""
    settings = {"algorithm.update_gap": 1, "simulation": {"steps": 300, "trials": 24}, "problem.condition": 1.0, "sweep": {}}
    experiment = questions.experiment("svd_bias", settings)
    energy, step = (f(0.9, 1, 1.0, 0.25, 0.25) for f in (svd_bias.mean_energy, svd_bias.mean_step))
    copy, own = (svd_bias.floor(experiment, 0.02, own=own) for own in (False, True))
    assert agrees(copy, 0.02 * energy / (2 * step) * 96 * 0.3**2)
    assert own.mean() < copy.mean()
