"""Selection by svd of the stochastic gradient: the theorem against every path, and the instance on which nothing happens."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import frugal_theory as ft
from frugal_theory.instance import Instance
from frugal_theory.problems import NoNoise
from frugal_theory.problems.matrix import Layer, Matrix
from frugal_theory.simulations import svd_counterexample as trapped
from frugal_theory.studies import questions
from frugal_theory.testing import check_noise, check_theorem
from tests.tolerances import ENUMERATION, ROUNDING

THEOREM = ft.THEOREMS["svd_selection"]
FEW = {"simulation.steps": 260, "simulation.trials": 3}


def algorithm(**keys: object) -> ft.Algorithm:
    base = {
        "learning_rate": 0.3,
        "density": 0.5,
        "update_gap": 1,
        "subspace": "svd",
        "state_full": "sgdm",
        "state_free": "none",
    }
    return ft.Algorithm.model_validate(base | keys)


def setting(
    problem: Matrix | None = None, variance: float = 0.0, gap: float | None = None, steps: int = 50, **keys: object
) -> ft.Setting:
    chosen = algorithm(**{"state_full": {"rule": "sgdm", "beta": 0.0}, **keys})
    matrix = problem or Matrix([Layer(np.eye(4), np.eye(6), np.ones((4, 6)))], "ones")
    made = Instance.of_parts(matrix, NoNoise(), chosen, learning_rate=float(chosen.learning_rate), steps=steps).setting
    spread = {name: np.full(shape, variance / np.prod(shape) / len(matrix.shapes)) for name, shape in matrix.shapes.items()}
    return made.having(variance=spread, gap=made.gap if gap is None else gap)


# --- the bound -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("beta", "scale"), [(0.0, 0.0), (0.6, 0.2), (0.6, 0.9)])
def test_the_best_eta_is_taken(beta: float, scale: float) -> None:
    free = {"rule": "sgd", "lr_scale": scale} if scale else "none"
    at = setting(variance=2.0, gap=3.0, state_full={"rule": "sgdm", "beta": beta}, state_free=free)
    w, rho = 1 - beta, 0.5
    most, least = max(w, scale), min(w, scale + (w - scale) * rho)
    room = 1 - 0.3 * most / 2
    eta = np.linspace(0, 2 * room, 200_001)[1:-1, None]
    tried = (3 / (np.arange(1, 51) * 0.3) + most * 2.0 / (2 * eta)) / (least * (room - eta / 2)) - 2.0
    np.testing.assert_allclose(THEOREM.bound(at), tried.min(axis=0), rtol=1e-8)
    assert np.all(THEOREM.bound(at) <= tried.min(axis=0) * (1 + ROUNDING))


def test_its_ends_are_the_closed_forms() -> None:
    room = 1 - 0.3 / 2
    np.testing.assert_allclose(THEOREM.bound(setting(gap=3.0))[-1], 3 / (50 * 0.3 * 0.5 * room), rtol=ROUNDING)
    np.testing.assert_allclose(THEOREM.bound(setting(variance=2.0, gap=0.0))[-1], 2 * (1 / (0.5 * room**2) - 1), rtol=ROUNDING)


def test_the_contract() -> None:
    check_theorem(THEOREM, [setting(variance=2.0, gap=3.0), setting(gap=1.0, state_free="sgd")])


@pytest.mark.parametrize(
    ("keys", "word"),
    [
        ({"update_gap": 2}, "T = 2"),
        ({"subspace": "random"}, "not chosen by svd"),
        ({"density": 1.0}, "not chosen by svd"),
        ({"state_full": "adamw"}, "adamw"),
        ({"state_free": "signsgd"}, "signsgd"),
        ({"state_free": {"rule": "sgd", "lr_scale": 1.5}}, "at most 1"),
        ({"weight_decay": 0.1}, "weight_decay"),
        ({"state_full": {"rule": "sgdm", "beta": 0.5}, "on_update": "keep"}, "on_update"),
        ({"density": 0.9, "state_full": {"rule": "sgdm", "beta": 0.5}}, "as a whole"),
    ],
)
def test_what_it_does_not_speak_of(keys: dict[str, object], word: str) -> None:
    matrix = Matrix([Layer(np.eye(4), np.eye(4), np.ones((4, 4)))], "ones")
    reason = THEOREM.covers(setting(matrix, **keys))
    assert reason is not None
    assert word in reason


def test_every_path_of_small_matrices_stays_below_it() -> None:
    """Random quadratics of 2 × 3 matrices, noise ±N with one random matrix N, all signs of four steps."""
    rng, closest = np.random.default_rng(0), 0.0
    paths = np.array(list(itertools.product([1.0, -1.0], repeat=4)))
    for _ in range(60):
        left, right, solution = rng.normal(size=(2, 2)), rng.normal(size=(3, 3)), rng.normal(size=(2, 3))
        problem = Matrix([Layer(left, right, solution)], "ones")
        size = 10 ** rng.uniform(-2, 1) * rng.normal(size=(2, 3)) * (rng.random((2, 3)) < 0.5)
        alpha = rng.uniform(0.05, 1.9) / problem.smoothness
        one = algorithm(learning_rate=alpha, state_full={"rule": "sgdm", "beta": 0.0}, state_free=rng.choice(["none", "sgd"]))
        x, state, total = {"W": np.ones((16, 2, 3))}, ft.init(np.arange(16)), 0.0
        at = Instance.of_parts(problem, NoNoise(), one, learning_rate=alpha, steps=4).setting.having(variance={"W": size**2})
        bound = THEOREM.bound(at)
        for k in range(4):
            gradient = problem.gradient(x)["W"]
            total += float(np.sum(gradient**2) / 16)
            closest = max(closest, total / (k + 1) / bound[k])
            x, state = ft.step(one, x, {"W": gradient + paths[:, k, None, None] * size}, state)
    assert 0.3 < closest <= 1 + ENUMERATION


def test_verify_speaks_of_svd_selection() -> None:
    """Without noise it holds; with noise nothing refutes it, and P6 is not what keeps it from holding."""
    for noise, statuses in (({"kind": "none"}, {"holds"}), ({"kind": "gaussian", "sigma": 0.26}, {"holds", "inconclusive"})):
        experiment = questions.experiment("svd_counterexample", {"simulation.steps": 40, "noise": noise})
        found = {v.theorem: v for v in ft.verify(experiment)}
        assert found["svd_selection"].status in statuses
        assert [premise.name for premise in found["svd_selection"].premises] == ["P1", "P2", "P3", "P4", "P5"]
        assert found["run_length"].status == "not applicable"
        assert "P6" in found["run_length"].reason


# --- the counterexample ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def table():
    return trapped.measure(questions.experiment("svd_counterexample", FEW))


def test_the_gradient_does_not_move_by_a_bit(table) -> None:
    assert table.loc[table["part"] == "held", "measured"].tolist() == [0.0] * len(trapped.HELD)
    answer = trapped.answer(table)
    assert answer.status == "no"
    assert "does not move by a bit" in answer.sentence


def test_it_moves_with_anything_else(table) -> None:
    ends = table[table["part"] == "path"].groupby("method")["measured"].last()
    assert ends.pop("svd, noise in one direction") == 1.0
    assert ends.max() < 0.1
    assert ends["random direction"] < 1e-4


def test_batches_stop_where_the_closed_form_says(table) -> None:
    rows = table[(table["part"] == "batch") & (table["batch"] <= 27)]
    np.testing.assert_allclose(rows["measured"], rows["closed_form"], rtol=ROUNDING)
    np.testing.assert_allclose(rows["upper"], rows["closed_form"], rtol=ROUNDING)
    assert rows["closed_form"].is_monotonic_decreasing


def test_the_floor_of_the_theorem_is_attained_and_less_is_false() -> None:
    """α = 0.01, σ₀ = 1.0001: after 10⁶ steps on which nothing moves the average is above 0.97 of the bound."""
    experiment = questions.experiment("svd_counterexample", {"noise.sigma": 1.0001 / np.sqrt(24)})
    problem, noise = trapped.trap(experiment)
    chosen = trapped.changed(experiment, {"learning_rate": 0.01})
    steps = 10**6
    at = Instance.of_parts(problem, noise, chosen, learning_rate=0.01, steps=steps).setting
    assert THEOREM.covers(at) is None
    share = 3.0 / THEOREM.bound(at)[-1]  # ‖∇f‖² = 3 for ever
    assert 0.97 < share <= 1
    floor = THEOREM.bound(at.having(gap=0.0))[-1] / at.total_variance
    assert floor == pytest.approx(1 / (0.25 * (1 - 0.005) ** 2) - 1, rel=ROUNDING)


@pytest.mark.parametrize("kind", [{}, {"batch": 3}, {"normal": True}])
def test_its_noise_keeps_the_premises(kind: dict[str, object]) -> None:
    problem, noise = trapped.trap(questions.experiment("svd_counterexample"))
    check_noise(trapped.Aligned(noise.deviation, noise.places, **kind), problem)


@pytest.mark.parametrize(
    ("keys", "needed"),
    [({"noise.sigma": 0.01}, "σ₀"), ({"algorithm.density": 1.0}, "rank"), ({"algorithm.subspace": "random"}, "svd")],
)
def test_what_the_counterexample_needs(keys: dict[str, object], needed: str) -> None:
    with pytest.raises(ft.ExperimentError, match=needed):
        trapped.trap(questions.experiment("svd_counterexample", keys))
