"""The reference step: exact reductions, Algorithm 2 written out, the z-recursion of the run-length theorem, metamorphoses."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import frugal_theory as ft
from frugal_theory.algorithm import Basis, choose_parts
from frugal_theory.algorithm.rules import AdamW, Lion, Sgdm
from frugal_theory.algorithm.subspaces import orthonormal
from frugal_theory.config import Algorithm
from tests.tolerances import FACTORISATION, ROUNDING

SHAPES = {"x": (7,), "W": (6, 5), "V": (4, 8)}
STEPS = 40
ALPHA = 0.05


def algorithm(**keys) -> Algorithm:
    defaults = {
        "learning_rate": ALPHA,
        "density": 0.5,
        "update_gap": 4,
        "subspace": "coordinates",
        "state_full": {"rule": "sgdm", "beta": 0.8},
        "state_free": {"rule": "sgd"},
        "seed": 3,
    }
    return Algorithm(**(defaults | keys))


def noise(step: int, trial: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng((step, trial))
    return {name: rng.standard_normal(shape) for name, shape in SHAPES.items()}


def gradient(x: dict[str, np.ndarray], step: int) -> dict[str, np.ndarray]:
    """Of a separable quadratic, plus noise of its own for every step."""
    return {name: 0.7 * x[name] + eps for name, eps in noise(step).items()}


def run(chosen: Algorithm, steps: int = STEPS, grad=gradient, start=None):
    """The trajectory x¹ … x^{steps+1} and the parts of every step."""
    x = start or {name: np.ones(shape) for name, shape in SHAPES.items()}
    state, path, parts = ft.init(), [x], []
    for k in range(steps):
        x, state = ft.step(chosen, x, grad(x, k), state)
        path.append(x)
        parts.append(state.parts)
    return path, parts


def assert_same(left, right, tolerance=ROUNDING):
    for a, b in zip(left, right, strict=True):
        for name in a:
            np.testing.assert_allclose(a[name], b[name], rtol=tolerance, atol=tolerance)


# --- reductions -------------------------------------------------------------------------------------------

RULES = {
    "sgdm": ({"rule": "sgdm", "beta": 0.8}, Sgdm(beta=0.8)),
    "adamw": ({"rule": "adamw", "betas": [0.8, 0.95]}, AdamW(betas=(0.8, 0.95))),
    "lion": ({"rule": "lion", "betas": [0.8, 0.95]}, Lion(betas=(0.8, 0.95))),
}
MATRIX_TOO = ["coordinates", "blocks", "columns", "rows", "randk", "random", "svd"]


def plain_path(rule, steps=STEPS):
    """The state-full rule alone on every coordinate, nothing of FRUGAL in it."""
    x = {name: np.ones(shape) for name, shape in SHAPES.items()}
    statistics = {name: rule.init(value) for name, value in x.items()}
    path = [x]
    for k in range(steps):
        g = gradient(x, k)
        new = {}
        for name in x:
            u, statistics[name] = rule.update(statistics[name], g[name])
            new[name] = x[name] - ALPHA * u
        x = new
        path.append(x)
    return path


@pytest.mark.parametrize("subspace", MATRIX_TOO)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("on_update", ["reset", "keep", "project"])
def test_full_density_is_the_state_full_rule(rule, subspace, on_update):
    table, alone = RULES[rule]
    path, _ = run(algorithm(density=1.0, subspace=subspace, state_full=table, on_update=on_update))
    assert_same(path, plain_path(alone), 0)


@pytest.mark.parametrize("subspace", MATRIX_TOO)
@pytest.mark.parametrize("free", ["sgd", "signsgd", "none"])
def test_zero_density_is_the_state_free_rule(subspace, free):
    path, _ = run(algorithm(density=0.0, subspace=subspace, state_free={"rule": free, "lr_scale": 0.3}))
    x = {name: np.ones(shape) for name, shape in SHAPES.items()}
    expected = [x]
    for k in range(STEPS):
        g = gradient(x, k)
        turn = {"sgd": lambda v: v, "signsgd": np.sign, "none": np.zeros_like}[free]
        x = {name: x[name] - ALPHA * 0.3 * turn(g[name]) for name in x}
        expected.append(x)
    assert_same(path, expected, ROUNDING)


def test_beta_zero_is_sgd_whatever_the_set():
    path, _ = run(algorithm(state_full={"rule": "sgdm", "beta": 0.0}))
    expected, _ = run(algorithm(density=0.0))
    assert_same(path, expected, ROUNDING)


def test_weight_decay_is_decoupled():
    decayed, _ = run(algorithm(weight_decay=0.1), steps=1)
    plain, _ = run(algorithm(), steps=1)
    shrunk = {name: value - ALPHA * 0.1 * decayed[0][name] for name, value in plain[1].items()}
    assert_same(decayed[1:], [shrunk], ROUNDING)


# --- Algorithm 2, written out -----------------------------------------------------------------------------


@pytest.mark.parametrize("reading", ["reset", "decay", "hold"])
@pytest.mark.parametrize("gap", [1, 4])
@pytest.mark.parametrize("sampling", ["independent", "fixed_size"])
def test_algorithm_2_and_its_three_readings(reading, gap, sampling):
    chosen = algorithm(off_set_momentum=reading, update_gap=gap, sampling=sampling)
    path, parts = run(chosen)
    beta = 0.8
    for name in SHAPES:
        x, m = np.ones(SHAPES[name]), np.zeros(SHAPES[name])
        for k in range(STEPS):
            g = gradient({n: path[k][n] for n in SHAPES}, k)[name]
            inside = parts[k][name].inside
            for j in np.ndindex(*SHAPES[name]):
                if inside[j]:
                    m[j] = (1 - beta) * g[j] + beta * m[j]
                    x[j] -= ALPHA * m[j]
                else:
                    m[j] = {"reset": 0.0, "decay": beta * m[j], "hold": m[j]}[reading]
                    x[j] -= ALPHA * g[j]
            np.testing.assert_allclose(path[k + 1][name], x, rtol=ROUNDING, atol=ROUNDING)


@pytest.mark.parametrize("gap", [1, 3])
@pytest.mark.parametrize(
    "keys",
    [
        {"subspace": "coordinates"},
        {"subspace": "blocks"},
        {"subspace": "columns"},
        {"subspace": "rows"},
        {"subspace": "randk"},
        {"subspace": "blocks", "order": "mirror"},
        {"subspace": "random", "on_update": "reset"},
        {"subspace": "coordinates", "state_free": {"rule": "sgd", "lr_scale": 0.4}},
        {"subspace": "coordinates", "state_free": {"rule": "none"}},
    ],
    ids=str,
)
def test_the_z_recursion_of_the_run_length_theorem(gap, keys):
    """z_j = x_j − α β/(1−β) W_j m_j on the set, x_j off it, obeys z ← z − αW∘g̃ exactly (theory, section 4, step i)."""
    chosen, beta, horizon = algorithm(update_gap=gap, **keys), 0.8, 200
    scale = 0.0 if chosen.state_free.rule == "none" else chosen.state_free.lr_scale
    x = {name: np.ones(shape) for name, shape in SHAPES.items()}
    state = ft.init()
    future = [choose_parts(chosen, SHAPES, period, x) for period in range(-(-(STEPS + horizon) // gap))]
    for k in range(STEPS):
        g = gradient(x, k)
        x_next, state_next = ft.step(chosen, x, g, state)
        for name in SHAPES:
            z = shift(chosen, state, x, future, k, name, beta)
            z_next = shift(chosen, state_next, x_next, future, k + 1, name, beta)
            weighted = weight(future, k, gap, name, g[name], beta, scale)
            np.testing.assert_allclose(z_next, z - ALPHA * weighted, rtol=ROUNDING, atol=ROUNDING)
        x, state = x_next, state_next


def leak(future, k, gap, name, beta):
    """β^r on the set of step k, r counted by looking ahead at the actual sets; 1 off it."""
    period, phase = divmod(k, gap)
    part = future[period][name]
    if isinstance(part, Basis):
        return part, beta ** (gap - phase)
    inside = np.broadcast_to(part.inside, SHAPES[name])
    run = np.where(inside, gap - phase, 0).astype(float)
    staying = inside.copy()
    for later in future[period + 1 :]:
        staying = staying & later[name].inside
        if not staying.any():
            break
        run += gap * staying
    return part, np.where(inside, beta**run, 1.0)


def weight(future, k, gap, name, g, beta, scale):
    """W∘g."""
    part, lost = leak(future, k, gap, name, beta)
    if isinstance(part, Basis):
        return scale * part.residual(g) + (1 - lost) * part.lift(part.project(g))
    return np.where(np.broadcast_to(part.inside, SHAPES[name]), (1 - lost) * g, scale * g)


def shift(chosen, state, x, future, k, name, beta):
    """z: x minus what is still to be applied of the momentum already gathered."""
    part, lost = leak(future, k, chosen.update_gap, name, beta)
    if not state.statistics:
        return x[name]
    m = state.statistics[name]["momentum"]
    if isinstance(part, Basis):
        starts_anew = k % chosen.update_gap == 0
        m = np.zeros(SHAPES[name]) if starts_anew else part.lift(m)
        return x[name] - ALPHA * beta / (1 - beta) * (1 - lost) * m
    return x[name] - ALPHA * beta / (1 - beta) * (1 - lost) * m * part.inside


# --- metamorphoses ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
def test_a_fixed_set_does_not_depend_on_the_update_gap(rule):
    table, _ = RULES[rule]
    members = [0, 3, 6, 11, 12, 40]
    short, long = (run(algorithm(set=members, update_gap=gap, state_full=table))[0] for gap in (1, 10**6))
    assert_same(short, long, 0)


@pytest.mark.parametrize("subspace", ["coordinates", "blocks", "columns", "rows", "randk", "random"])
def test_an_endless_period_keeps_its_first_draw(subspace):
    _, parts = run(algorithm(subspace=subspace, update_gap=10**6))
    assert all(part is parts[0] for part in parts)


def test_scaling_f_scales_the_sgdm_trajectory():
    path, _ = run(algorithm(), grad=lambda x, _: {n: 0.7 * x[n] for n in x})
    scaled, _ = run(algorithm(learning_rate=ALPHA / 5), grad=lambda x, _: {n: 3.5 * x[n] for n in x})
    assert_same(path, scaled, ROUNDING)


@pytest.mark.parametrize("rule", ["adamw", "lion"])
def test_scaling_f_does_not_move_adaptive_rules(rule):
    table = RULES[rule][0] | ({"eps": 1e-300} if rule == "adamw" else {})
    chosen = algorithm(state_full=table, state_free={"rule": "signsgd"})
    path, _ = run(chosen)
    scaled, _ = run(chosen, grad=lambda x, k: {n: 4.0 * g for n, g in gradient(x, k).items()})
    assert_same(path, scaled, ROUNDING)


@pytest.mark.parametrize("rule", RULES)
def test_permuting_the_coordinates_of_a_set_permutes_the_trajectory(rule):
    table, _ = RULES[rule]
    order = np.array([3, 0, 6, 1, 5, 2, 4])
    grad = lambda x, k: {"x": 0.7 * x["x"] + noise(k)["x"]}  # noqa: E731
    moved = lambda x, k: {"x": 0.7 * x["x"] + noise(k)["x"][order]}  # noqa: E731
    start = np.arange(7.0)
    members = [1, 2, 5]
    path, _ = run(algorithm(set=members, state_full=table), grad=grad, start={"x": start})
    where = [int(np.flatnonzero(order == j)[0]) for j in members]
    permuted, _ = run(algorithm(set=where, state_full=table), grad=moved, start={"x": start[order]})
    assert_same([{"x": p["x"][order]} for p in path], permuted, 0)


@pytest.mark.parametrize("subspace", ["coordinates", "blocks", "columns", "rows", "randk"])
@pytest.mark.parametrize("rule", RULES)
def test_coordinates_keep_their_statistics_however_the_basis_is_updated(rule, subspace):
    """The basis of a set of coordinates never changes, so keep, project and reset are one."""
    paths = [run(algorithm(subspace=subspace, on_update=u, state_full=RULES[rule][0]))[0] for u in ("reset", "keep", "project")]
    assert_same(paths[0], paths[1], 0)
    assert_same(paths[0], paths[2], 0)


@pytest.mark.parametrize("subspace", ["coordinates", "blocks", "columns", "rows", "randk", "random", "svd"])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("on_update", ["reset", "keep", "project"])
def test_trials_side_by_side_are_the_trials_one_by_one(rule, subspace, on_update):
    chosen = algorithm(subspace=subspace, state_full=RULES[rule][0], on_update=on_update)
    trials = np.array([0, 1, 5])
    together, state = {n: np.ones((3, *s)) for n, s in SHAPES.items()}, ft.init(trials)
    alone = [{n: np.ones((1, *s)) for n, s in SHAPES.items()} for _ in trials]
    states = [ft.init(np.array([t])) for t in trials]
    for k in range(12):
        g = {n: 0.7 * together[n] + np.stack([noise(k, t)[n] for t in trials]) for n in SHAPES}
        together, state = ft.step(chosen, together, g, state)
        for i, t in enumerate(trials):
            own = {n: 0.7 * alone[i][n] + noise(k, t)[n][None] for n in SHAPES}
            alone[i], states[i] = ft.step(chosen, alone[i], own, states[i])
            assert_same([{n: together[n][i] for n in SHAPES}], [{n: alone[i][n][0] for n in SHAPES}], FACTORISATION)
    if subspace != "svd":
        first, _ = run(chosen, steps=12)
        assert_same([{n: together[n][0] for n in SHAPES}], first[-1:], FACTORISATION)


# --- subspaces --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("subspace", ["coordinates", "columns", "rows", "randk", "random", "svd", "blocks"])
def test_parts_split_the_gradient(subspace):
    """P⁻¹P g + residual = g, the two are orthogonal, and P P⁻¹ is the identity."""
    g = noise(0)
    for part, name in ((p, n) for n, p in choose_parts(algorithm(subspace=subspace), SHAPES, 0, g).items()):
        inside, outside = part.lift(part.project(g[name])), part.residual(g[name])
        np.testing.assert_allclose(inside + outside, g[name], rtol=FACTORISATION, atol=FACTORISATION)
        assert abs(np.sum(inside * outside)) < FACTORISATION
        np.testing.assert_allclose(part.project(inside), part.project(g[name]), rtol=FACTORISATION, atol=FACTORISATION)


@pytest.mark.parametrize(("subspace", "units"), [("columns", (3, 4)), ("rows", (3, 2)), ("randk", (15, 16))])
def test_the_density_of_units(subspace, units):
    parts = choose_parts(algorithm(subspace=subspace), SHAPES, 0, noise(0))
    for name, count in zip(("W", "V"), units, strict=True):
        assert parts[name].inside.sum() == count
    if subspace != "randk":
        assert parts["x"].inside.all(), "a vector has no columns or rows: it is state-full as a whole"


def test_svd_takes_the_leading_directions():
    g = noise(0)
    parts = choose_parts(algorithm(subspace="svd", density=0.4), SHAPES, 0, g)
    for name in ("W", "V"):
        left = np.linalg.svd(g[name])[1]
        rank = parts[name].columns.shape[-1]
        assert rank == 2
        captured = np.sum(parts[name].project(g[name]) ** 2)
        np.testing.assert_allclose(captured, np.sum(left[:rank] ** 2), rtol=FACTORISATION)


def test_a_gradient_inside_the_subspace_leaves_no_residual():
    """The sign rule would turn rounding noise into full steps; the residual must be exactly zero instead."""
    low_rank = np.outer(np.arange(1.0, 7.0), np.arange(1.0, 6.0))
    grads = {"W": low_rank}
    part = choose_parts(algorithm(subspace="svd", density=0.4), {"W": (6, 5)}, 0, grads)["W"]
    assert not part.residual(low_rank).any()
    assert np.abs(low_rank - part.lift(part.project(low_rank))).max() > 0, "there is rounding noise to remove"


@pytest.mark.parametrize("subspace", ["svd", "random"])
def test_the_sign_of_the_residual_leaks_into_the_subspace(subspace):
    """The method's own property, as docs/compat.md states it: 9.1 % of the energy at ρ = 0.25 on Gaussian 64 × 48 gradients."""
    shares = []
    for draw in range(50):
        g = {"G": np.random.default_rng(draw).standard_normal((64, 48))}
        part = choose_parts(algorithm(subspace=subspace, density=0.25, seed=draw), {"G": (64, 48)}, 0, g)["G"]
        sign = np.sign(part.residual(g["G"]))
        shares.append(np.sum(part.project(sign) ** 2) / np.sum(sign**2))
    assert round(100 * float(np.mean(shares)), 1) == pytest.approx(9.1, abs=0.1)


