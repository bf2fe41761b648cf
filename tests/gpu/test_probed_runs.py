"""A run with probes is the run without them, resumed or not, and says of what no theorem speaks."""

from __future__ import annotations

import json
import math

import pytest
import tiny
import torch
from torch import nn

import frugal_theory as ft
from frugal_gpu.data.batches import independent_indices
from frugal_gpu.probes import Objective, Watch
from frugal_gpu.probes.law import law_of, off_the_law
from frugal_gpu.train import loop
from frugal_gpu.train.loop import train
from frugal_theory import config

pytestmark = pytest.mark.usefixtures("own_cache")

WHOLE = [f"algorithm.{role}" for role in ("embeddings", "norms", "biases", "output")]
ALL = {"probes.every": 3, "probes.kinds": ["gradient", "noise", "smoothness", "descent", "curvature", "angles"]}


def log_of(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in {*tiny.TIMES, "probes", "intervals", "probe_seconds"}} for line in lines]


@pytest.mark.parametrize("overrides", [{"training.accumulation": 2}, {"data.sampling": "independent"}])
def test_a_run_with_probes_is_the_run_without_them(source, tmp_path, overrides):
    few = {"training.steps": 6, "training.checkpoint_every": 6, **overrides}
    train(tiny.experiment(source, few), tmp_path / "plain")
    outcome = train(tiny.experiment(source, few | ALL), tmp_path / "probed")
    assert log_of(tmp_path / "plain") == log_of(tmp_path / "probed")
    files = [tmp_path / name / "checkpoints" / "step-000006" for name in ("plain", "probed")]
    assert (files[0] / "model.safetensors").read_bytes() == (files[1] / "model.safetensors").read_bytes()
    assert outcome.summary["probe_measurements"] == {"path": 3, "curvature": 2, "angles": 2}
    assert {"constants.json", "verdicts.json"} <= {path.name for path in (tmp_path / "probed").iterdir()}


def test_dropout_draws_the_same_with_probes():
    """The model's own random numbers are not used up, and a probe sees the same masks before and after the step."""

    class Dropped(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(50))

        def loss(self, rows):
            return (nn.functional.dropout(self.weight, 0.5) * (1 + len(list(rows)))).square().mean()

    def run(watched: bool) -> list[float]:
        torch.manual_seed(5)
        model = Dropped()
        f = Objective(model, 4, model.loss, lambda step, size: independent_indices(0, "x", step, size, 4), 8, 8)
        watch = Watch(config.Probes(every=1, kinds=("gradient", "smoothness")), f, 4, 0, 0.5)
        losses = []
        for step in range(1, 5):
            loss = model.loss(range(8))
            (slope,) = torch.autograd.grad(loss, [model.weight])
            visit = watch.visit(step, 0.1, {"weight": slope}) if watched else None
            with torch.no_grad():
                model.weight -= 0.01 * slope
            found = visit.after()["probes"] if visit else {}
            losses.append(loss.item())
            if watched:  # the same masks: (g⁺ − g) is then diagonal, a multiple of x⁺ − x coordinate by coordinate
                assert found["smoothness.squared"] > 0
        return losses

    assert run(True) == run(False)


