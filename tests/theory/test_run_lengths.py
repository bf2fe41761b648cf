"""Run lengths in law, against the actual set sequences that the selection draws."""

from __future__ import annotations

import numpy as np
import pytest

from frugal_theory.algorithm import choose_parts
from frugal_theory.algorithm import run_lengths as run_lengths_module
from frugal_theory.algorithm.kinds import Turned
from frugal_theory.algorithm.run_lengths import contradiction, run_lengths
from frugal_theory.algorithm.subspaces import RANDOM as UNIFORM
from frugal_theory.config import Algorithm
from tests.tolerances import ROUNDING, STANDARD_ERRORS

SHAPES = {"x": (6,), "W": (4, 5), "V": (3, 8)}
BETA = 0.8
HORIZON = 60
"""Steps that run lengths of random sets are followed."""


def algorithm(**keys) -> Algorithm:
    defaults = {"density": 0.4, "update_gap": 3, "state_full": {"rule": "sgdm", "beta": BETA}, "state_free": "sgd", "seed": 1}
    return Algorithm(**(defaults | keys))


def members(chosen: Algorithm, periods: int, trials: int | None) -> dict[str, np.ndarray]:
    """Membership by period, shape (periods, trials, *shape), of the sets that are really drawn."""
    numbers = None if trials is None else np.arange(trials)
    drawn = [choose_parts(chosen, SHAPES, p, {}, numbers) for p in range(periods)]
    count = 1 if trials is None else trials
    return {
        name: np.stack([np.broadcast_to(parts[name].inside, (count, *shape)) for parts in drawn])
        for name, shape in SHAPES.items()
    }


def survival(inside: np.ndarray, gap: int, phase: int) -> np.ndarray:
    """β^r at the given phase of period 0, by counting the periods that follow; shape of one period's membership."""
    staying, run = inside[0].copy(), np.full(inside[0].shape, gap - phase)
    for later in inside[1:]:
        staying = staying & later
        run = run + gap * staying
    return BETA**run


RANDOM = [
    {"subspace": "coordinates"},
    {"subspace": "coordinates", "sampling": "fixed_size"},
    {"subspace": "blocks"},
    {"subspace": "columns"},
    {"subspace": "rows"},
    {"subspace": "randk"},
]


