"""Steps within the backward pass: the same path bit for bit, gradients freed, and what cannot be had refused."""

from __future__ import annotations

import pytest
import tiny
import torch
from safetensors.torch import load_file
from torch import nn

import frugal_theory as ft
from frugal_gpu import Frugal
from frugal_gpu.studies.memory import memory_table
from frugal_gpu.train import start as starting
from frugal_gpu.train.log import read_metrics
from frugal_gpu.train.loop import train
from frugal_gpu.train.step import take_step


def model() -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    layers = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    with torch.no_grad():
        for parameter in layers.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return layers


def path(update_in_backward: bool, **options) -> tuple[list[torch.Tensor], dict]:
    layers = model()
    groups = [
        {"params": [(n, p) for n, p in layers.named_parameters() if p.dim() > 1]},
        {"params": [(n, p) for n, p in layers.named_parameters() if p.dim() < 2], "split": "state_full"},
    ]
    optimizer = Frugal(groups, lr=0.05, update_gap=3, weight_decay=0.1, update_in_backward=update_in_backward, **options)
    generator = torch.Generator().manual_seed(1)
    for k in range(10):
        x = torch.randn(4, 5, generator=generator, dtype=torch.float64)
        optimizer.zero_grad()
        (layers(x) if k != 4 else layers[:3](x)).square().mean().backward()  # the last layer has no gradient once
        if update_in_backward:
            assert all(parameter.grad is None for parameter in layers.parameters())
        optimizer.step()
    return [parameter.detach() for parameter in layers.parameters()], optimizer.state_dict()


@pytest.mark.parametrize("backend", ["auto", "foreach", "formula"])
@pytest.mark.parametrize("subspace", ["blocks", "columns", "randk", "svd"])
def test_a_step_in_backward_is_the_step_bit_for_bit(subspace, backend):
    ordinary, state = path(False, subspace=subspace, density=0.5, backend=backend)
    inside, inside_state = path(True, subspace=subspace, density=0.5, backend=backend)
    for a, b in zip(inside, ordinary, strict=True):
        assert torch.equal(a, b)
    assert [group["step"] for group in state["param_groups"]] == [group["step"] for group in inside_state["param_groups"]]
    assert state["state"].keys() == inside_state["state"].keys()


def test_accumulation_is_refused_in_one_line():
    layers = model()
    optimizer = Frugal(layers.named_parameters(), update_in_backward=True)
    layers(torch.ones(2, 5, dtype=torch.float64)).sum().backward()
    with pytest.raises(RuntimeError, match=r"^Frugal: update_in_backward = True: \S+ has a second gradient[^\n]*accumulate$"):
        layers(torch.ones(2, 5, dtype=torch.float64)).sum().backward()
    optimizer.step()
    layers(torch.ones(2, 5, dtype=torch.float64)).sum().backward()


def test_several_processes_are_refused_in_one_line(monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    parameter = nn.Parameter(torch.ones(2))
    _kept = Frugal([("w", parameter)], update_in_backward=True)
    with pytest.raises(RuntimeError, match=r"^Frugal: update_in_backward = True steps w before[^\n]*one process[^\n]*$"):
        parameter.sum().backward()


def test_what_is_neither_true_nor_false_is_named():
    with pytest.raises(ValueError, match=r"update_in_backward = 1: allowed: True, False"):
        Frugal([nn.Parameter(torch.ones(2))], update_in_backward=1)


CLOCK = ("seconds", "tokens_per_second", "peak_memory_bytes")

# --- from the file

SMALL = {"model.layers": 1, "model.hidden_size": 16, "model.intermediate_size": 16, "training.evaluation_tokens": 32}
IN_BACKWARD = {**SMALL, "training.update_in_backward": True}


@pytest.mark.usefixtures("one_thread", "own_cache")
@pytest.mark.parametrize("more", [{}, {"model.tie_embeddings": True, "training.precision": "pure-bf16"}], ids=str)
def test_a_run_from_the_file_is_the_run_without_it_bit_for_bit(source, tmp_path, more):
    """Weights, and the log: the norm of the gradients too, although they are never there together."""
    for name, changes in (("inside", IN_BACKWARD), ("ordinary", SMALL)):
        train(tiny.experiment(source, {**changes, **more, "training.steps": 6}), tmp_path / name)
    inside, ordinary = (
        [{k: v for k, v in line.items() if k not in CLOCK} for line in read_metrics(tmp_path / name / "metrics.jsonl")]
        for name in ("inside", "ordinary")
    )
    assert inside == ordinary
    one, other = (load_file(tmp_path / n / "checkpoints" / "step-000006" / "model.safetensors") for n in ("inside", "ordinary"))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.usefixtures("one_thread", "own_cache")
def test_one_gradient_is_held_and_that_is_what_memory_says(source):
    alive = {}
    for name, changes in (("inside", IN_BACKWARD), ("ordinary", SMALL)):
        experiment = tiny.experiment(source, changes)
        run = starting.start(experiment, experiment.training, 0.01)
        parameters, held = list(run.model.parameters()), []
        for parameter in parameters:
            parameter.register_hook(lambda g, own=parameters, seen=held: seen.append(_bytes(own) + g.nbytes))
        take_step(run, 1)
        alive[name] = max(held), memory_table(experiment)[-1].gradients
    assert alive["inside"][0] == alive["inside"][1] < alive["ordinary"][0] == alive["ordinary"][1]


def _bytes(parameters):
    return sum(p.grad.nbytes for p in parameters if p.grad is not None)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"accumulation": 2}, "accumulation = 2 needs the gradients of all"),
        ({"max_gradient_norm": 1.0}, "max_gradient_norm = 1.0 needs the gradients of all"),
        ({"precision": "fp16"}, "precision = fp16 needs the gradients of all"),
        ({"nan_step": "skip"}, "nan_step = skip needs the gradients of all"),
    ],
)
def test_what_needs_all_gradients_is_refused_by_the_file_in_one_line(changes, words):
    with pytest.raises(ft.ExperimentError, match=words) as error:
        ft.parse({"name": "x", "training": {"update_in_backward": True, **changes}})
    assert len(str(error.value).splitlines()) == 1


def test_probes_are_refused_by_the_trainer_in_one_line(source, tmp_path):
    with pytest.raises(ft.ExperimentError, match=r"^training.update_in_backward = true frees[^\n]*one of them is allowed$"):
        train(tiny.experiment(source, {**IN_BACKWARD, "probes": {"every": 3}}), tmp_path)


@pytest.mark.usefixtures("one_thread", "own_cache")
def test_a_run_that_diverges_says_so_as_ever(source, tmp_path):
    changes = {**IN_BACKWARD, "training.learning_rate": 1e30, "algorithm.weight_decay": 1e9, "training.warmup_steps": 0}
    with pytest.raises(ft.ExperimentError, match=r"^training.learning_rate: the run diverged"):
        train(tiny.experiment(source, changes), tmp_path)
