"""CONTRIBUTING.md is true: its blocks run as they stand, and add what they say."""

from __future__ import annotations

import numpy as np
import pytest

import frugal_theory as ft
from frugal_theory.algorithm import choose_parts
from frugal_theory.algorithm.run_lengths import run_lengths
from frugal_theory.algorithm.selection import stream
from frugal_theory.evidence.exact.expectations import exact
from frugal_theory.instance import instance_of
from frugal_theory.premises import check_premises
from tests.contributing import BLOCKS, LONGEST, TEXT
from tests.tolerances import COMPLEX_STEP, FACTORISATION, ROUNDING, STANDARD_ERRORS


def test_there_is_a_short_block_for_everything_that_can_be_added():
    assert list(BLOCKS) == [
        "A rule",
        "A rule of one number",
        "A rule of the residual",
        "A subspace",
        "A subspace with a basis",
        "A subspace of blocks",
        "A problem",
        "A noise",
        "A metric",
        "A premise",
        "A theorem",
        "A study",
        "A probe",
        "A data source",
        "A learning-rate schedule",
        "A storage",
        "A backend",
    ]
    assert TEXT.count("```python") == len(BLOCKS)
    for code in BLOCKS.values():
        assert len(code.splitlines()) < LONGEST


def test_nothing_is_left_behind(block, quadratic):
    from frugal_theory.config.registry import RULES

    with ft.extended():
        for title in BLOCKS:
            block(title)
        assert "rmsprop" in RULES
        assert "linear_rate" in ft.THEOREMS
    assert "rmsprop" not in RULES
    assert "linear_rate" not in ft.THEOREMS
    named = {
        "algorithm.state_full": "rmsprop",
        "algorithm.subspace": "windows",
        "problem": {"kind": "log-cosh"},
        "noise": {"kind": "rademacher"},
    }
    for key, value in named.items():
        with pytest.raises(ft.ExperimentError, match="allowed"):
            quadratic({key: value})


# --- a rule ---------------------------------------------------------------------------------------------------


def test_the_rule_is_rmsprop(block, quadratic):
    block("A rule")
    algorithm = quadratic({"algorithm.state_full": {"rule": "rmsprop", "eps": 0.01}, "algorithm.density": 1.0}).algorithm
    gradients = np.random.default_rng(0).standard_normal((7, 5))
    x, state = {"x": np.zeros(5)}, ft.init()
    for g in gradients:
        x, state = ft.step(algorithm, x, {"x": g}, state)
    ages = np.arange(7)[:, None] - np.arange(7)
    weights = np.where(ages >= 0, 0.01 * 0.99 ** np.maximum(ages, 0), 0.0)
    scales = np.sqrt(weights @ gradients**2) + 0.01
    np.testing.assert_allclose(x["x"], -0.02 * np.sum(gradients / scales, axis=0), rtol=ROUNDING)


@pytest.mark.parametrize("subspace", ["coordinates", "blocks", "columns", "random"])
def test_the_rule_is_the_same_in_pytorch(block, subspace):
    from tests.parity.problem import assert_same_path, driven, numpy_path, torch_path

    block("A rule")
    rule = {"rule": "rmsprop", "eps": 0.01}
    algorithm = ft.parse(quadratic_text(subspace), overrides={"algorithm.state_full": rule}).algorithm
    tolerance = FACTORISATION if subspace == "random" else ROUNDING
    problem = driven(40)
    assert_same_path(torch_path(algorithm, problem), numpy_path(algorithm, problem), tolerance)


def quadratic_text(subspace: str) -> str:
    """An experiment without a problem: parity brings its own."""
    return f"""
        name = "parity"
        seed = 3
        [algorithm]
        learning_rate = 0.03
        density = 0.4
        update_gap = 7
        subspace = "{subspace}"
        on_update = "project"
        state_full = {{ rule = "adamw", eps = 1e-3 }}
        state_free = {{ rule = "sgd" }}
    """


def test_the_rule_by_name_has_the_defaults_of_its_table(block):
    import torch

    from frugal_gpu import Frugal

    block("A rule")
    optimizer = Frugal([torch.nn.Parameter(torch.ones(3))], state_full="rmsprop")
    assert optimizer.param_groups[0]["state_full_table"] == {"beta": 0.99, "eps": 1e-8}


