"""signSGD: its bounds, the constants they rest on, the coordinate-wise smoothness of every problem."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

import frugal_theory as ft
from frugal_theory.evidence.monte_carlo.simulation import monte_carlo, simulation
from frugal_theory.instance import Instance, setting_of
from frugal_theory.metrics import SignNorm
from frugal_theory.problems import build_problem
from frugal_theory.problems.coordinates import coordinate_smoothness, dominating_diagonal
from frugal_theory.theorems import THEOREMS
from frugal_theory.theorems.signsgd import SignSgd
from frugal_theory.theorems.signsgd_sharp import SignSgdSharp, sign_loss
from tests.tolerances import FACTORISATION, ROUNDING

SIGN = {"algorithm.density": 0.0, "algorithm.state_free.rule": "signsgd", "algorithm.learning_rate": 0.01}
UNIT_LAWS = [stats.norm(), stats.t(3, scale=3**-0.5), stats.uniform(-(3**0.5), 2 * 3**0.5), stats.laplace(0, 0.5**0.5)]
"""Symmetric unimodal laws of variance 1."""
THEOREM_NAMES = {"verify.theorems": ["signsgd", "signsgd_sharp"]}


def by_name(verdicts):
    return {verdict.theorem: verdict for verdict in verdicts}


def test_the_bound_is_the_formula(quadratic):
    sigma = [0.1 * (j + 1) for j in range(12)]
    s = setting_of(quadratic(SIGN | {"noise.sigma": sigma})).having(learning_rate=0.01)
    curvature, total = sum(1 / j for j in range(1, 13)), sum(sigma)
    plain = s.gap / (s.horizons * 0.01) + 0.005 * curvature
    np.testing.assert_allclose(SignSgd().bound(s), plain + 2 * total, rtol=ROUNDING)
    np.testing.assert_allclose(SignSgdSharp().bound(s), plain + math.sqrt(3) / 4 * total, rtol=ROUNDING)


def test_the_state_free_scale_is_part_of_the_step(quadratic):
    halved = setting_of(quadratic(SIGN | {"algorithm.state_free.lr_scale": 0.5})).having(learning_rate=0.02)
    plain = setting_of(quadratic(SIGN)).having(learning_rate=0.01)
    np.testing.assert_allclose(SignSgd().bound(halved), SignSgd().bound(plain), rtol=ROUNDING)


@pytest.mark.parametrize("alpha", [0.003, 0.1, 3.0])
@pytest.mark.parametrize("rotated", [False, True])
def test_both_hold_at_any_step(quadratic, alpha, rotated):
    overrides = SIGN | THEOREM_NAMES | {"algorithm.learning_rate": alpha, "problem.rotated": rotated}
    verdicts = by_name(ft.verify(quadratic(overrides)))
    assert {name: v.status for name, v in verdicts.items()} == {"signsgd": "holds", "signsgd_sharp": "holds"}
    assert verdicts["signsgd"].metric == "gradient_one_norm"
    assert verdicts["signsgd_sharp"].bound < verdicts["signsgd"].bound


def test_both_hold_on_data_with_minibatch_noise(quadratic):
    overrides = {"problem": {"kind": "logistic"}, "noise": {"kind": "minibatch", "batch_size": 4}}
    assert {v.status for v in ft.verify(quadratic(SIGN | THEOREM_NAMES | overrides))} == {"holds"}


def test_heavy_tails_need_no_sixth_moment_for_the_one_norm(quadratic):
    """The step is bounded, hence so is g: an average of ‖g‖₁ has a valid interval whatever the tails."""
    noise = {"kind": "student-t", "degrees_of_freedom": 3.0}
    assert {v.status for v in ft.verify(quadratic(SIGN | THEOREM_NAMES | {"noise": noise}))} == {"holds"}


class Coin:
    """g ± σ with equal probability: symmetric, not unimodal."""

    def variance(self, problem):
        return {name: np.ones(shape) for name, shape in problem.shapes.items()}

    def sample(self, rng, problem, x, gradient):  # noqa: ARG002
        return {name: g + rng.choice([-1.0, 1.0], size=g.shape) for name, g in gradient.items()}


def average_one_norm(quadratic, noise, alpha):
    problem = build_problem(quadratic({"problem": {"kind": "quadratic", "eigenvalues": [1.0], "start": [0.5]}}))
    algorithm = quadratic(SIGN).algorithm
    made = Instance.of_parts(problem, noise, algorithm, learning_rate=alpha, steps=int(20 / alpha), trials=64)
    found = monte_carlo(simulation(made, ("gradient_one_norm",)))
    return found["gradient_one_norm"].mean[-1]


def test_the_noise_floor_is_real_for_a_coin_and_not_for_gaussian_noise(quadratic):
    """A hundredth of the step leaves E|g| where it was under a coin's noise, and lowers it under Gaussian noise."""
    large, small = (average_one_norm(quadratic, Coin(), alpha) for alpha in (0.2, 0.01))
    assert 0.3 < small <= SignSgdSharp().noise_factor(setting_of(quadratic(SIGN)).having(symmetric_unimodal=False))
    assert large > 0.3
    large, small = (
        average_one_norm(quadratic, ft.build_noise(quadratic({"noise.sigma": 1.0})), alpha) for alpha in (0.2, 0.01)
    )
    assert small < 0.5 * large


