"""The compiled path against the NumPy reference: the same random numbers, the same iterates, the same evidence."""

from __future__ import annotations

import itertools
import sys
from dataclasses import replace

import numpy as np
import pytest

from frugal_theory.algorithm.run_lengths import run_lengths
from frugal_theory.algorithm.step import init, step
from frugal_theory.evidence import monte_carlo, separable
from frugal_theory.evidence.metrics import METRICS, HybridNorm, SignNorm
from frugal_theory.evidence.monte_carlo import run, simulation
from frugal_theory.verify import setting_of
from tests.tolerances import ROUNDING

pytest.importorskip("numba")

SUBSPACES = {
    "coordinates": {},
    "fixed size": {"algorithm.sampling": "fixed_size"},
    "randk": {"algorithm.subspace": "randk"},
    "set": {"algorithm.set": [0, 3, 4]},
    "nothing": {"algorithm.density": 0.0},
    "everything": {"algorithm.density": 1.0},
    "blocks": {"algorithm.subspace": "blocks", "problem.blocks": 5},
    "blocks in turn": {"algorithm.subspace": "blocks", "problem.blocks": 5, "algorithm.order": "mirror"},
    "coordinates of blocks": {"problem.blocks": 3},
}
RULES = list(itertools.product(("none", "sgd", "signsgd"), ("reset", "decay", "hold")))
OTHERS = {
    "one sigma a coordinate": {"noise.sigma": [0.1 * i for i in range(12)]},
    "weight decay and scale": {"algorithm.weight_decay": 0.3, "algorithm.state_free": {"rule": "sgd", "lr_scale": 0.7}},
    "periods longer than a chunk": {"algorithm.update_gap": 100, "simulation.steps": 230},
    "a set that never changes hands": {"algorithm.update_gap": 1},
}


@pytest.fixture(autouse=True)
def always_worth_it(monkeypatch):
    monkeypatch.setattr(monte_carlo, "WORTH_COMPILING", 0)


def ready(experiment, metrics=METRICS, **keys):
    setting = setting_of(experiment)
    settings = {"steps": experiment.simulation.steps, "trials": experiment.simulation.trials, "seed": experiment.seed}
    made = simulation(
        setting.problem, setting.noise, setting.algorithm, learning_rate=setting.alpha, metrics=metrics, **settings | keys
    )
    assert made.compiled
    return made


def assert_same(fast):
    (found,), (expected,) = run([fast]), run([replace(fast, compiled=False)])
    assert found.keys() == expected.keys()
    for name, reference in expected.items():
        rounding = ROUNDING * reference.mean.max()
        for field in ("mean", "lower", "upper", "deviation"):
            np.testing.assert_allclose(getattr(found[name], field), getattr(reference, field), rtol=ROUNDING, atol=rounding)


@pytest.mark.parametrize("subspace", SUBSPACES)
@pytest.mark.parametrize(("free", "reading"), RULES)
def test_evidence_is_that_of_the_reference(quadratic, subspace, free, reading):
    assert_same(
        ready(quadratic(SUBSPACES[subspace] | {"algorithm.state_free.rule": free, "algorithm.off_set_momentum": reading}))
    )


@pytest.mark.parametrize("other", OTHERS)
def test_other_settings(quadratic, other):
    assert_same(ready(quadratic(OTHERS[other])))


def test_the_hybrid_norm_is_compiled_and_the_norm_of_signs_is_not(quadratic):
    experiment = quadratic({"algorithm.state_free": "signsgd"})
    assert_same(ready(experiment, ["own"], measures={"own": HybridNorm(0.4, 0.6)}))
    setting = setting_of(experiment)
    own = SignNorm({"x": np.ones(12)})
    assert not separable.applies(setting.problem, setting.noise, setting.algorithm, {"own": own})


@pytest.mark.parametrize("overrides", [{}, {"problem.blocks": 5, "algorithm.subspace": "blocks"}])
def test_iterates_are_equal_to_the_last_bit(quadratic, overrides):
    """Without noise a wrong x could hide in a sum; so x itself, with noise, after every step, from the kernel alone."""
    from frugal_theory.evidence.kernel import FREE, READINGS, SUMS, advance

    setting = setting_of(quadratic(overrides | {"algorithm.update_gap": 1000}))
    problem, trials, seed = setting.problem, np.arange(7), np.random.SeedSequence(5)
    start = problem.start(np.random.default_rng(0))
    x, state = {name: np.repeat(value[None], 7, axis=0) for name, value in start.items()}, init(trials)
    rng, words = np.random.Generator(np.random.SFC64(seed)), separable._words(np.random.SFC64(seed))
    fast = problem.partition.join(x).copy()
    momentum = np.zeros_like(fast)
    edges = np.cumsum([0, *(value.size for value in start.values())])
    for _ in range(50):
        noisy = setting.noise.sample(rng, problem, x, problem.gradient(x))
        x, state = step(setting.algorithm, x, noisy, state, 0.02)
        inside = [np.broadcast_to(state.parts[name].inside, value.shape) for name, value in x.items()]
        sums = np.empty((1, len(start), 7, SUMS))
        numbers = (True, 0.9, 0.02, 1.0, 1.0, FREE["sgd"], READINGS["reset"])
        mask, sigma = np.concatenate(inside, axis=1), np.full(12, 0.1)
        advance(words, fast, momentum, mask, problem.eigenvalues, sigma, edges, *numbers, sums)
        np.testing.assert_array_equal(fast, problem.partition.join(x))