def test_no_theorem_speaks_of_the_rule(block, quadratic):
    block("A rule")
    verdicts = ft.verify(quadratic({"algorithm.state_full": "rmsprop", "simulation.steps": 5}))
    assert {verdict.status for verdict in verdicts} == {"not applicable"}


# --- a subspace -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("subspace", ["windows", "alternating"])
def test_the_law_of_the_subspace_is_that_of_its_sets(block, quadratic, subspace):
    block("A subspace")
    shapes = {"x": (7,), "W": (3, 4)}
    algorithm = quadratic({"algorithm.subspace": subspace, "algorithm.density": 0.3}).algorithm
    runs = run_lengths(algorithm, shapes)
    trials = 6000
    for period in range(3):
        parts = choose_parts(algorithm, shapes, period, {}, np.arange(trials))
        for name, shape in shapes.items():
            inside = np.broadcast_to(parts[name].inside, (trials, *shape))
            share = np.broadcast_to(runs.probability(period)[name], shape)
            error = np.sqrt(share * (1 - share) / trials)
            assert np.all(np.abs(inside.mean(axis=0) - share) <= STANDARD_ERRORS * error)
            if subspace == "windows":
                assert np.all(inside.reshape(trials, -1).sum(axis=1) == round(0.3 * np.prod(shape)))
    assert runs.law == {"windows": "redrawn", "alternating": "scheduled"}[subspace]


@pytest.mark.parametrize("subspace", ["windows", "alternating"])
def test_the_subspace_is_simulated_and_judged(block, quadratic, subspace):
    block("A subspace")
    overrides = {"algorithm.subspace": subspace, "algorithm.learning_rate": {"fraction_of_admissible": 0.5}}
    experiment = quadratic({**overrides, "verify.theorems": ["run_length"], "algorithm.update_gap": 3})
    (verdict,) = ft.verify(experiment)
    assert verdict.status == "holds"
    assert all(premise.held for premise in verdict.premises)
    simulated, expected = ft.simulate(experiment), exact(experiment)
    error = simulated.deviation / np.sqrt(simulated.trials)
    assert np.all(np.abs(simulated.mean - expected.mean) <= STANDARD_ERRORS * error + ROUNDING)


def test_windows_are_no_fixed_size_sample(block, quadratic):
    """On a rotated quadratic pairs matter, and those of a window are not those of a uniform subset."""
    block("A subspace")
    overrides = {"algorithm.subspace": "windows", "problem.rotated": True, "algorithm.update_gap": 1, "simulation.trials": 200}
    experiment = quadratic(overrides)
    simulated, expected = ft.simulate(experiment), exact(experiment)
    assert expected.deviation is not None, "an average over sets: no closed form knows the pairs of a window"
    error = np.hypot(simulated.deviation, expected.deviation) / np.sqrt(200)
    assert np.all(np.abs(simulated.mean - expected.mean) <= STANDARD_ERRORS * error + ROUNDING)


@pytest.mark.parametrize("reading", ["reset", "decay", "hold"])
@pytest.mark.parametrize("subspace", ["windows", "alternating"])
def test_the_subspace_is_the_same_in_pytorch(block, subspace, reading):
    from tests.parity.problem import assert_same_path, driven, numpy_path, torch_path

    block("A subspace")
    algorithm = ft.parse(quadratic_text(subspace), overrides={"algorithm.off_set_momentum": reading}).algorithm
    problem = driven(40)
    assert_same_path(torch_path(algorithm, problem), numpy_path(algorithm, problem), ROUNDING)


# --- a problem --------------------------------------------------------------------------------------------------

LOG_COSH = {"problem": {"kind": "log-cosh", "dimension": 6, "samples": 9, "start": "ones"}}


def test_the_gradient_of_the_problem_is_that_of_its_value(block, quadratic):
    block("A problem")
    problem = ft.build_problem(quadratic({**LOG_COSH, "algorithm.subspace": "blocks"}))
    assert len(problem.shapes) == 6
    x = problem.start(np.random.default_rng(0))
    vector, step = problem.partition.join(x), 1e-30
    value = lambda z: np.log(np.cosh(z @ problem.features.T - problem.targets)).mean(axis=-1)  # noqa: E731
    np.testing.assert_allclose(problem.value(x), value(vector), rtol=ROUNDING)
    derivative = value(vector + 1j * step * np.eye(6)).imag / step
    np.testing.assert_allclose(problem.partition.join(problem.gradient(x)), derivative, rtol=COMPLEX_STEP, atol=COMPLEX_STEP)
    trials = {name: np.stack([array, 2 * array]) for name, array in x.items()}
    np.testing.assert_array_equal(problem.value(trials)[0], problem.value(x))