def test_the_sign_norm_is_its_definition():
    sigma = np.array([0.0, 1.0, 1.0, 2.0])
    gradient = np.array([[-3.0, 0.5, -4.0, 2.0 * 2 / np.sqrt(3)]])
    expected = 3 + 0.25 / np.sqrt(3) + 4 * (1 - 4 / (9 * 16)) + 2.0 * 2 / np.sqrt(3) * 2 / 3
    np.testing.assert_allclose(SignNorm({"x": sigma})({"x": gradient}, {}, None, 0), expected, rtol=ROUNDING)


@pytest.mark.parametrize("alpha", [0.003, 0.1, 3.0])
def test_the_floorless_bound_holds(quadratic, alpha):
    overrides = SIGN | {"algorithm.learning_rate": alpha, "noise.sigma": 0.5, "verify.theorems": ["signsgd_symmetric"]}
    overrides["simulation.max_trials"] = 4096
    (verdict,) = ft.verify(quadratic(overrides))
    assert verdict.status == "holds"
    coin = Instance.of_parts(build_problem(quadratic(overrides)), Coin(), quadratic(overrides).algorithm).setting
    assert "symmetric" in THEOREMS["signsgd_symmetric"].covers(coin)


@pytest.mark.parametrize("law", UNIT_LAWS, ids=lambda law: law.dist.name)
def test_gauss_keeps_at_least_h(law):
    """1 − 2P(wrong) ≥ h(t) for unit variance laws that are symmetric and unimodal."""
    t = np.linspace(1e-3, 6, 2000)
    h = np.where(t <= 2 / np.sqrt(3), t / np.sqrt(3), 1 - 4 / (9 * t**2))
    assert np.all(1 - 2 * law.cdf(-t) >= h - ROUNDING)


def two_point_loss(t: float, q: float) -> float:
    """(|g| − E[g sign g̃])/σ at g = t for the law that is √((1−q)/q) with probability q and −√(q/(1−q)) otherwise."""
    values, probabilities = np.array([math.sqrt((1 - q) / q), -math.sqrt(q / (1 - q))]), np.array([q, 1 - q])
    return t - t * float(probabilities @ np.sign(t + values))


def test_the_general_constant_holds_for_every_two_point_law_and_is_attained():
    losses = [two_point_loss(t, q) for t in np.linspace(0.01, 3, 300) for q in np.linspace(0.01, 0.99, 99)]
    assert max(losses) <= 1 + ROUNDING
    assert two_point_loss(1 - 1e-9, 0.5) == pytest.approx(1, abs=1e-8)


@pytest.mark.parametrize("law", UNIT_LAWS, ids=lambda law: law.dist.name)
def test_the_unimodal_constant_holds_for_symmetric_unimodal_laws(law):
    assert law.std() == pytest.approx(1)
    t = np.linspace(1e-3, 6, 2000)
    assert np.max(2 * t * law.cdf(-t)) <= math.sqrt(3) / 4 + ROUNDING


def test_the_unimodal_constant_is_attained_by_the_uniform_law():
    t = np.linspace(1e-3, 2, 4001)
    assert np.max(2 * t * stats.uniform(-(3**0.5), 2 * 3**0.5).cdf(-t)) == pytest.approx(math.sqrt(3) / 4, rel=1e-6)


