"""What the file says of the form of the optimizer's state: that it is obeyed, counted to the byte, and resumed."""

from __future__ import annotations

import pytest
import tiny
import torch

import frugal_theory as ft
from frugal_gpu import build_optimizer
from frugal_gpu.model.llama import build_model, model_shape
from frugal_gpu.optim.state import state_bytes_held
from frugal_gpu.studies.memory import memory_table
from frugal_gpu.train import start as starting
from frugal_gpu.train.log import read_metrics
from frugal_gpu.train.loop import train
from frugal_theory.config.load import parse

pytestmark = pytest.mark.usefixtures("one_thread", "own_cache")

WIDE = {"hidden_size": 96, "intermediate_size": 128, "layers": 1, "heads": 2, "vocabulary": 300}


def of(kept_in, algorithm=None, **training):
    kept = {} if kept_in is None else {"state_dtype": kept_in}
    tables = {"algorithm": algorithm or {"subspace": "columns"}, "model": WIDE, "training": {**kept, **training}}
    return parse({"name": "kept", **tables})


def stepped(experiment, dtype=torch.float32):
    model = build_model(model_shape(experiment.model), 8).to(dtype)
    optimizer = build_optimizer(model, experiment, lr=1e-3)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    return optimizer


@pytest.mark.parametrize("state_dtype", [None, "float32", "bfloat16", "float16", "8bit"])
@pytest.mark.parametrize("precision", ["float32", "pure-bf16"])
@pytest.mark.parametrize("algorithm", [{"subspace": "columns"}, {"system": "galore"}, {"system": "adamw"}], ids=str)
def test_what_the_file_asks_for_is_held_and_counted_to_the_byte(state_dtype, precision, algorithm):
    experiment = of(state_dtype, algorithm, precision=precision)
    row = memory_table(experiment)[-1]
    dtype = torch.bfloat16 if precision == "pure-bf16" else torch.float32
    optimizer = stepped(experiment, dtype)
    assert {group["state_dtype"] for group in optimizer.param_groups} == {state_dtype}
    assert {group["stochastic_rounding"] for group in optimizer.param_groups} == {precision == "pure-bf16"}
    assert state_bytes_held(optimizer) == row.state
    numbers = sum(p.numel() for group in optimizer.param_groups for p in group["params"])
    assert row.parameters == row.gradients == dtype.itemsize * numbers


def test_eight_bits_take_less_and_the_neighbours_keep_theirs():
    plain, short = memory_table(of(None)), memory_table(of("8bit"))
    assert short[-1].state < 0.5 * plain[-1].state
    assert [row.state for row in short[:-1]] == [row.state for row in plain[:-1]]
    assert short[-1].method == f"{plain[-1].method}, state 8bit"


def test_weights_in_bfloat16_may_be_rounded_to_the_nearest():
    assert not of(None, precision="pure-bf16", stochastic_rounding=False).training.rounds_by_chance
    optimizer = stepped(of(None, precision="pure-bf16", stochastic_rounding=False), torch.bfloat16)
    assert not any(group["stochastic_rounding"] for group in optimizer.param_groups)


@pytest.mark.parametrize(
    ("training", "words"),
    [
        ({"stochastic_rounding": True}, r'stochastic_rounding = true is of weights in bfloat16; precision is "float32"'),
        ({"state_dtype": "4bit"}, r"training.state_dtype"),
    ],
)
def test_what_cannot_be_kept_is_one_line(training, words):
    with pytest.raises(ft.ExperimentError, match=words) as error:
        of(None, **training)
    assert len(str(error.value).splitlines()) == 1


def test_what_is_held_cannot_be_in_eight_bits(source, tmp_path):
    changes = {"training.state_dtype": "8bit", "algorithm.off_set_momentum": "hold"}
    with pytest.raises(ft.ExperimentError, match=r'^algorithm: off_set_momentum = "hold" with state_dtype = "8bit"'):
        train(tiny.experiment(source, changes), tmp_path)


def test_a_run_in_eight_bits_is_resumed_bit_for_bit(source, tmp_path):
    changes = {"training.state_dtype": "8bit", "model": WIDE, "training.evaluation_tokens": 32, "training.checkpoint_every": 4}
    short = tiny.experiment(source, {**changes, "training.steps": 8, "training.schedule": "constant"})
    first = short.model_copy(update={"training": short.training.model_copy(update={"steps": 4, "warmup_steps": 0})})
    whole = short.model_copy(update={"training": short.training.model_copy(update={"warmup_steps": 0})})
    train(first, tmp_path / "halves")
    train(whole, tmp_path / "halves", resume=True)
    train(whole, tmp_path / "whole")
    halves, straight = (_losses(tmp_path / name) for name in ("halves", "whole"))
    assert halves == straight
    run = starting.start(whole, whole.training, 0.01)
    assert run.optimizer.param_groups[0]["state_dtype"] == "8bit"


def _losses(folder):
    return {line["step"]: line["loss"] for line in read_metrics(folder / "metrics.jsonl") if "loss" in line}


def test_the_theory_bench_reads_nothing_of_it():
    """[training] is the trainer's alone: evidence of the bench does not change with it."""
    parabola = {"problem": {"kind": "quadratic", "dimension": 3}, "simulation": {"steps": 5, "trials": 2}}
    plain, short = (parse({"name": "x", **parabola, **more}) for more in ({}, {"training": {"state_dtype": "8bit"}}))
    assert (ft.simulate(plain).mean == ft.simulate(short).mean).all()


def test_memory_of_a_checkpoint_is_that_of_its_model(tmp_path):
    from transformers import GPT2Config

    from frugal_gpu.model.build import shapes_only

    GPT2Config(vocab_size=320, n_positions=32, n_embd=16, n_layer=1, n_head=2).save_pretrained(tmp_path)
    experiment = parse({"name": "c", "algorithm": {"subspace": "columns"}, "model": {"checkpoint": str(tmp_path)}})
    row = memory_table(experiment)[-1]
    assert row.parameters == 4 * sum(p.numel() for p in shapes_only(experiment.model).parameters())
    from transformers import GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config.from_pretrained(tmp_path))
    optimizer = build_optimizer(model, experiment, lr=1e-3)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    assert state_bytes_held(optimizer) == row.state


def test_memory_of_adapters_has_gradients_of_what_is_trained():
    experiment = parse(
        {"name": "a", "algorithm": {"subspace": "columns"}, "model": WIDE, "adapter": {"kind": "lora", "rank": 4}}
    )
    model = build_model(model_shape(experiment.model), 8)
    optimizer = build_optimizer(model, experiment, lr=1e-3)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter) if parameter.requires_grad else None
    optimizer.step()
    row = memory_table(experiment)[-1]
    assert row.parameters == 4 * sum(p.numel() for p in model.parameters())
    assert row.gradients == 4 * sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert row.state == state_bytes_held(optimizer)
