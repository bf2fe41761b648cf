"""Exact expectations against brute-force enumeration, closed forms and Monte Carlo."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import sympy as sp

import frugal_theory as ft
from frugal_theory.algorithm.selection import stream
from frugal_theory.algorithm.subspaces import Mask
from frugal_theory.evidence.exact import dense as exact_dense
from frugal_theory.evidence.exact import diagonal as exact_diagonal
from frugal_theory.evidence.exact import stationary
from frugal_theory.evidence.exact.expectations import METRICS, exact_metrics, expectations
from frugal_theory.evidence.exact.linear import updates
from frugal_theory.instance import Instance
from frugal_theory.problems import Gaussian, NoNoise, Quadratic
from tests.tolerances import ENUMERATION, LONG_RECURSION, STANDARD_ERRORS

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


# --- brute force --------------------------------------------------------------------------------------------


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
    """Blocks of 2 and 1 coordinates, a window of one: the larger block is in with probability 2/3."""
    chosen = algorithm(subspace="blocks", density=0.34, off_set_momentum=reading, update_gap=gap)
    problem = Quadratic(EIGENVALUES, blocks=2)
    law = [(2 / 3, np.array([True, True, False])), (1 / 3, np.array([False, False, True]))]
    probabilities = np.array([2 / 3, 2 / 3, 1 / 3])
    weights = [drawn_weight(p, gap) for p in probabilities]
    expected = enumerate_all(
        chosen, problem, sequences(law, periods(gap)), lambda k: np.array([weight(k) for weight in weights])
    )
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


# --- one recursion against another ----------------------------------------------------------------------------


@READINGS
@pytest.mark.parametrize("gap", [1, 3, 10, 17, 70, 1000])
@pytest.mark.parametrize("steps", [1, 2, 7, 100, 333])
def test_giant_steps_land_where_single_steps_do(reading: Any, gap: int, steps: int) -> None:
    rng = np.random.default_rng(0)
    d = 1500  # more than one chunk
    lam, variance, x = rng.random(d), rng.random(d), rng.normal(size=d)
    member = rng.random(d) < 0.5
    linear = updates(0.3, 0.9, 0.7, reading, 0.01)
    single = exact_diagonal.scheduled(lam, variance, x, lambda _: member, linear, steps=steps, update_gap=gap)
    squares = np.array(list(single))
    weights = (rng.random(d), rng.random(d))
    found = exact_diagonal.redrawn(lam, variance, x, member, linear, steps=steps, update_gap=gap, weights=[(1.0, 1.0), weights])
    assert found[0] == pytest.approx(squares.sum(axis=1), rel=LONG_RECURSION, abs=0)
    assert found[1] == pytest.approx(squares @ np.where(member, *weights), rel=LONG_RECURSION, abs=0)


@READINGS
@pytest.mark.parametrize("law", ["independent", "fixed_size"])
def test_a_diagonal_quadratic_is_a_dense_one_too(reading: Any, law: str) -> None:
    rng = np.random.default_rng(1)
    lam, variance, x = rng.random(6), rng.random(6), rng.normal(size=6)
    linear = updates(0.5, 0.9, 1.0, reading)
    inclusion = exact_dense.independent(np.full(6, 0.5)) if law == "independent" else exact_dense.fixed_size([(3, 6)])
    dense = exact_dense.along_masks(np.diag(lam), variance, x, lambda _: inclusion, linear)
    traces = [float(np.trace(moment)) for moment in itertools.islice(dense, 200)]
    assert exact_diagonal.redrawn(lam, variance, x, 0.5, linear, steps=200)[0] == pytest.approx(
        traces, rel=LONG_RECURSION, abs=0
    )


def test_rotating_everything_changes_nothing() -> None:
    """Equal noise, eigen-directions: f, its start and its noise turn together."""
    start = np.array([0.3, -1.0, 2.0])
    noise, chosen = Gaussian(0.2), algorithm(subspace="eigen", density=0.34)
    here = run(chosen, Quadratic(EIGENVALUES, None, tuple(start)), steps=50, noise=noise)
    turned = run(chosen, Quadratic(EIGENVALUES, ROTATION, tuple(ROTATION @ start)), steps=50, noise=noise)
    assert turned[METRICS[0]] == pytest.approx(here[METRICS[0]], rel=LONG_RECURSION, abs=0)


def test_scaling_f_scales_as_it_must() -> None:
    """cf with noise cσ and α/c: the same trajectory, gradients c times as long."""
    chosen, c = algorithm(update_gap=3), 2.5
    of_parts = Instance.of_parts
    plain = of_parts(Quadratic(EIGENVALUES), Gaussian(0.2), chosen, learning_rate=ALPHA, steps=40)
    other = of_parts(Quadratic(c * EIGENVALUES), Gaussian(c * 0.2), chosen, learning_rate=ALPHA / c, steps=40)
    base, scaled = (expectations(made)[METRICS[0]] for made in (plain, other))
    assert scaled.mean == pytest.approx(c**2 * base.mean, rel=LONG_RECURSION, abs=0)


@READINGS
@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_the_recursion_tends_to_the_closed_form(reading: Any, probability: float) -> None:
    lam, sigma = 0.8, 0.3
    linear = updates(0.4, 0.7, 0.9, reading)
    limit = exact_diagonal.redrawn(lam, sigma**2, 1.0, probability, linear, steps=3000)[0, -1]
    closed = stationary.stationary(0.4, 0.7, lam, probability, sigma, 0.9, reading)
    assert limit == pytest.approx(float(closed), rel=LONG_RECURSION, abs=0)


@READINGS
def test_the_ends_of_the_closed_form(reading: Any) -> None:
    a, b, lam, s = stationary.ALPHA, stationary.BETA, stationary.LAMBDA, stationary.SIGMA
    form = stationary.stationary_expression(reading).subs(stationary.SCALE, 1)
    momentum = a * lam * s**2 * (1 + b) / (2 * (1 + b) - a * lam * (1 - b))
    plain = a * lam * s**2 / (2 - a * lam)
    assert sp.simplify(form.subs(stationary.PROBABILITY, 1) - momentum) == 0
    assert sp.simplify(form.subs(stationary.PROBABILITY, 0) - plain) == 0
    assert sp.simplify(form.subs(b, 0) - plain) == 0


def test_a_run_that_diverges_is_infinite_and_warns_of_nothing() -> None:
    """αλ = 4 blows plain SGD up; with momentum on everything β = 0.99 it does not, and no ∞·0 may arise there."""
    problem = Quadratic(np.array([4.0]))
    keys = {"learning_rate": 1.0, "steps": 3000}
    for gap in (1, 400):
        for density in (0.0, 0.5):
            made = Instance.of_parts(problem, Gaussian(0.1), algorithm(density=density, update_gap=gap), **keys)
            found = expectations(made, METRICS)
            assert all(np.isinf(evidence.mean[-1]) for evidence in found.values())
        heavy = algorithm(density=1.0, update_gap=gap, state_full={"rule": "sgdm", "beta": 0.99})
        found = expectations(Instance.of_parts(problem, Gaussian(0.1), heavy, **keys), METRICS)
        assert all(np.isfinite(evidence.mean).all() for evidence in found.values())


def test_the_branch_that_is_never_taken_may_diverge() -> None:
    """With αλ = 4 SGD explodes beyond float64 within one period and momentum does not."""
    heavy = updates(1.0, 0.99)
    long = exact_diagonal.redrawn(4.0, 0.1, 1.0, 1.0, heavy, steps=3000, update_gap=1000)
    short = exact_diagonal.redrawn(4.0, 0.1, 1.0, 1.0, heavy, steps=3000)
    assert np.isfinite(short).all()
    assert long == pytest.approx(short, rel=LONG_RECURSION, abs=0)


# --- Monte Carlo ------------------------------------------------------------------------------------------------

SETTINGS: dict[str, dict[str, Any]] = {
    "fixed": {"algorithm.set": [0, 3, 4]},
    "everything": {"algorithm.density": 1.0, "problem.rotated": True},
    "nothing": {"algorithm.density": 0.0},
    "bernoulli": {"algorithm.update_gap": 1},
    "bernoulli-held": {},
    "bernoulli-rotated": {"algorithm.update_gap": 1, "problem.rotated": True},
    "fixed-size-rotated": {"algorithm.update_gap": 1, "algorithm.sampling": "fixed_size", "problem.rotated": True},
    "held-rotated": {"problem.rotated": True},
    "hold": {"algorithm.off_set_momentum": "hold", "algorithm.update_gap": 3},
    "blocks": {"algorithm.subspace": "blocks", "problem.blocks": 5},
    "blocks-ascending": {"algorithm.subspace": "blocks", "algorithm.order": "ascending", "problem.blocks": 5},
    "eigen": {"algorithm.subspace": "eigen", "problem.rotated": True},
    "random": {"algorithm.subspace": "random"},
    "student": {"noise.kind": "student-t", "noise.degrees_of_freedom": 8.0},
    "none": {"noise": {"kind": "none"}},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_monte_carlo_agrees_within_its_interval(name: str, quadratic: Any) -> None:
    experiment = quadratic({"algorithm.learning_rate": 0.2, "simulation.trials": 256, **SETTINGS[name]})
    sampled, exact = ft.simulate(experiment), ft.exact(experiment)
    assert exact.source == "exact"
    assert exact.metric == sampled.metric == "squared_gradient_norm"
    assert exact.steps.tolist() == sampled.steps.tolist()
    confidence = 1 - 1e-5
    lower, upper = sampled.interval(confidence)
    own_lower, own_upper = exact.interval(confidence)
    slack = LONG_RECURSION * exact.mean
    assert np.all(own_lower <= upper + slack)
    assert np.all(lower <= own_upper + slack)
    if exact.trials == 1 and name != "none":  # no point would be missed by evidence that is a tenth off
        assert np.max((upper - lower) / exact.mean) < 0.25


# --- what is refused, and the experiment's own numbers --------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"algorithm.state_full": "adamw"}, '"sgdm" is allowed'),
        ({"algorithm.state_free": "signsgd"}, '"sgd", "none" are allowed'),
        ({"noise": {"kind": "student-t", "degrees_of_freedom": 2.0}}, "infinite variance"),
        ({"problem": {"kind": "nonconvex"}}, 'problem.kind = "quadratic" is allowed'),
    ],
)
def test_what_is_refused(changes: dict[str, Any], says: str, quadratic: Any) -> None:
    with pytest.raises(ft.ExperimentError, match="test: no exact expectation: ") as caught:
        ft.exact(quadratic(changes))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_rules_that_never_apply_do_not_matter(quadratic: Any) -> None:
    everything = ft.exact(quadratic({"algorithm.density": 1.0}))
    assert (
        ft.exact(quadratic({"algorithm.density": 1.0, "algorithm.state_free": "signsgd"})).mean.tolist()
        == everything.mean.tolist()
    )
    nothing = ft.exact(quadratic({"algorithm.density": 0.0}))
    assert (
        ft.exact(quadratic({"algorithm.density": 0.0, "algorithm.state_full": "lion"})).mean.tolist() == nothing.mean.tolist()
    )


def test_a_fraction_of_the_admissible_step_is_resolved(quadratic: Any) -> None:
    experiment = quadratic({"algorithm.learning_rate": {"fraction_of_admissible": 0.5}})
    alpha = ft.resolved(experiment).algorithm.learning_rate
    assert isinstance(alpha, float)
    assert ft.exact(experiment).mean.tolist() == ft.exact(experiment, learning_rate=alpha).mean.tolist()


def test_unknown_metrics_are_refused(quadratic: Any) -> None:
    with pytest.raises(ft.ExperimentError, match="squared_gradient_norm"):
        exact_metrics(quadratic(), ["loss"])
    with pytest.raises(ft.ExperimentError, match="squared_gradient_norm"):
        ft.exact(quadratic(), metric="loss")


def test_the_metric_by_name(quadratic: Any) -> None:
    """With independent draws at every step E‖g‖²_W = ω E‖g‖², ω = 1 − pβ(1−p)/(1−pβ)."""
    experiment = quadratic({"algorithm.update_gap": 1})
    plain, weighted = ft.exact(experiment), ft.exact(experiment, metric="weighted_squared_gradient_norm")
    assert weighted.metric == "weighted_squared_gradient_norm"
    omega = 1 - 0.5 * 0.9 * (1 - 0.5) / (1 - 0.5 * 0.9)
    np.testing.assert_allclose(weighted.mean, omega * plain.mean, rtol=LONG_RECURSION)


@pytest.mark.parametrize("gap", [1, 2])
def test_thousands_of_steps_on_a_rotated_quadratic_stay_exact(quadratic, gap):
    """Rounding must not grow: with a step of 1/2 the moments are stationary long before the end, and Monte Carlo agrees."""
    experiment = quadratic(
        {
            "problem": {"kind": "quadratic", "dimension": 6, "rotated": True},
            "algorithm": {"learning_rate": 0.5, "density": 0.5, "update_gap": gap, "subspace": "coordinates"}
            | {"state_full": {"rule": "sgdm", "beta": 0.5}, "state_free": "sgd"},
            "simulation": {"steps": 2000, "trials": 96},
        }
    )
    found, sampled = ft.exact(experiment), ft.simulate(experiment)
    error = STANDARD_ERRORS * sampled.deviation[-1] / np.sqrt(sampled.trials)
    assert abs(found.mean[-1] - sampled.mean[-1]) < error