def test_normal_numbers_are_numpys():
    """Ten million: every layer of the ziggurat, its edges and its tail (one number in four thousand) are met."""
    from frugal_theory.evidence.kernel import normals

    bits, drawn = np.random.SFC64(3), np.empty(10**7)
    words = separable._words(bits)
    normals(words, drawn)
    expected = np.random.Generator(bits).standard_normal(len(drawn))
    assert np.abs(expected).max() > 5
    np.testing.assert_array_equal(drawn, expected)
    np.testing.assert_array_equal(words, bits.state["state"]["state"])


REFERENCE_ONLY = {
    "rotated": {"problem.rotated": True},
    "student-t": {"noise": {"kind": "student-t", "degrees_of_freedom": 5.0, "sigma": 0.1}},
    "lion": {"algorithm.state_full": "lion"},
    "random basis": {"algorithm.subspace": "random"},
    "logistic": {"problem": {"kind": "logistic", "dataset": "breast-cancer"}, "noise": {"kind": "minibatch", "batch_size": 2}},
}


@pytest.mark.parametrize("case", REFERENCE_ONLY)
def test_everything_else_is_left_to_the_reference(quadratic, case):
    setting = setting_of(quadratic(REFERENCE_ONLY[case]))
    assert not separable.applies(setting.problem, setting.noise, setting.algorithm, METRICS)


def test_small_work_does_not_wait_for_a_compiler(quadratic, monkeypatch):
    monkeypatch.undo()
    setting = setting_of(quadratic())
    keys = {"learning_rate": setting.alpha, "steps": 1000}
    assert not simulation(setting.problem, setting.noise, setting.algorithm, trials=100, **keys).compiled
    assert simulation(setting.problem, setting.noise, setting.algorithm, trials=2000, **keys).compiled


def test_without_numba_numpy_does_it(quadratic, monkeypatch):
    fast = ready(quadratic())
    monkeypatch.setitem(sys.modules, "frugal_theory.evidence.kernel", None)
    separable.compiled.cache_clear()
    try:
        setting = setting_of(quadratic())
        keys = {"learning_rate": setting.alpha, "steps": fast.steps, "trials": fast.trials, "seed": fast.seed}
        slow = simulation(setting.problem, setting.noise, setting.algorithm, **keys)
        assert not slow.compiled
        (found,) = run([slow])
    finally:
        separable.compiled.cache_clear()
    monkeypatch.undo()
    (expected,) = run([fast])
    np.testing.assert_allclose(found["squared_gradient_norm"].mean, expected["squared_gradient_norm"].mean, rtol=ROUNDING)


def test_numbers_that_are_not_numpys_are_not_used(monkeypatch):
    """A NumPy, or a numba, that draws normal numbers in another way."""
    from frugal_theory.evidence import kernel

    monkeypatch.setattr(kernel, "normals", lambda _, out: out.fill(0.0))
    separable.compiled.cache_clear()
    try:
        assert not separable.compiled()
    finally:
        separable.compiled.cache_clear()


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_same_bits_for_any_number_of_threads(quadratic, jobs):
    fast = ready(quadratic({"simulation.trials": 150}))
    assert len(fast.batches) == 5
    (once,), (again,) = run([fast]), run([fast], jobs=jobs)
    for name in once:
        np.testing.assert_array_equal(once[name].mean, again[name].mean)
        np.testing.assert_array_equal(once[name].upper, again[name].upper)


def test_divergence_is_reported_not_raised(quadratic):
    fast = ready(quadratic({"algorithm.learning_rate": 1e200, "simulation.steps": 30}))
    assert not np.isfinite(next(run([fast]))["squared_gradient_norm"].mean[-1])


def test_the_weighted_norm_needs_an_oblivious_set(quadratic):
    """What cannot be measured is refused by the reference, whatever is compiled."""
    setting = setting_of(quadratic())
    assert run_lengths(setting.algorithm, setting.problem.shapes) is not None
    added = setting.algorithm.model_copy(update={"subspace": "svd"})
    assert not separable.applies(setting.problem, setting.noise, added, METRICS)
