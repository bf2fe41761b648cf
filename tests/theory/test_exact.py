"""Exact expectations against the sum over every set and every sign of the noise."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from frugal_theory.algorithm.selection import stream
from frugal_theory.evidence.exact import dense as exact_dense
from frugal_theory.evidence.exact.expectations import METRICS, expectations
from frugal_theory.evidence.exact.linear import updates
from frugal_theory.instance import Instance
from frugal_theory.problems import Gaussian, NoNoise, Quadratic
from tests.theory.enumeration import (
    ALPHA,
    BETA,
    EIGENVALUES,
    READINGS,
    ROTATED,
    ROTATION,
    SCALE,
    SIGMA,
    STEPS,
    Array,
    algorithm,
    drawn_weight,
    enumerate_all,
    periods,
    run,
    sequences,
    subsets,
    trial_by_trial,
)
from tests.tolerances import ENUMERATION


@READINGS
@ROTATED
@pytest.mark.parametrize("decay", [0.0, 0.05])
def test_fixed_set(reading: str, rotation: Array | None, decay: float) -> None:
    chosen = algorithm(set=(0, 2), off_set_momentum=reading, weight_decay=decay)
    problem = Quadratic(EIGENVALUES, rotation)
    history = [(1.0, np.tile([True, False, True], (STEPS, 1)))]
    expected = enumerate_all(chosen, problem, history, lambda _: 1.0)
    found = run(chosen, problem)
    assert found[METRICS[0]] == pytest.approx(expected.plain, rel=ENUMERATION, abs=0)
    assert found[METRICS[1]] == pytest.approx(expected.weighted, rel=ENUMERATION, abs=0)


@ROTATED
@pytest.mark.parametrize("density", [0.0, 1.0])
def test_everything_and_nothing(rotation: Array | None, density: float) -> None:
    problem = Quadratic(EIGENVALUES, rotation)
    history = [(1.0, np.full((STEPS, 3), density == 1.0))]
    expected = enumerate_all(algorithm(density=density), problem, history, lambda _: 1.0)
    found = run(algorithm(density=density), problem)
    assert found[METRICS[0]] == pytest.approx(expected.plain, rel=ENUMERATION, abs=0)
    assert found[METRICS[1]] == pytest.approx(expected.weighted, rel=ENUMERATION, abs=0)


@READINGS
@ROTATED
@pytest.mark.parametrize("gap", [1, 2])
def test_scheduled_blocks(reading: str, rotation: Array | None, gap: int) -> None:
    chosen = algorithm(subspace="blocks", order="ascending", density=0.34, off_set_momentum=reading, update_gap=gap)
    problem = Quadratic(EIGENVALUES, rotation, blocks=3)
    history = np.array([np.arange(3) == period % 3 for period in range(periods(gap))])
    expected = enumerate_all(chosen, problem, [(1.0, history)], lambda k: 1 - BETA ** (gap - k % gap))
    found = run(chosen, problem)
    assert found[METRICS[0]] == pytest.approx(expected.plain, rel=ENUMERATION, abs=0)
    assert found[METRICS[1]] == pytest.approx(expected.weighted, rel=ENUMERATION, abs=0)


@READINGS
@ROTATED
def test_bernoulli_every_step(reading: str, rotation: Array | None) -> None:
    chosen = algorithm(off_set_momentum=reading)
    problem = Quadratic(EIGENVALUES, rotation)
    histories = sequences(subsets(3, probability=0.4), STEPS - 1)
    histories = [(p, np.concatenate([m, m[-1:]])) for p, m in histories]
    expected = enumerate_all(chosen, problem, histories)
    assert run(chosen, problem)[METRICS[0]] == pytest.approx(expected.plain, rel=ENUMERATION, abs=0)


@READINGS
@ROTATED
@pytest.mark.parametrize(("kind", "size"), [("coordinates", 1), ("randk", 2)])
def test_fixed_size_every_step(reading: str, rotation: Array | None, kind: str, size: int) -> None:
    chosen = algorithm(subspace=kind, sampling="fixed_size", density=size / 3, off_set_momentum=reading)
    problem = Quadratic(EIGENVALUES, rotation)
    expected = enumerate_all(chosen, problem, sequences(subsets(3, size=size), STEPS), drawn_weight(size / 3, 1))
    found = run(chosen, problem)
    assert found[METRICS[0]] == pytest.approx(expected.plain, rel=ENUMERATION, abs=0)
    assert found[METRICS[1]] == pytest.approx(expected.weighted, rel=ENUMERATION, abs=0)


@READINGS
def test_fixed_size_in_two_parameters(reading: str) -> None:
    """Each parameter draws its own set; the pair of coordinates in one block is never independent."""
    chosen = algorithm(subspace="randk", density=0.5, off_set_momentum=reading)
    problem = Quadratic(EIGENVALUES, ROTATION, blocks=2)  # sizes 2 and 1: one of two, and the third always
    law = [(0.5, np.array([True, False, True])), (0.5, np.array([False, True, True]))]
    expected = enumerate_all(chosen, problem, sequences(law, STEPS))
    assert run(chosen, problem)[METRICS[0]] == pytest.approx(expected.plain, rel=ENUMERATION, abs=0)


@READINGS
@pytest.mark.parametrize("gap", [2, 3, 5])
def test_bernoulli_held(reading: str, gap: int) -> None:
    chosen = algorithm(off_set_momentum=reading, update_gap=gap)
    problem = Quadratic(EIGENVALUES)
    expected = enumerate_all(chosen, problem, sequences(subsets(3, probability=0.4), periods(gap)), drawn_weight(0.4, gap))
    found = run(chosen, problem)
    assert found[METRICS[0]] == pytest.approx(expected.plain, rel=ENUMERATION, abs=0)
    assert found[METRICS[1]] == pytest.approx(expected.weighted, rel=ENUMERATION, abs=0)


@READINGS
@pytest.mark.parametrize("gap", [1, 2])
def test_random_blocks(reading: str, gap: int) -> None:
    """Blocks of 2 and 1 coordinates, a window of one: the larger block is divided, and one coordinate of three is in."""
    chosen = algorithm(subspace="blocks", density=0.34, off_set_momentum=reading, update_gap=gap)
    problem = Quadratic(EIGENVALUES, blocks=2)
    law = [(1 / 3, member) for member in np.eye(3, dtype=bool)]
    expected = enumerate_all(chosen, problem, sequences(law, periods(gap)), drawn_weight(1 / 3, gap))
    found = run(chosen, problem)
    assert found[METRICS[0]] == pytest.approx(expected.plain, rel=ENUMERATION, abs=0)
    assert found[METRICS[1]] == pytest.approx(expected.weighted, rel=ENUMERATION, abs=0)


@ROTATED
@pytest.mark.parametrize("eigenvalues", [EIGENVALUES, EIGENVALUES[::-1]], ids=["descending", "ascending"])
def test_eigen_directions(rotation: Array | None, eigenvalues: Array) -> None:
    """The set is the leading eigenvector: the noise is what it is along the eigenvectors."""
    chosen = algorithm(subspace="eigen", density=0.34)
    problem = Quadratic(eigenvalues, rotation)
    start = problem.start(np.random.default_rng(stream(0, "start")))["x"]
    basis = np.eye(3) if rotation is None else rotation
    inside = np.arange(3) == np.argmax(eigenvalues)
    moments = exact_dense.along_masks(
        np.diag(eigenvalues),
        np.zeros(3),
        start @ basis,
        lambda _: exact_dense.known(inside),
        updates(ALPHA, BETA, SCALE),
    )
    silent = [float(np.trace(moment)) for moment in itertools.islice(moments, STEPS)]
    assert run(chosen, problem, noise=NoNoise())[METRICS[0]] == pytest.approx(silent, rel=ENUMERATION, abs=0)

    expected = trial_by_trial(chosen, problem, trial=0)
    assert run(chosen, problem)[METRICS[0]] == pytest.approx(expected, rel=ENUMERATION, abs=0)


COORDINATES: dict[str, Any] = {"subspace": "coordinates", "density": 0.5}
RANDOM: dict[str, Any] = {"subspace": "random", "density": 0.67}


@pytest.mark.parametrize(
    ("rotation", "changes"),
    [
        (ROTATION, {**COORDINATES, "update_gap": 2}),
        (ROTATION, {**COORDINATES, "update_gap": 2, "off_set_momentum": "hold"}),
        (ROTATION, {**COORDINATES, "update_gap": 3, "off_set_momentum": "decay"}),
        (ROTATION, {**RANDOM, "update_gap": 2}),
        (None, {**RANDOM, "update_gap": 1, "density": 0.34}),
        (ROTATION, {**RANDOM, "update_gap": 1, "on_update": "keep"}),
        (None, {**RANDOM, "update_gap": 2, "on_update": "project", "weight_decay": 0.1}),
        (ROTATION, {**RANDOM, "update_gap": 1, "on_update": "project"}),
    ],
)
def test_exact_over_the_noise_for_the_sets_that_trials_draw(rotation: Array | None, changes: dict[str, Any]) -> None:
    chosen, problem = algorithm(**changes), Quadratic(EIGENVALUES, rotation)
    expected = [trial_by_trial(chosen, problem, trial) for trial in range(5)]
    found = run(chosen, problem, trials=5)
    assert found[METRICS[0]] == pytest.approx(np.mean(expected, axis=0), rel=ENUMERATION, abs=0)
    made = Instance.of_parts(problem, Gaussian(list(SIGMA)), chosen, learning_rate=ALPHA, steps=STEPS)
    evidence = expectations(made, trials=5)[METRICS[0]]
    spread = np.std(np.cumsum(expected, axis=1) / np.arange(1, STEPS + 1), axis=0, ddof=1)
    assert evidence.trials == 5
    assert evidence.deviation == pytest.approx(spread, rel=ENUMERATION, abs=1e-14)
    assert "5 trials" in evidence.notes[0]


def test_random_blocks_of_a_rotated_quadratic_average_over_trials() -> None:
    chosen = algorithm(subspace="blocks", density=0.34)
    problem = Quadratic(EIGENVALUES, ROTATION, blocks=3)
    expected = np.mean([trial_by_trial(chosen, problem, trial) for trial in range(4)], axis=0)
    assert run(chosen, problem, trials=4)[METRICS[0]] == pytest.approx(expected, rel=ENUMERATION, abs=0)


def test_nothing_off_the_set() -> None:
    chosen = algorithm(state_free="none", set=(1,))
    problem = Quadratic(EIGENVALUES)
    expected = enumerate_all(chosen, problem, [(1.0, np.tile([False, True, False], (STEPS, 1)))])
    assert run(chosen, problem)[METRICS[0]] == pytest.approx(expected.plain, rel=ENUMERATION, abs=0)