def test_project_turns_momentum_into_the_new_basis():
    """The re-projected momentum is P_new P_old⁻¹ m, computed here in the full space."""
    chosen = algorithm(subspace="random", on_update="project", update_gap=3)
    x, state = {"W": np.ones((6, 5))}, ft.init()
    grad = lambda x, k: {"W": 0.7 * x["W"] + noise(k)["W"]}  # noqa: E731
    for k in range(3):
        x, state = ft.step(chosen, x, grad(x, k), state)
    lifted = state.parts["W"].lift(state.statistics["W"]["momentum"])
    g = grad(x, 3)
    x, after = ft.step(chosen, x, g, state)
    new = after.parts["W"]
    expected = 0.8 * new.project(lifted) + 0.2 * new.project(g["W"])
    np.testing.assert_allclose(after.statistics["W"]["momentum"], expected, rtol=FACTORISATION, atol=FACTORISATION)


def test_random_bases_are_uniform_directions():
    """E QQᵀ = (r/n) I for a uniformly random subspace."""
    from frugal_theory.algorithm.selection import normals, selection_key, trial_keys
    from tests.tolerances import STANDARD_ERRORS

    draws = 4000
    numbers = normals(trial_keys(selection_key(0, "W", 0), np.arange(draws)), 5 * 2)
    q = orthonormal(numbers, 5, 2)
    mean = np.einsum("tir,tjr->ij", q, q) / draws
    assert np.abs(mean - 0.4 * np.eye(5)).max() < STANDARD_ERRORS * 0.5 / np.sqrt(draws)


