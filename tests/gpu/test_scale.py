"""The scale plan against closed forms, torch's own chunks and the counts of ``frugal-gpu memory``."""

import math

import pytest
import torch

from frugal_gpu.commands.plan import page
from frugal_gpu.model.llama import Shape, meta_model
from frugal_gpu.studies import scale
from frugal_gpu.studies.memory import memory_of, state_by_parameter
from frugal_gpu.studies.scale import MODELS, SYSTEMS, Machine, Scale, activations, chunk, of_rank
from frugal_theory.config import Algorithm
from frugal_theory.studies.study import ALONE
from tests.calling import called

SMALL = Shape(32, 44, 2, 4, vocabulary=300)


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setitem(MODELS, "1B", SMALL)
    return meta_model(SMALL)


@pytest.mark.parametrize("rows", [1, 5, 7, 8, 300])
@pytest.mark.parametrize("ranks", [1, 2, 3, 8, 64])
def test_a_chunk_is_torchs(rows, ranks):
    assert chunk(rows, ranks) == torch.chunk(torch.empty(rows), ranks)[0].shape[0]


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_state_of_all_parameters_is_that_of_the_model(system, small):
    algorithm = Algorithm.model_validate(SYSTEMS[system])
    kept = state_by_parameter(small, algorithm)
    assert sum(one.bytes for one in kept) == pytest.approx(memory_of(small, algorithm).state)
    assert {one.name for one in kept} == {name for name, _ in small.named_parameters()}
    split = {name for name, p in small.named_parameters() if p.dim() == 2 and ".layers." in name}
    assert {one.name for one in kept if one.whole} == (split if system == "GaLore" else set())


def test_bytes_of_a_rank_are_those_of_closed_forms(small):
    """AdamW: 4 bytes a weight and gradient, 8 of state, of ⌈rows/R⌉ rows; two layers and all that is no layer in bfloat16."""
    machine = Machine(rows=2, length=16)
    size = sum(p.numel() for p in small.parameters())
    kept = state_by_parameter(small, Algorithm.model_validate({"system": "adamw"}))
    layer, outside = 4 * 32 * 32 + 3 * 32 * 44 + 2 * 32, 2 * 300 * 32 + 32
    for ranks in (1, 3, 64):
        local = sum(-(-p.shape[0] // ranks) * math.prod(p.shape[1:]) for p in small.parameters())
        found = of_rank(small, kept, SMALL, ranks, machine)
        assert (found["parameters"], found["gradients"], found["state"]) == pytest.approx((4 * local, 4 * local, 8 * local))
        assert found["unsharded"] == 2 * (outside + 2 * layer)
        assert found["temporaries"] == found["optimizer"] == 0
        away = (ranks - 1) / ranks
        assert found["all_gather"] == pytest.approx(4 * size * away)
        assert found["reduce_scatter"] == pytest.approx(4 * size * away)
    tokens = 2 * 16
    parts = activations(SMALL, machine)
    assert parts == {"kept": 2 * tokens * 32 * 2, "layer": 2 * tokens * (6 * 32 + 2 * 32 + 4 * 44), "logits": 10 * tokens * 300}


def test_keys_of_fewer_heads_make_a_layer_smaller():
    grouped = Shape(32, 44, 2, 4, vocabulary=300, key_value_heads=1)
    machine = Machine(rows=1, length=8)
    difference = activations(SMALL, machine)["layer"] - activations(grouped, machine)["layer"]
    assert difference == 2 * 8 * 2 * (32 - 8)


def test_a_basis_is_whole_on_every_rank_and_its_matrices_are_gathered(small):
    """What is not split is AdamW's and sharded; of m×n, square or wide, n·r moments twice and an m×r basis (std side)."""
    kept = state_by_parameter(small, Algorithm.model_validate({"system": "galore", "rank": 8}))
    split = {one.name: one.bytes for one in kept if one.whole}
    assert sum(split.values()) == 2 * (4 * 4 * (2 * 32 * 8 + 32 * 8) + 3 * 4 * (2 * 44 * 8 + 32 * 8))
    many, one = (of_rank(small, kept, SMALL, ranks, Machine()) for ranks in (64, 1))
    numbers = 2 * (4 * 32 * 32 + 3 * 32 * 44)
    assert many["optimizer"] == pytest.approx(8 * numbers * 63 / 64)
    assert many["temporaries"] == 2 * 4 * 32 * 44
    elsewhere = {p: -(-p.shape[0] // 64) / p.shape[0] for name, p in small.named_parameters() if name not in split}
    assert many["state"] == pytest.approx(sum(split.values()) + sum(8 * p.numel() * share for p, share in elsewhere.items()))
    assert many["refresh_seconds"] == pytest.approx(one["refresh_seconds"])


def test_times_are_those_of_the_rates(small):
    machine = Machine(flops=1e9, bandwidth=1e8, network=1e7, rows=2, length=16, update_gap=10)
    size = sum(p.numel() for p in small.parameters())
    kept = state_by_parameter(small, Algorithm.model_validate({"system": "adamw"}))
    found = of_rank(small, kept, SMALL, 2, machine)
    flops = 4 / 3 * (6 * (size - 300 * 32) + 12 * 2 * 32 * 16) * 32
    assert found["compute_seconds"] == pytest.approx(flops / 1e9)
    assert found["network_seconds"] == pytest.approx(8 * size / 2 / 1e7)
    assert found["optimizer_seconds"] == pytest.approx((12 + 16) * size / 2 / 1e8, rel=1e-2)  # odd rows are padded
    assert found["step_seconds"] == pytest.approx(found["network_seconds"] + found["optimizer_seconds"])


def test_a_new_basis_costs_what_was_measured_at_130m():
    shapes = 12 * ([(768, 768)] * 4 + [(768, 2048)] * 3)
    assert scale.SVD_SECONDS * sum(min(s) ** 2 * max(s) for s in shapes) == pytest.approx(3.1)


def test_a_model_that_is_named_twice_is_one_row_of_each_table(tmp_path):
    from frugal_gpu.commands import main as cli

    done = called(cli.main, "plan", "1B", "1B", "--ranks", "4,1", "--out", "scale", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    first = done.stdout.split("### ")[1].splitlines()[2:]
    columns = {line.count("|") for line in first if line}
    assert columns == {5}, first  # model, system and a number for each of two ranks


def test_the_plan_says_what_fits_and_what_is_in_the_way(small):  # noqa: ARG001
    machine = Machine(memory=4e5, rows=1, length=16)
    study = Scale(machine, ("1B",), (1, 8, 64))
    table = study.measure(None, ALONE)
    assert len(table) == len(SYSTEMS) * 3
    assert not table.loc[(table["system"] == "AdamW") & (table["ranks"] == 1), "fits"].item()
    answer = study.answer(table)
    assert "most memory is GaLore's" in answer.sentence
    assert study.draw(table).keys() == {"scale"}
    text = page(table, machine, answer.sentence)
    assert "### Traffic and time of a step, 64 ranks" in text
    assert "| 1B | AdamW | (0.0) |" in text  # in brackets: does not fit


@pytest.mark.parametrize(("name", "billions"), [("13B", 13.02), ("30B", 32.53), ("70B", 68.98)])
def test_the_larger_models_have_their_published_sizes(name, billions):
    """LLaMA: 13.0 and 32.5 billion; LLaMA 2: 69 (of 32,000 tokens, untied)."""
    assert MODELS[name].parameters / 1e9 == pytest.approx(billions, abs=0.01)
