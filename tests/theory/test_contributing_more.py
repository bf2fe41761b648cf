"""CONTRIBUTING.md is true of state of any shape, of bases and blocks, metrics, studies, and what is added to the trainer."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import frugal_theory as ft
from frugal_theory.algorithm.combine import Stored
from frugal_theory.algorithm.rules import AdamW, Sgdm
from frugal_theory.algorithm.step import init
from frugal_theory.algorithm.subspaces import choose_parts
from frugal_theory.config import Data, Training
from frugal_theory.metrics import words
from tests.contributing import BLOCKS
from tests.parity.problem import assert_same_path, driven, numpy_path, torch_path
from tests.tolerances import FACTORISATION, ROUNDING, STANDARD_ERRORS


def algorithm(**keys: object) -> ft.Algorithm:
    table = {"learning_rate": 0.03, "density": 0.4, "update_gap": 3, "subspace": "columns", "seed": 3}
    return ft.Algorithm.model_validate({**table, **keys})


# --- rules ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("subspace", ["columns", "coordinates", "blocks", "random"])
def test_a_rule_of_one_number_runs_in_both_engines(block, subspace):
    block("A rule of one number")
    block("A rule of the residual")
    chosen, problem = algorithm(state_full="normalised", state_free="as-large", subspace=subspace), driven(12)
    assert_same_path(torch_path(chosen, problem), numpy_path(chosen, problem), FACTORISATION)


def test_the_rule_of_one_number_is_its_formula(block):
    block("A rule of one number")
    chosen = algorithm(state_full={"rule": "normalised", "beta": 0.5}, density=1.0)
    g = np.random.default_rng(0).standard_normal((4, 6))
    rule, found = ft.optimizer(chosen), []
    state = rule.init(g[0])
    for one in g:
        u, state = rule.update(state, one)
        found.append(u)
    weights = [np.array([0.5 ** (k - i) for i in range(k + 1)]) for k in range(4)]
    expected = [
        np.sqrt(6) * (w @ g[: len(w)]) / (w @ np.linalg.norm(g[: len(w)], axis=1)) for w in weights
    ]  # the factors 1 − β cancel
    np.testing.assert_allclose(found, expected, rtol=ROUNDING)


def test_the_rule_of_the_residual_sees_the_state_full_update(block):
    block("A rule of the residual")
    chosen = algorithm(state_full={"rule": "sgdm", "beta": 0.5}, state_free={"rule": "as-large", "lr_scale": 2.0}, density=0.5)
    g = np.random.default_rng(1).standard_normal((3, 4))
    u, _ = ft.optimizer(chosen).update(ft.optimizer(chosen).init(g), g)
    inside = np.isclose(u, 0.5 * g).all(axis=0)
    assert inside.sum() == 2
    np.testing.assert_allclose(u[:, ~inside], 2.0 * np.abs(0.5 * g[:, inside]).mean() * np.sign(g[:, ~inside]), rtol=ROUNDING)


# --- subspaces --------------------------------------------------------------------------------------------------------


def test_the_basis_is_orthonormal_and_has_its_law(block):
    block("A subspace with a basis")
    chosen, trials, shape = algorithm(subspace="cosines", density=0.5), 4000, (6, 9)
    parts = choose_parts(chosen, {"W": shape}, 0, {"W": np.zeros(shape)}, np.arange(trials))
    columns = parts["W"].columns
    assert columns.shape == (trials, 6, 3)
    np.testing.assert_allclose(columns.mT @ columns, np.broadcast_to(np.eye(3), (trials, 3, 3)), atol=ROUNDING)
    diagonal = np.sum(columns**2, axis=-1)
    error = diagonal.std(axis=0) / np.sqrt(trials)
    assert np.all(np.abs(diagonal.mean(axis=0) - 0.5) <= STANDARD_ERRORS * error + ROUNDING)


@pytest.mark.parametrize("subspace", ["cosines", "one-at-a-time"])
def test_subspaces_from_outside_are_the_same_in_both_engines(block, subspace):
    block("A subspace with a basis")
    block("A subspace of blocks")
    problem = driven(12)
    chosen = algorithm(subspace=subspace, state_full="sgdm", state_free="sgd", on_update="project")
    assert_same_path(torch_path(chosen, problem), numpy_path(chosen, problem), FACTORISATION)


def test_theorems_speak_of_them(block, quadratic):
    block("A subspace with a basis")
    block("A subspace of blocks")
    for subspace in ("cosines", "one-at-a-time"):
        keys = {
            "algorithm.subspace": subspace,
            "problem.blocks": 1 if subspace == "cosines" else 3,
            "algorithm.learning_rate": 1e-3,
        }
        (found,) = ft.verify(quadratic({**keys, "verify.theorems": ["run_length"]}))
        assert found.status == "holds", found.reason


# --- metrics and studies ----------------------------------------------------------------------------------------------


def test_the_metric_is_measured_and_says_its_own_name(block, quadratic):
    block("A metric")
    experiment = quadratic({"noise": {"kind": "none"}, "algorithm.density": 1.0})
    found = ft.simulate(experiment, metric="largest")
    problem = ft.build_problem(experiment)
    x, state, sizes = problem.start(np.random.default_rng(np.random.SeedSequence(7, spawn_key=(1,)))), init(), []
    for _ in range(experiment.simulation.steps):
        g = problem.gradient(x)
        sizes.append(max(float(np.abs(v).max()) for v in g.values()))
        x, state = ft.step(experiment.algorithm, x, g, state)
    np.testing.assert_allclose(found.mean, np.cumsum(sizes) / np.arange(1, len(sizes) + 1), rtol=ROUNDING)
    assert words("largest").symbol == "max|g|"


def test_the_study_runs_from_its_own_file(tmp_path, quadratic):
    from frugal_theory.commands.main import app

    (tmp_path / "mine.py").write_text(BLOCKS["A study"], encoding="utf-8")
    experiment = quadratic({"sweep": {"algorithm.density": [0.25, 0.5]}, "simulation.trials": 8, "noise": {"kind": "none"}})
    (tmp_path / "mine.toml").write_text(ft.dump(experiment), encoding="utf-8")
    app(["study", str(tmp_path / "mine.py"), "--out", str(tmp_path / "out")], standalone_mode=False)
    found = json.loads(next((tmp_path / "out").rglob("study.json")).read_text(encoding="utf-8"))
    assert found["question"] == "Does a larger momentum set lower the average gradient?"
    assert found["status"] in ("yes", "no")
    assert list((tmp_path / "out").rglob("table.csv"))
    assert list((tmp_path / "out").rglob("*.png"))


# --- the trainer ------------------------------------------------------------------------------------------------------


def test_the_probe_measures_without_changing_the_run(block):
    from frugal_gpu.probes import Moment, measure

    block("A probe")
    model = torch.nn.Linear(2, 2)
    gradients = {"weight": torch.full((2, 2), 3.0), "bias": torch.full((2,), 4.0)}
    before = torch.get_rng_state()
    found = measure(["matrices"], Moment(1, 0.1, model, gradients))
    assert found == {"matrices.share": pytest.approx(36 / 68)}
    assert torch.equal(before, torch.get_rng_state())


def test_the_source_is_split_like_any_text(block):
    from frugal_gpu.data.text import documents, fingerprint

    block("A data source")
    data = Data(source="counting", validation_fraction=0.2)
    train, validation = (list(documents(data, 0, part)) for part in ("train", "validation"))
    assert len(train) + len(validation) == 1000
    assert 150 < len(validation) < 250
    assert fingerprint(data) == "counting 1"


def test_the_schedule_can_be_named(block):
    from frugal_gpu.train.schedule import learning_rate_factor

    with pytest.raises(ValueError, match="'cosine', 'constant'"):
        Training(schedule="quadratic")
    block("A learning-rate schedule")
    training = Training(steps=20, warmup_steps=4, schedule="quadratic", final_learning_rate=0.2)
    factors = [learning_rate_factor(training, k) for k in range(1, 21)]
    np.testing.assert_allclose(factors, [*np.arange(1, 5) / 4, *(0.2 + 0.8 * (1 - np.arange(1, 17) / 16) ** 2)], rtol=ROUNDING)


def test_the_storage_rounds_to_eight_bits(block):
    """One rounding of m = 0.1 g: at most half a step of the scale, 0.1 max|g|/127, of which 0.9 is left in the next update."""
    block("A storage")
    g = np.random.default_rng(2).standard_normal((5, 30))
    for array in (np.asarray, torch.as_tensor):
        rule = Stored(Sgdm(beta=0.9), "absmax")
        state = rule.init(array(g[0]))
        assert str(state["momentum"][0].dtype).removeprefix("torch.") == "int8"
        _, state = rule.update(state, array(g[0]))
        u, _ = rule.update(state, array(g[1]))
        off = np.abs(np.asarray(u) - (0.09 * g[0] + 0.1 * g[1]))
        half = 0.9 * 0.1 * np.abs(g[0]).max() / 254
        assert half / 2 < off.max() <= half * (1 + ROUNDING)


def test_the_backend_is_used_and_is_the_formula(block, monkeypatch):
    from frugal_gpu.optim import flags
    from frugal_gpu.optim.backends import accelerated

    namespace = block("A backend")
    assert type(accelerated(namespace["Signum"]())) is namespace["InPlaceSignum"]
    assert accelerated(AdamW()) is not None
    chosen, problem = algorithm(state_full="signum", state_free="sgd"), driven(12)
    fast = torch_path(chosen, problem)
    monkeypatch.setattr(flags, "accelerated", lambda *_: None)
    assert_same_path(fast, torch_path(chosen, problem), ROUNDING)
