"""The compiled path against the NumPy reference: the same random numbers, the same iterates, the same evidence."""

from __future__ import annotations

import itertools
import sys
from dataclasses import replace

import numpy as np
import pytest

from frugal_theory.algorithm.rules.adamw import bias_correction
from frugal_theory.algorithm.selection import independent_units, selection_key, threshold, trial_keys
from frugal_theory.algorithm.step import init, step
from frugal_theory.evidence.monte_carlo import compiled as fast_path
from frugal_theory.evidence.monte_carlo import simulation as monte_carlo
from frugal_theory.evidence.monte_carlo.simulation import run, simulation
from frugal_theory.instance import Instance, instance_of, setting_of
from frugal_theory.metrics import METRICS, HybridNorm, SignNorm
from frugal_theory.problems import Quadratic
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
    made = simulation(instance_of(experiment), metrics, **keys)
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


def test_the_hybrid_norm_is_compiled_and_norms_of_kept_signs_are_not(quadratic):
    experiment = quadratic({"algorithm.state_free": "signsgd"})
    assert_same(ready(experiment, ["own"], measures={"own": HybridNorm(0.4, 0.6)}))
    instance = instance_of(experiment)
    for own in (SignNorm({"x": np.ones(12)}), HybridNorm(0.4, 0.6, {"x": np.ones(12)})):
        assert not fast_path.applies(instance, {"own": own})


