"""Exact expectations on a quadratic of three coordinates, by running ``frugal_theory.step`` over all that may happen."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

import frugal_theory as ft
from frugal_theory.algorithm.selection import stream
from frugal_theory.algorithm.subspaces import Mask
from frugal_theory.evidence.exact.expectations import METRICS, expectations
from frugal_theory.instance import Instance
from frugal_theory.problems import Gaussian, Quadratic

Array = np.ndarray[Any, np.dtype[np.float64]]

ALPHA, BETA, SCALE = 0.3, 0.8, 0.7
EIGENVALUES = np.array([1.3, 0.6, 0.2])
SIGMA = np.array([0.4, 0.1, 0.7])
STEPS = 4
ROTATION = np.linalg.qr(np.array([[1.0, 2.0, -1.0], [0.5, -1.0, 0.3], [2.0, 0.1, 1.0]]))[0]


def algorithm(**changes: Any) -> ft.Algorithm:
    base: dict[str, Any] = {
        "learning_rate": ALPHA,
        "density": 0.4,
        "update_gap": 1,
        "subspace": "coordinates",
        "state_full": {"rule": "sgdm", "beta": BETA},
        "state_free": {"rule": "sgd", "lr_scale": SCALE},
        "seed": 3,
    }
    return ft.Algorithm.model_validate({**base, **changes})


@dataclass
class Tally:
    """E of a metric at every step, summed up over everything that may happen."""

    plain: Array
    weighted: Array


def enumerate_all(
    algorithm: ft.Algorithm,
    problem: Quadratic,
    histories: list[tuple[float, Array]],
    weights: Any = None,
    steps: int = STEPS,
    sigma: Array = SIGMA,
) -> Tally:
    """E‖gᵏ‖² by running ``frugal_theory.step`` over every sign of the noise and every one of ``histories``.

    ``histories``: (probability, members), members of shape (periods, d).
    """
    d = problem.eigenvalues.size
    # The noise of the last step moves nothing that is measured.
    signs = np.array(list(itertools.product((-1.0, 1.0), repeat=d * (steps - 1)))).reshape(-1, steps - 1, d)
    probability = np.repeat([p for p, _ in histories], len(signs)) / len(signs)
    members = np.repeat(np.array([m for _, m in histories]), len(signs), axis=0)
    noise = np.tile(signs, (len(histories), 1, 1)) * sigma
    start = problem.partition.join(problem.start(np.random.default_rng(stream(0, "start"))))
    x = problem.partition.split(np.tile(start, (len(noise), 1)))
    never = algorithm.model_copy(update={"update_gap": 10**9})
    state = ft.State(
        step=1,  # not the first step of a period: the sets are those given here
        statistics={name: {"momentum": np.zeros_like(value)} for name, value in x.items()},
        trials=np.arange(len(noise)),
    )
    plain, weighted = np.zeros(steps), np.zeros(steps)
    for k in range(steps):
        inside = members[:, k // algorithm.update_gap]
        gradient = problem.gradient(x)
        squares = problem.partition.join(gradient) ** 2
        plain[k] = probability @ squares.sum(axis=1)
        if weights is not None:
            weighted[k] = probability @ (squares * np.where(inside, weights(k), SCALE)).sum(axis=1)
        if k == steps - 1:
            break
        parts = {name: Mask(part) for name, part in problem.partition.split(inside).items()}
        state = replace(state, parts=parts, step=1)
        added = problem.partition.split(noise[:, k])
        x, state = ft.step(never, x, {name: gradient[name] + added[name] for name in x}, state)
    return Tally(plain, weighted)


def subsets(d: int, probability: float | None = None, size: int | None = None) -> list[tuple[float, Array]]:
    """Every set of d coordinates with its probability: Bernoulli(probability), or uniform of one size."""
    every = [np.array(bits, dtype=bool) for bits in itertools.product((False, True), repeat=d)]
    if probability is not None:
        return [(float(np.prod(np.where(s, probability, 1 - probability))), s) for s in every]
    chosen = [s for s in every if s.sum() == size]
    return [(1 / len(chosen), s) for s in chosen]


def sequences(law: list[tuple[float, Array]], periods: int) -> list[tuple[float, Array]]:
    """Independent draws of a set, one a period."""
    return [
        (float(np.prod([p for p, _ in draw])), np.array([s for _, s in draw]))
        for draw in itertools.product(law, repeat=periods)
    ]


def run(algorithm: ft.Algorithm, problem: Quadratic, steps: int = STEPS, **keys: Any) -> dict[str, Array]:
    """E of both metrics at every single step: running averages taken apart."""
    noise = keys.pop("noise", Gaussian(list(SIGMA[: problem.eigenvalues.size])))
    made = Instance.of_parts(problem, noise, algorithm, learning_rate=ALPHA, steps=steps, **keys)
    found = expectations(made, METRICS)
    count = np.arange(1, steps + 1)
    return {name: np.diff(evidence.mean * count, prepend=0.0) for name, evidence in found.items()}


def periods(gap: int) -> int:
    return -(-STEPS // gap)


READINGS = pytest.mark.parametrize("reading", ["reset", "decay", "hold"])
ROTATED = pytest.mark.parametrize("rotation", [None, ROTATION], ids=["diagonal", "rotated"])


def drawn_weight(probability: float, gap: int) -> Any:
    """W of the run-length theorem in the set, for a set drawn anew every ``gap`` steps."""

    def weight(step: int) -> float:
        stays = (1 - probability) / (1 - probability * BETA**gap)
        return 1 - BETA ** (gap - step % gap) * stays

    return weight


def trial_by_trial(algorithm: ft.Algorithm, problem: Quadratic, trial: int, steps: int = STEPS) -> Array:
    """E‖gᵏ‖² over the noise alone, for the sets that one trial draws: ``frugal_theory.step`` over all signs."""
    d = problem.eigenvalues.size
    signs = np.array(list(itertools.product((-1.0, 1.0), repeat=d * (steps - 1)))).reshape(-1, steps - 1, d)
    start = problem.partition.join(problem.start(np.random.default_rng(stream(0, "start"))))
    x = problem.partition.split(np.tile(start, (len(signs), 1)))
    state = ft.init(np.full(len(signs), trial), problem.bases if algorithm.subspace == "eigen" else None)
    values = []
    for k in range(steps):
        gradient = problem.gradient(x)
        values.append(float(np.mean(np.sum(problem.partition.join(gradient) ** 2, axis=1))))
        if k < steps - 1:
            added = problem.partition.split(signs[:, k] * SIGMA)
            x, state = ft.step(algorithm, x, {name: gradient[name] + added[name] for name in x}, state)
    return np.array(values)