def test_the_smoothness_of_the_problem_is_attained_at_its_minimum(block):
    namespace = block("A problem")
    features, solution = np.random.default_rng(1).standard_normal((9, 4)), np.arange(4.0)
    problem = namespace["LogCosh"](features, solution, "normal", 1)
    assert problem.value({"x": solution}) == pytest.approx(problem.infimum, abs=ROUNDING)
    hessian = problem.gradient({"x": solution + 1j * 1e-30 * np.eye(4)})["x"].imag / 1e-30
    assert np.linalg.eigvalsh(hessian)[-1] == pytest.approx(problem.smoothness, rel=FACTORISATION)


def test_theorems_are_judged_on_the_problem(block, quadratic):
    block("A problem")
    overrides = {"algorithm.density": 0.0, "algorithm.learning_rate": {"fraction_of_admissible": 0.3}}
    (verdict,) = ft.verify(quadratic({**LOG_COSH, **overrides, "verify.theorems": ["sgd"]}))
    assert verdict.status == "holds"
    assert 0.01 < verdict.tightness < 1


def test_the_checks_of_vectors_hold_for_the_problem(block, quadratic):
    block("A problem")
    refused = {
        "needs a matrix": {"algorithm.subspace": "svd"},
        "start has 1 entries": {"problem.start": [1.0]},
        'did you mean "samples"': {"problem.sample": 3},
        "more than the problem's dimension": {"problem.blocks": 7},
        "coordinates 0 to 5": {"algorithm.set": [6]},
        "made of samples": {"noise": {"kind": "minibatch"}},
    }
    for words, overrides in refused.items():
        with pytest.raises(ft.ExperimentError, match=words):
            ft.build_problem(quadratic({**LOG_COSH, **overrides}))


# --- a noise ------------------------------------------------------------------------------------------------------


def test_the_moments_of_the_noise(block, quadratic):
    block("A noise")
    experiment = quadratic({"noise": {"kind": "rademacher", "sigma": 0.3}})
    problem, noise = ft.build_problem(experiment), ft.build_noise(experiment)
    gradient = {"x": np.zeros((4000, 12))}
    drawn = noise.sample(np.random.default_rng(stream(0, "noise")), problem, gradient, gradient)["x"]
    np.testing.assert_allclose(drawn**2, noise.variance(problem)["x"] * np.ones_like(drawn), rtol=ROUNDING)
    assert np.all(np.abs(drawn.mean(axis=0)) <= STANDARD_ERRORS * 0.3 / np.sqrt(len(drawn)))
    assert abs(np.mean(drawn[1:] * drawn[:-1])) <= STANDARD_ERRORS * 0.3**2 / np.sqrt(drawn[1:].size)


def test_theorems_are_judged_under_the_noise(block, quadratic):
    """On λ = L the bound of SGD is nearly attained after a while, whatever the law of the noise."""
    block("A noise")
    overrides = {"problem": {"kind": "quadratic", "eigenvalues": [1.0] * 4, "start": [0.0] * 4}, "algorithm.density": 0.0}
    overrides["simulation.steps"] = 8
    experiment = quadratic({**overrides, "noise.kind": "rademacher", "algorithm.learning_rate": 0.5, "simulation.trials": 600})
    (verdict, *_) = ft.verify(experiment)
    assert verdict.status == "holds"
    assert 0.8 < verdict.tightness < 1


# --- a theorem ------------------------------------------------------------------------------------------------------

SGD = {"algorithm.density": 0.0, "verify.theorems": ["linear_rate"]}
TIGHT = {
    "problem": {"kind": "quadratic", "eigenvalues": [2.0, 2.0]},
    "noise": {"kind": "none"},
    "algorithm.learning_rate": {"fraction_of_admissible": 1.0},
}