def test_resuming_goes_on_with_the_intervals(source, tmp_path, monkeypatch):
    experiment = tiny.experiment(source, {"probes.every": 4, "probes.kinds": ["gradient"]})
    train(experiment, tmp_path / "whole")
    take_step = loop.log_step

    def die_at_9(run, step, *rest):
        if step == 9:
            raise SystemExit("killed")
        take_step(run, step, *rest)

    monkeypatch.setattr(loop, "log_step", die_at_9)
    with pytest.raises(SystemExit):
        train(experiment, tmp_path / "halves")
    monkeypatch.setattr(loop, "log_step", take_step)
    train(experiment, tmp_path / "halves", resume=True)

    def probed(name):
        lines = [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        return [(line["step"], line["intervals"], line["probes"]) for line in lines if "probes" in line]

    assert probed("halves") == probed("whole")
    assert not (tmp_path / "whole" / "constants.json").exists()  # the gradient alone does not give L


def test_the_law_of_an_optimizer_counts_what_is_treated_as_a_whole():
    algorithm = ft.parse({"name": "x", "algorithm": {"density": 0.25, "subspace": "columns", "state_full": "sgdm"}}).algorithm
    group = {"param_names": ["a"], "params": [torch.zeros(4, 8)], "split": True}
    rest = {"param_names": ["b"], "params": [torch.zeros(3)], "split": "state_full"}
    assert law_of(algorithm, [group, rest]) == {"law": "redrawn", "share": {"a": 0.25, "b": 1.0}}
    assert law_of(algorithm, [rest]) == {"law": "fixed", "share": {"b": 1.0}}
    svd = algorithm.model_copy(update={"subspace": "svd"})
    assert law_of(svd, [group]) is None


@pytest.mark.parametrize("changes", [{"split_lr_scale": 0.25}, {"norms": {"rule": "sgdm"}}])
def test_a_run_of_several_algorithms_is_none_of_the_theorems(changes):
    table = {"state_full": "sgdm", "state_free": "sgd", **changes}
    assert off_the_law(ft.parse({"name": "x", "algorithm": table}).algorithm) is not None
    assert off_the_law(ft.parse({"name": "x", "algorithm": {"state_full": "sgdm"}}).algorithm) is None


@pytest.mark.ecosystem
def test_a_learning_rate_that_varies_is_said(source, tmp_path):
    train(tiny.experiment(source, VARYING), tmp_path)
    found = {v["theorem"]: v for v in json.loads((tmp_path / "verdicts.json").read_text())}
    assert {v["status"] for v in found.values()} == {"not applicable"}
    assert found["run_length"]["reason"].startswith("Premise P5 fails: sequences are drawn without replacement")
    drawn = train(tiny.experiment(source, {**VARYING, "data.sampling": "independent"}), tmp_path / "independent")
    found = {v["theorem"]: v for v in json.loads((drawn.folder / "verdicts.json").read_text())}
    assert found["run_length"]["reason"].startswith("The learning rate varies: it is constant for the first 1 of 6 steps alone")


CONSTANT = {
    "probes.every": 2,
    "probes.kinds": ["gradient", "noise", "smoothness"],
    "training.threads": 1,
    "training.steps": 5,
    "training.schedule": "constant",
    "training.warmup_steps": 0,
    "data.sampling": "independent",
    "algorithm.density": 1.0,
    "algorithm.subspace": "coordinates",
    "algorithm.state_full": {"rule": "sgdm"},
    "algorithm.state_free": "sgd",
}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, None),
        ({"training.state_dtype": "8bit"}, "training.state_dtype = 8bit"),  # the embedding has 300 × 32 numbers
        ({"training.state_dtype": "8bit", "model.vocabulary": 280, "model.hidden_size": 8}, None),  # nothing is long enough
        ({"training.state_dtype": "bfloat16"}, "training.state_dtype = bfloat16"),
        ({"training.state_dtype": "bfloat16", "algorithm.density": 0.0, **dict.fromkeys(WHOLE, "state_free")}, None),
    ],
)
def test_a_run_whose_statistics_are_rounded_is_none_of_the_theorems(source, tmp_path, changes, said):
    train(tiny.experiment(source, CONSTANT | changes), tmp_path)
    assert (json.loads((tmp_path / "constants.json").read_text())["obstacle"] or "").endswith(f"({said})" if said else "")
    assert (said is None) == (json.loads((tmp_path / "constants.json").read_text())["obstacle"] is None)


def test_a_run_with_a_step_that_was_left_out_is_none_of_the_theorems(source, tmp_path, monkeypatch):
    backward = torch.Tensor.backward
    calls = iter(range(100))

    def once_infinite(loss, *args, **kwargs):
        backward(loss * (math.inf if next(calls) == 3 else 1.0), *args, **kwargs)

    monkeypatch.setattr(torch.Tensor, "backward", once_infinite)
    train(tiny.experiment(source, CONSTANT | {"training.nan_step": "skip"}), tmp_path)
    obstacle = json.loads((tmp_path / "constants.json").read_text())["obstacle"]
    assert obstacle.startswith("1 step was left out")


def test_any_seed_that_training_takes_probes_take(source, tmp_path):
    train(tiny.experiment(source, CONSTANT | {"seed": 2**64 - 1, "training.steps": 1}), tmp_path)


VARYING = {
    **ALL,
    "training.steps": 6,
    "training.warmup_steps": 3,
    "algorithm.state_full": {"rule": "sgdm"},
    "algorithm.state_free": "sgd",
}