def test_which_noise_is_symmetric_and_unimodal(quadratic):
    kinds = {"gaussian": {"sigma": 0.1}, "student-t": {"degrees_of_freedom": 3.0}, "none": {}}
    for kind, keys in kinds.items():
        assert sign_loss(setting_of(quadratic({"noise": {"kind": kind, **keys}}))) == math.sqrt(3) / 4
    minibatch = quadratic({"problem": {"kind": "logistic"}, "noise": {"kind": "minibatch", "batch_size": 4}})
    assert sign_loss(setting_of(minibatch)) == 1.0


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"algorithm.density": 0.0, "algorithm.state_free.rule": "sgd"},
        {"algorithm.density": 0.5, "algorithm.state_free.rule": "signsgd"},
        SIGN | {"algorithm.weight_decay": 0.1},
        SIGN | {"algorithm.state_free.lr_scale": 0.0},
    ],
    ids=str,
)
def test_what_is_not_signsgd(quadratic, overrides):
    reason = THEOREMS["signsgd"].covers(setting_of(quadratic(overrides)))
    assert isinstance(reason, str)
    assert reason


PROBLEMS = [
    {"kind": "quadratic", "dimension": 12},
    {"kind": "quadratic", "dimension": 12, "rotated": True},
    {"kind": "quadratic", "dimension": 12, "rotated": True, "blocks": 3},
    {"kind": "logistic"},
    {"kind": "nonconvex", "dimension": 8, "samples": 30},
    {"kind": "matrix", "layers": 2},
]


@pytest.mark.parametrize("table", PROBLEMS, ids=str)
def test_coordinate_smoothness_bounds_every_problem(quadratic, table):
    """f(y) ≤ f(x) + ⟨∇f, y−x⟩ + ½‖y−x‖²_D and ‖∇f(x) − ∇f(y)‖_{1/D} ≤ ‖x−y‖_D on random pairs at all distances."""
    problem = build_problem(quadratic({"problem": table}))
    diagonal = coordinate_smoothness(problem)
    rng = np.random.default_rng(0)
    for scale in (1e-2, 1.0, 30.0):
        x = {n: rng.standard_normal((200, *shape)) for n, shape in problem.shapes.items()}
        y = {n: x[n] + scale * rng.standard_normal((200, *shape)) for n, shape in problem.shapes.items()}

        def total(terms):
            return sum(t.reshape(200, -1).sum(axis=1) for t in terms.values())

        at_x, at_y = problem.gradient(x), problem.gradient(y)
        linear = total({n: at_x[n] * (y[n] - x[n]) for n in x})
        curved = total({n: diagonal[n] * (y[n] - x[n]) ** 2 for n in x})
        change = total({n: (at_y[n] - at_x[n]) ** 2 / diagonal[n] for n in x})
        value = np.asarray(problem.value(x))
        slack = FACTORISATION * (np.abs(value) + np.abs(linear) + curved)
        assert np.all(problem.value(y) <= value + linear + curved / 2 + slack)
        assert np.all(change <= curved * (1 + FACTORISATION))


def test_coordinate_smoothness_of_a_separable_quadratic_is_exact(quadratic):
    problem = build_problem(quadratic({"problem": {"kind": "quadratic", "eigenvalues": [3.0, 1.0, 0.5]}}))
    np.testing.assert_array_equal(coordinate_smoothness(problem)["x"], [3.0, 1.0, 0.5])


def test_without_the_method_every_coordinate_has_l():
    class Bare:
        shapes = {"x": (2, 3)}  # noqa: RUF012
        smoothness = 4.0

    np.testing.assert_array_equal(coordinate_smoothness(Bare())["x"], np.full((2, 3), 4.0))


def test_a_dominating_diagonal_dominates():
    rng = np.random.default_rng(1)
    for size in range(1, 9):
        for power in (1, 8):
            matrix = rng.standard_normal((size, size)) ** power
            matrix = matrix + matrix.T
            diagonal = np.diag(dominating_diagonal(matrix))
            for sign in (1, -1):
                least = np.linalg.eigvalsh(diagonal + sign * matrix)[0]
                assert least >= -FACTORISATION * np.abs(matrix).max()
