"""The optimizer of an experiment: every system, and adapters through peft."""

from __future__ import annotations

import sys

import pytest
import torch

import frugal_theory as ft
from frugal_gpu import Frugal, build_optimizer
from frugal_gpu.adapters.relora import prune_
from frugal_gpu.model.llama import Shape, build_model
from frugal_theory.algorithm.storages import SIGNED8, Coded
from frugal_theory.config.adapter import Adapter
from frugal_theory.config.registry import SYSTEMS
from tests.tolerances import FLOAT32

SHAPE = Shape(hidden_size=16, intermediate_size=24, layers=2, heads=2, vocabulary=40)


def experiment(**tables):
    return ft.parse({"name": "one", "seed": 3, **tables})


def model():
    torch.manual_seed(0)
    return build_model(SHAPE, 12)


def loss(trained):
    tokens = torch.arange(24).reshape(2, 12) % 40
    logits = trained(input_ids=tokens).logits
    return torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())


def step(trained, optimizer):
    optimizer.zero_grad()
    value = loss(trained)
    value.backward()
    optimizer.step()
    return float(value)


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_system_trains(system):
    trained = model()
    optimizer = build_optimizer(trained, experiment(algorithm={"system": system, "seed": 1}), lr=3e-3)
    assert isinstance(optimizer, Frugal)
    losses = [step(trained, optimizer) for _ in range(6)]
    still = system in ("adalayer-sgdm", "adalayer-signsgd")  # for a thousand steps
    assert losses[-1] == losses[0] if still else losses[-1] < losses[0]


def test_the_learning_rate_is_that_of_training():
    tables = {"algorithm": {"system": "lion"}, "training": {"learning_rate": 0.5}}
    assert build_optimizer(model(), experiment(**tables)).param_groups[0]["lr"] == 0.5
    assert build_optimizer(model(), experiment(algorithm={"system": "lion"})).param_groups[0]["lr"] == 1e-4


def test_a_system_alone_is_on_every_parameter():
    trained = model()
    optimizer = build_optimizer(trained, experiment(algorithm={"system": "signsgd"}), lr=0.25)
    before = {name: value.detach().clone() for name, value in trained.named_parameters()}
    step(trained, optimizer)
    assert not optimizer.state
    for name, value in trained.named_parameters():
        torch.testing.assert_close(value.detach(), before[name] - 0.25 * value.grad.sign(), rtol=FLOAT32, atol=FLOAT32)


def test_without_peft_an_adapter_is_refused_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ft.ExperimentError, match="adapter: needs peft; pip install peft"):
        build_optimizer(model(), experiment(adapter={"kind": "lora"}))


def test_lora_never_restarts():
    with pytest.raises(ft.ExperimentError, match='restart_every = 5: kind = "lora" never restarts'):
        experiment(adapter={"kind": "lora", "restart_every": 5})


@pytest.mark.parametrize("prune", ["magnitude", "random"])
def test_a_restart_keeps_a_share_of_the_moments_and_the_counts(prune):
    moments = torch.randn(10, 20, generator=torch.Generator().manual_seed(1))
    state = {"exp_avg": moments.clone(), "step": 7, "full": {"momentum": moments.clone(), "count": torch.tensor([7.0])}}
    prune_(state, Adapter(kind="relora", prune=prune, keep=0.05), torch.Generator().manual_seed(2))
    for left in (state["exp_avg"], state["full"]["momentum"]):
        assert int((left != 0).sum()) == 10
        assert torch.equal(left[left != 0], moments[left != 0])
        if prune == "magnitude":
            assert left[left != 0].abs().min() >= moments[left == 0].abs().max()
    assert (state["step"], state["full"]["count"].item()) == (7, 7.0)


@pytest.mark.parametrize("prune", ["magnitude", "random"])
def test_a_restart_prunes_moments_in_eight_bits_and_leaves_empty_ones(prune):
    """What waits in codes is a moment like another; a parameter that is off the set has moments without numbers."""
    moments = torch.randn(80, 64, generator=torch.Generator().manual_seed(1))
    code = SIGNED8.encode(moments)
    decoded = SIGNED8.decode(code, moments)
    coded = {"codes": code.codes.clone(), "scales": code.scales.clone(), "signed": True}
    state = {"exp_avg": coded, "full": {"momentum": torch.zeros(0, 4)}}
    prune_(state, Adapter(kind="relora", prune=prune, keep=0.05), torch.Generator().manual_seed(2))
    left = SIGNED8.decode(Coded(coded["codes"], coded["scales"]), moments)
    assert int((left != 0).sum()) == moments.numel() // 20
    assert torch.equal(left[left != 0], decoded[left != 0])
    assert state["full"]["momentum"].shape == (0, 4)


@pytest.mark.ecosystem
def test_lora_trains_its_factors_alone():
    pytest.importorskip("peft")
    trained = model()
    tables = {"algorithm": {"system": "adamw"}, "adapter": {"rank": 4, "alpha": 8.0, "target": ["q_proj", "v_proj"]}}
    start = float(loss(trained))
    optimizer = build_optimizer(trained, experiment(**tables), lr=1e-2)
    names = [name for name, value in trained.named_parameters() if value.requires_grad]
    assert len(names) == 2 * 2 * SHAPE.layers
    assert all("lora_" in name for name in names)
    losses = [step(trained, optimizer) for _ in range(8)]
    assert losses[0] == pytest.approx(start, rel=FLOAT32)
    assert losses[-1] < losses[0]


@pytest.mark.ecosystem
def test_a_target_that_does_not_exist_is_refused():
    pytest.importorskip("peft")
    with pytest.raises(ft.ExperimentError, match=r'adapter\.target = "qq": no linear layer has that name; allowed: "q_proj"'):
        build_optimizer(model(), experiment(adapter={"target": ["qq"]}))


@pytest.mark.ecosystem
def test_a_rank_above_that_of_every_layer_is_refused():
    pytest.importorskip("peft")
    trained = model()
    most = trained.config.hidden_size
    with pytest.raises(ft.ExperimentError, match=rf"adapter\.rank = {most + 1}: .* at most {most} is allowed"):
        build_optimizer(trained, experiment(adapter={"rank": most + 1}))
    build_optimizer(trained, experiment(adapter={"rank": most}))


@pytest.mark.ecosystem
def test_relora_merges_and_starts_anew():
    """The model's function is the same before and after a restart; B is zero, A is drawn anew, and moments are nearly gone."""
    pytest.importorskip("peft")
    trained = model()
    tables = {"algorithm": {"system": "adamw"}, "adapter": {"kind": "relora", "rank": 4, "alpha": 8.0, "restart_every": 3}}
    optimizer = build_optimizer(trained, experiment(**tables), lr=1e-2)
    assert all(value.requires_grad != (".base_layer." in name) for name, value in trained.named_parameters())
    hook = next(iter(optimizer._optimizer_step_post_hooks.values()))
    for _ in range(2):
        step(trained, optimizer)
    before = {name: value.detach().clone() for name, value in trained.named_parameters()}
    optimizer._optimizer_step_post_hooks.clear()
    step(trained, optimizer)
    function = float(loss(trained))
    hook(optimizer)
    assert float(loss(trained)) == pytest.approx(function, rel=FLOAT32)
    for name, value in trained.named_parameters():
        if "lora_B" in name:
            assert not value.any()
        if "lora_A" in name:
            assert value.abs().max() <= value.shape[1] ** -0.5
            assert not torch.equal(value, before[name])
            assert int((optimizer.state[value]["exp_avg"] != 0).sum()) == 1  # .1 % of so few, but one
            assert optimizer.state[value]["step"] == 3