@pytest.mark.parametrize("sigma", [0.0, 0.1, 1.0])
def test_the_theorem_holds(block, quadratic, sigma):
    block("A theorem")
    overrides = {"problem.exponent": 0.5, "noise.sigma": sigma, "algorithm.learning_rate": {"fraction_of_admissible": 0.8}}
    (verdict,) = ft.verify(quadratic({**SGD, **overrides, "simulation.steps": 200}))
    assert verdict.status == "holds"


def test_the_theorem_is_tight_and_half_of_it_is_violated(block, quadratic):
    namespace = block("A theorem")
    (verdict,) = ft.verify(quadratic({**SGD, **TIGHT}))
    assert verdict.status == "holds"
    assert verdict.tightness == pytest.approx(1, rel=ROUNDING)

    class Half(namespace["LinearRate"]):
        name = "half"

        def bound(self, setting):
            return super().bound(setting) / 2

    (verdict,) = ft.verify(quadratic({**SGD, **TIGHT}), theorems=[Half()])
    assert verdict.status == "violated"


def test_the_theorem_says_what_it_does_not_cover(block, quadratic):
    block("A theorem")
    cases = {
        "not SGD": {"algorithm.density": 1.0},
        "strongly convex quadratic": {"problem": {"kind": "nonconvex", "dimension": 12}},
        "too large": {"algorithm.learning_rate": 1.001},
    }
    for words, overrides in cases.items():
        (verdict,) = ft.verify(quadratic({**SGD, "simulation.steps": 5, **overrides}))
        assert verdict.status == "not applicable"
        assert words in verdict.reason


# --- what premises say of additions that are not what they declare ---------------------------------------------------


def premise(experiment: ft.Experiment, name: str) -> ft.Premise:
    (found,) = [p for p in check_premises(instance_of(experiment)) if p.name == name]
    return found


@pytest.mark.parametrize(
    ("text", "planted", "fails"), [("[-1.0, 1.0]", "[-1.0, 0.8]", "P3"), ("* rng", "* 1.1 * rng", "P4")], ids=["biased", "loud"]
)
def test_a_noise_that_is_not_what_it_declares_is_found_out(block, quadratic, monkeypatch, text, planted, fails):
    assert text in BLOCKS["A noise"]
    monkeypatch.setitem(BLOCKS, "A noise", BLOCKS["A noise"].replace(text, planted))
    block("A noise")
    experiment = quadratic({"noise.kind": "rademacher"})
    assert [name for name in ("P3", "P4") if not premise(experiment, name).held] == [fails]
    assert {verdict.status for verdict in ft.verify(experiment)} == {"not applicable"}


def test_a_share_that_is_not_true_is_found_out(block, quadratic, monkeypatch):
    text = "return budget(density, count) / count"
    assert text in BLOCKS["A subspace"]
    monkeypatch.setitem(BLOCKS, "A subspace", BLOCKS["A subspace"].replace(text, f"{text} * 0.9"))
    block("A subspace")
    found = premise(quadratic({"algorithm.subspace": "windows"}), "P6")
    assert not found.held
    assert "declares the share 0.45" in found.how


def test_without_a_share_no_theorem_applies(block, quadratic):
    from frugal_theory.algorithm.subspaces import Drawn

    namespace = block("A subspace")
    ft.add_subspace("unknown", Drawn(namespace["window"]))
    verdicts = ft.verify(quadratic({"algorithm.subspace": "unknown", "simulation.steps": 5}))
    assert {verdict.status for verdict in verdicts} == {"not applicable"}
    (reason,) = [verdict.reason for verdict in verdicts if verdict.theorem == "run_length"]
    assert "not known to be oblivious" in reason


# --- the premise -----------------------------------------------------------------------------------------------------


def test_the_premise_is_met_by_a_convex_problem_only(block, quadratic):
    block("A premise")
    keys = {"algorithm.learning_rate": 1e-3, "verify.theorems": ["run_length"]}
    (convex,) = ft.verify(quadratic(keys))
    assert convex.status == "holds"
    assert convex.premises[-1].name == "P7"
    (other,) = ft.verify(quadratic({**keys, "problem": {"kind": "nonconvex", "dimension": 5}}))
    assert other.reason.startswith("Premise P7 fails: ⟨∇f(x) − ∇f(y), x − y⟩ = -")