def test_mismatched_gradients_are_refused():
    with pytest.raises(ValueError, match="must agree"):
        ft.step(algorithm(), {"x": np.ones(3)}, {"y": np.ones(3)})
    with pytest.raises(ValueError, match="shape"):
        ft.step(algorithm(), {"x": np.ones(3)}, {"x": np.ones(4)})


def test_a_fraction_of_the_admissible_step_needs_a_number():
    chosen = algorithm(learning_rate={"fraction_of_admissible": 0.5})
    with pytest.raises(ValueError, match="learning_rate"):
        ft.step(chosen, {"x": np.ones(3)}, {"x": np.ones(3)})
    moved, _ = ft.step(chosen, {"x": np.ones(3)}, {"x": np.ones(3)}, learning_rate=0.1)
    assert (moved["x"] < 1).all()


def test_every_rule_meets_every_subspace():
    """The grid that parity runs is complete: no combination raises, and every step moves every parameter."""
    for rule, free, subspace in itertools.product(RULES, ("sgd", "signsgd"), MATRIX_TOO):
        path, _ = run(algorithm(state_full=RULES[rule][0], state_free={"rule": free}, subspace=subspace), steps=6)
        for before, after in itertools.pairwise(path):
            assert all(np.isfinite(after[n]).all() and (after[n] != before[n]).all() for n in SHAPES)