def assert_same_iterates(experiment):
    """x, what the rule remembers and the set, after every step of seven trials, to the last bit."""
    made = instance_of(experiment)
    setting, problem, trials, seed = made.setting, made.problem, np.arange(7), np.random.SeedSequence(5)
    start = made.start
    x, state = {name: np.repeat(value[None], 7, axis=0) for name, value in start.items()}, init(trials)
    rng = np.random.Generator(np.random.SFC64(seed))
    fast = fast_path.Trials(made, made.setting.steps, trials, np.random.SFC64(seed))
    gap = setting.algorithm.update_gap
    for k in range(min(experiment.simulation.steps, 3 * gap + 2)):
        noisy = setting.noise.sample(rng, problem, x, problem.gradient(x))
        x, state = step(setting.algorithm, x, noisy, state, setting.alpha)
        if k % gap == 0:
            fast.choose(k // gap)
        fast.advance(np.empty((1, len(start), 7, 4)))
        for number, name in enumerate(start):
            flat = slice(fast.edges[number], fast.edges[number + 1])
            np.testing.assert_array_equal(fast.x[:, flat], x[name].reshape(7, -1))
            inside = np.broadcast_to(state.parts[name].inside, x[name].shape)
            np.testing.assert_array_equal(fast.inside[:, flat], inside.reshape(7, -1))
            for mine, reference in zip(fast.statistics, state.statistics[name].values(), strict=True):
                np.testing.assert_array_equal(mine[:, flat], reference.reshape(7, -1))


EVERY_RULE = list(itertools.product(("sgdm", "adamw", "lion"), ("none", "sgd", "signsgd"), ("reset", "decay", "hold")))


@pytest.mark.parametrize(("full", "free", "reading"), EVERY_RULE)
def test_iterates_are_equal_to_the_last_bit(quadratic, full, free, reading):
    rules = {"algorithm.state_full": full, "algorithm.off_set_momentum": reading}
    rest = {"algorithm.weight_decay": 0.3, "algorithm.state_free": {"rule": free, "lr_scale": 0.7}}
    assert_same_iterates(quadratic(rules | rest | {"algorithm.update_gap": 4, "problem.blocks": 3}))


MATRIX = {"kind": "matrix", "rows": 7, "columns": 5}
GRADIENTS = {
    "rotated": {"problem.rotated": True},
    "rotated, in blocks": {"problem.rotated": True, "problem.blocks": 5, "algorithm.subspace": "blocks"},
    "columns": {"problem": MATRIX, "algorithm.subspace": "columns"},
    "rows of two matrices": {"problem": MATRIX | {"layers": 2}, "algorithm.subspace": "rows"},
    "coordinates of a matrix": {"problem": MATRIX},
    "blocks of matrices": {"problem": MATRIX, "algorithm.subspace": "blocks"},
    "logistic": {"problem": {"kind": "logistic", "dataset": "breast-cancer", "blocks": 4}},
    "nonconvex": {"problem": {"kind": "nonconvex"}, "algorithm.sampling": "fixed_size"},
    "student-t": {"noise": {"kind": "student-t", "degrees_of_freedom": 5.0, "sigma": [0.1 * i for i in range(12)]}},
    "student-t, in blocks": {"noise": {"kind": "student-t"}, "problem.blocks": 4, "problem.rotated": True},
    "mini-batches": {
        "problem": {"kind": "logistic", "dataset": "breast-cancer", "blocks": 4},
        "noise": {"kind": "minibatch", "batch_size": 2},
    },
    "without noise": {"problem.rotated": True, "noise": {"kind": "none"}},
    "one sigma a coordinate": {"problem.rotated": True, "noise.sigma": [0.1 * i for i in range(12)]},
}


@pytest.mark.parametrize("case", GRADIENTS)
@pytest.mark.parametrize("full", ["sgdm", "adamw"])
def test_iterates_are_equal_where_numpy_gives_the_gradient(quadratic, case, full):
    experiment = quadratic(GRADIENTS[case] | {"algorithm.state_full": full, "algorithm.update_gap": 4})
    assert_same_iterates(experiment)
    assert_same(ready(experiment.model_copy(update={"simulation": experiment.simulation.model_copy(update={"trials": 40})})))


@pytest.mark.parametrize("full", ["adamw", "lion"])
@pytest.mark.parametrize("subspace", SUBSPACES)
def test_evidence_of_adamw_and_lion_is_that_of_the_reference(quadratic, full, subspace):
    assert_same(ready(quadratic(SUBSPACES[subspace] | {"algorithm.state_full": full, "algorithm.state_free": "signsgd"})))


def test_what_diverges_is_not_mended(quadratic):
    """inf and nan come out of the kernel as they come out of NumPy: a sign of nan is nan."""
    for full, free in itertools.product(("sgdm", "adamw", "lion"), ("sgd", "signsgd")):
        overrides = {"algorithm.state_full": full, "algorithm.state_free": free, "algorithm.learning_rate": 1e200}
        experiment = quadratic(overrides | {"algorithm.update_gap": 3, "noise.sigma": 1e200, "problem.smoothness": 1e200})
        with np.errstate(over="ignore", invalid="ignore"):
            assert_same_iterates(experiment)


@pytest.mark.parametrize("probability", [1e-12, 0.25, 0.5, 1 - 2**-53])
def test_units_are_drawn_as_by_the_reference(probability):
    from frugal_theory.evidence.monte_carlo.kernel import draw_units

    keys = trial_keys(selection_key(3, "x", 11), np.arange(50))
    inside = np.empty((50, 300), dtype=bool)
    draw_units(keys[:, 0], threshold(probability), 70, 270, inside)
    np.testing.assert_array_equal(inside[:, 70:270], independent_units(keys, np.arange(200), probability))


@pytest.mark.parametrize("beta", [0.0, 0.9, 0.999, 1 - 1e-9])
def test_bias_corrections_are_powers(beta):
    count = np.random.default_rng(0).integers(1, 5000, size=(30, 40)).astype(float)
    expected = -np.expm1(count * np.log(beta)) if beta > 0 else np.ones_like(count)
    np.testing.assert_allclose(bias_correction(beta, count, count), expected, rtol=ROUNDING, atol=0)


def test_normal_numbers_are_numpys():
    """Ten million: every layer of the ziggurat, its edges and its tail (one number in four thousand) are met."""
    from frugal_theory.evidence.monte_carlo.kernel import normals

    bits, drawn = np.random.SFC64(3), np.empty(10**7)
    words = fast_path._words(bits)
    normals(words, drawn)
    expected = np.random.Generator(bits).standard_normal(len(drawn))
    assert np.abs(expected).max() > 5
    np.testing.assert_array_equal(drawn, expected)
    np.testing.assert_array_equal(words, bits.state["state"]["state"])


class OwnQuadratic(Quadratic):
    """A user's own, whose gradient may be anything."""


def test_what_is_added_is_left_to_the_reference(quadratic):
    setting = setting_of(quadratic())
    own = Instance.of_parts(OwnQuadratic(setting.problem.eigenvalues), setting.noise, setting.algorithm)
    assert not fast_path.applies(own, METRICS)


REFERENCE_ONLY = {
    "random basis": {"algorithm.subspace": "random"},
    "eigenvectors": {"algorithm.subspace": "eigen"},
    "svd": {"problem": MATRIX, "algorithm.subspace": "svd"},
}


@pytest.mark.parametrize("case", REFERENCE_ONLY)
def test_bases_are_left_to_the_reference(quadratic, case):
    assert not fast_path.applies(instance_of(quadratic(REFERENCE_ONLY[case])), METRICS)


def test_small_work_does_not_wait_for_a_compiler(quadratic, monkeypatch):
    monkeypatch.undo()
    instance = instance_of(quadratic({"simulation.steps": 1000}))
    assert not simulation(instance, trials=(0, 100)).compiled
    assert simulation(instance, trials=(0, 2000)).compiled


def test_without_numba_numpy_does_it(quadratic, monkeypatch):
    fast = ready(quadratic())
    monkeypatch.setitem(sys.modules, "frugal_theory.evidence.monte_carlo.kernel", None)
    fast_path.compiled.cache_clear()
    try:
        slow = simulation(fast.instance)
        assert not slow.compiled
        (found,) = run([slow])
    finally:
        fast_path.compiled.cache_clear()
    monkeypatch.undo()
    (expected,) = run([fast])
    np.testing.assert_allclose(found["squared_gradient_norm"].mean, expected["squared_gradient_norm"].mean, rtol=ROUNDING)


def test_numbers_that_are_not_numpys_are_not_used(monkeypatch):
    """A NumPy, or a numba, that draws normal numbers in another way."""
    from frugal_theory.evidence.monte_carlo import kernel

    monkeypatch.setattr(kernel, "normals", lambda _, out: out.fill(0.0))
    fast_path.compiled.cache_clear()
    try:
        assert not fast_path.compiled()
    finally:
        fast_path.compiled.cache_clear()


@pytest.mark.parametrize(("jobs", "rotated"), [(1, False), (2, False), (3, False), (2, True)])
def test_same_bits_for_any_number_of_workers(quadratic, jobs, rotated):
    fast = ready(quadratic({"simulation.trials": 150, "problem.rotated": rotated}))
    assert fast.lock_free != rotated
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
    assert setting.runs is not None
    added = setting.algorithm.model_copy(update={"subspace": "svd"})
    assert not fast_path.applies(Instance.of_parts(setting.problem, setting.noise, added), METRICS)
