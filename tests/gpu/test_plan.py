"""Optimizers of single parameters that together are one."""

from __future__ import annotations

import gc
import itertools
import warnings

import pytest
import torch
from torch import nn

from frugal_gpu import Frugal


def model(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 4)).double()


def gradients(net: nn.Module, step: int) -> None:
    generator = torch.Generator().manual_seed(step)
    for parameter in net.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)


CASES = [
    {"subspace": "blocks"},
    {"subspace": "blocks", "order": "descending", "density": 0.1},
    {"subspace": "blocks", "off_set_momentum": "hold", "state_full": "adalayer"},
    {"subspace": "columns"},
    {"subspace": "randk", "rules": [(r"^0\.", {"density": 0.5}), (r"^1\.", {"subspace": "blocks"})]},
    {"subspace": "coordinates", "set": (0, 5, 60, 170)},
]


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("keys", CASES, ids=str)
def test_optimizers_of_single_parameters_are_the_one_of_all(keys, named):
    if "rules" in keys and not named:
        pytest.skip("rules need names")
    whole, parts = model(), model()
    of = (lambda net: net.named_parameters()) if named else (lambda net: net.parameters())
    one = Frugal(of(whole), lr=0.01, update_gap=2, **keys)
    several = Frugal.per_parameter(of(parts), lr=0.01, update_gap=2, **keys)
    assert set(several) == set(parts.parameters())
    for step in range(9):
        for net in (whole, parts):
            gradients(net, step)
        one.step()
        for optimizer in several.values():
            optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), parts.parameters(), strict=True))


@pytest.mark.parametrize("trained", [True, False])
def test_copies_are_known_by_shape_and_turn(trained):
    """As CPU offload calls its optimizer class: a group of one tensor, a copy of the parameter, and keywords."""
    whole, parts = model(), model()
    one = Frugal(whole.named_parameters(), lr=0.01, update_gap=1)
    plan = Frugal.plan(parts.named_parameters(), lr=0.5, update_gap=1)
    copies = [p.detach().clone().requires_grad_(trained) for p in parts.parameters()]
    several = [plan([{"params": copy, "lr": 0.01}], seed=0) for copy in copies]
    for step in range(6):
        gradients(whole, step)
        for parameter, copy, optimizer in zip(whole.parameters(), copies, several, strict=True):
            copy.grad = parameter.grad.clone()
            optimizer.step()
        one.step()
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), copies, strict=True))
    with pytest.raises(ValueError, match=r"shape \(8, 8\) is none of the plan's"):
        plan([nn.Parameter(torch.ones(8, 8))])


@pytest.mark.parametrize("density", [0.3, 0.6])
def test_tensors_whose_gradients_are_set_by_hand_are_no_frozen_ones(density):
    """Blocks count what is trained; where nothing asks for a gradient, that is everything."""
    nets, ends = (model(), model().requires_grad_(False)), []
    for net in nets:
        optimizer = Frugal(net.named_parameters(), lr=0.01, update_gap=2, density=density, split=True)
        for step in range(6):
            gradients(net, step)
            optimizer.step()
        assert optimizer.state
        ends.append(list(net.parameters()))
    assert all(map(torch.equal, *ends))


def test_the_density_of_single_optimizers_without_a_plan_is_theirs_and_said():
    gc.collect()
    params = [nn.Parameter(torch.ones(16, 16)) for _ in range(6)]
    with pytest.warns(UserWarning, match=r"Frugal.plan\(") as caught:
        optimizers = [Frugal([p], density=0.25, update_gap=7, seed=987) for p in params]
    assert len(caught) == 1
    for parameter, optimizer in zip(params, optimizers, strict=True):
        parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        assert optimizer.state[parameter]["exp_avg"].numel() == 64


def test_nothing_is_said_of_named_parameters_or_of_other_methods():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kept = [Frugal([(f"{i}", nn.Parameter(torch.ones(4, 4)))], seed=986) for i in range(6)]
        kept += [
            Frugal([nn.Parameter(torch.ones(4, 4))], seed=986, density=d) for d in itertools.chain([0.1, 0.2, 0.3], [1.0] * 5)
        ]
    assert len(kept) == 14


def test_a_state_with_a_plan_is_plain(tmp_path):
    net = model()
    several = Frugal.per_parameter(net.named_parameters(), update_gap=1)
    gradients(net, 0)
    for optimizer in several.values():
        optimizer.step()
    states = [optimizer.state_dict() for optimizer in several.values()]
    torch.save(states, tmp_path / "states.pt")
    loaded = torch.load(tmp_path / "states.pt", weights_only=True)
    for optimizer, state in zip(several.values(), loaded, strict=True):
        optimizer.load_state_dict(state)
        optimizer.step()