@pytest.mark.parametrize("keys", RANDOM, ids=str)
@pytest.mark.parametrize("gap", [1, 3])
def test_shares_and_leaks_of_random_selection(keys, gap):
    chosen = algorithm(update_gap=gap, **keys)
    runs = run_lengths(chosen, SHAPES)
    assert runs.law == "redrawn"
    trials = 6000
    drawn = members(chosen, HORIZON // gap, trials)
    for name, inside in drawn.items():
        share = np.broadcast_to(runs.share[name], SHAPES[name])
        first = inside[0]
        error = np.sqrt(share * (1 - share) / trials)
        assert np.all(np.abs(first.mean(axis=0) - share) <= STANDARD_ERRORS * error + ROUNDING)
        for phase in range(gap):
            for power in (1, 2):
                unit = (slice(None),) + (0,) * len(SHAPES[name])  # units are drawn together; trials are independent
                lost = survival(inside, gap, phase)[unit][first[unit]] ** power
                expected = float(np.mean(runs.leak(phase, power)[name]))
                beyond = BETA ** (HORIZON - gap)  # what a run that outlasts the horizon would still change
                assert abs(lost.mean() - expected) <= STANDARD_ERRORS * lost.std() / np.sqrt(lost.size) + beyond


@pytest.mark.parametrize("order", ["ascending", "descending", "mirror"])
@pytest.mark.parametrize("gap", [1, 3])
def test_leaks_of_a_schedule_are_exact(order, gap):
    chosen = algorithm(subspace="blocks", order=order, update_gap=gap)
    runs = run_lengths(chosen, SHAPES)
    assert runs.law == "scheduled"
    for start in range(8):
        drawn = members(chosen, start + 300 // gap, None)
        for phase in range(gap):
            leak = runs.leak(start * gap + phase)
            for name, inside in drawn.items():
                expected = survival(inside[start:], gap, phase)[0]
                here = inside[start][0]
                value = np.broadcast_to(leak[name], SHAPES[name])
                np.testing.assert_allclose(value[here], expected[here], rtol=ROUNDING, atol=ROUNDING)
                np.testing.assert_array_equal(np.broadcast_to(runs.probability(start)[name], SHAPES[name]), here)


def test_fixed_sets_leak_nothing():
    for keys in ({"subspace": "coordinates", "set": (0, 3)}, {"density": 1.0}, {"density": 0.0}):
        runs = run_lengths(algorithm(**keys), SHAPES)
        assert runs.law == "fixed"
        assert all(np.all(leak == 0) for leak in runs.leak(5).values())


@pytest.mark.parametrize(
    "keys",
    [
        {"subspace": "blocks", "order": "ascending"},
        {"subspace": "blocks", "order": "mirror"},
        {"subspace": "blocks", "order": "random"},
        {"subspace": "coordinates", "sampling": "fixed_size"},
        {"subspace": "random"},
    ],
)
def test_a_window_that_is_everything_never_changes(keys):
    """ρ = 0.9 of 2 coordinates is both of them; and the answer does not take longer the closer β is to 1."""
    nearly = {"rule": "sgdm", "beta": 1 - 1e-12}
    runs = run_lengths(algorithm(**keys, density=0.9, update_gap=2, state_full=nearly), {"x": (2,)})
    assert runs.full
    assert all(np.all(leak == 0) for leak in runs.leak(3).values())


@pytest.mark.parametrize("order", ["ascending", "descending", "mirror"])
def test_a_block_that_never_leaves_is_recognised_after_one_round(order):
    """Two blocks of 1 and 9, a window of 9: one of them may be in every window, and β^n would be followed for ever."""
    chosen = algorithm(subspace="blocks", order=order, density=0.5, state_full={"rule": "sgdm", "beta": 1 - 1e-12})
    shapes = {"small": (1,), "large": (9,)}
    runs = run_lengths(chosen, shapes)
    sets = [choose_parts(chosen, shapes, period, {}) for period in range(40)]
    for name in shapes:
        inside = [bool(np.all(parts[name].inside)) for parts in sets]
        leak = np.min(runs.leak(0)[name])
        if all(inside):
            assert leak == 0
        elif inside[0]:
            assert leak > 0


def test_a_turning_basis_loses_everything_at_the_end_of_its_period():
    runs = run_lengths(algorithm(subspace="random", update_gap=5), SHAPES)
    assert runs.law == "turning"
    for phase in range(5):
        assert runs.leak(phase)["W"] == pytest.approx(BETA ** (5 - phase), rel=ROUNDING)
    assert runs.share["W"] == pytest.approx(0.5)  # rank 2 of the shorter side 4
    assert runs.share["x"] == pytest.approx(1 / 3)  # 2 of 6


def test_svd_has_no_law():
    assert run_lengths(algorithm(subspace="svd"), SHAPES) is None


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("beta", [0.0, 0.5, 0.99])
def test_the_closed_forms_of_independent_sampling(p, beta):
    """E W = ω_p = 1 − pβ(1−p)/(1−pβ) and E W² on the set = 1 − 2(1−p)β/(1−pβ) + (1−p)β²/(1−pβ²), for T = 1."""
    rule = {"rule": "sgdm", "beta": beta}
    runs = run_lengths(algorithm(subspace="coordinates", density=p, update_gap=1, state_full=rule), {"x": (1,)})
    once, twice = runs.leak(0)["x"], runs.leak(0, 2)["x"]
    omega = 1 - p * beta * (1 - p) / (1 - p * beta)
    np.testing.assert_allclose(p * (1 - once) + 1 - p, omega, rtol=ROUNDING)
    squared = 1 - 2 * (1 - p) * beta / (1 - p * beta) + (1 - p) * beta**2 / (1 - p * beta**2)
    np.testing.assert_allclose(1 - 2 * once + twice, squared, rtol=ROUNDING)
    everything, on_set = runs.noise({"x": np.array([0.25])}, 3)
    np.testing.assert_allclose(on_set, p * squared * 0.25, rtol=ROUNDING)
    np.testing.assert_allclose(everything, (p * squared + 1 - p) * 0.25, rtol=ROUNDING)


def test_noise_weights_of_a_schedule_are_summed_step_by_step():
    chosen = algorithm(subspace="blocks", order="ascending", update_gap=2, state_free={"rule": "sgd", "lr_scale": 0.5})
    runs = run_lengths(chosen, SHAPES)
    rng = np.random.default_rng(0)
    variance = {name: rng.random(shape) for name, shape in SHAPES.items()}
    everything, on_set = runs.noise(variance, 9)
    drawn = members(chosen, 200, None)
    for k in range(9):
        period, phase = divmod(k, 2)
        inside_sum = outside_sum = 0.0
        for name, inside in drawn.items():
            lost = survival(inside[period:], 2, phase)[0]
            here = inside[period][0]
            inside_sum += np.sum(((1 - lost) ** 2 * variance[name])[here])
            outside_sum += np.sum((0.5**2 * variance[name])[~here])
        np.testing.assert_allclose([everything[k], on_set[k]], [inside_sum + outside_sum, inside_sum], rtol=ROUNDING)


def test_an_added_basis_is_held_against_the_share_that_it_declares(monkeypatch):
    """A uniform basis, one that prefers the first coordinate, and one that is not orthonormal, each declaring rank/n."""

    def leaning(key, gradient, side, rank):
        columns = UNIFORM.columns(key, gradient, side, rank)
        axis = np.zeros_like(columns)
        axis[..., :rank, :] = np.eye(rank)
        often = np.random.default_rng(0).random((*columns.shape[:-2], 1, 1)) < 0.1
        return np.where(often, axis, columns)

    kinds = {
        "uniform": (UNIFORM.columns, None),
        "leaning": (leaning, "declares the share"),
        "long": (lambda *given: 2 * UNIFORM.columns(*given), "not orthonormal"),
    }
    for columns, expected in kinds.values():
        monkeypatch.setattr(run_lengths_module.SUBSPACES, "is_added", lambda _: True)
        monkeypatch.setitem(run_lengths_module.SUBSPACES._entries, "random", Turned(columns, UNIFORM.share))
        said = contradiction(algorithm(subspace="random"), {"x": (8,)})
        assert said is None if expected is None else expected in said
