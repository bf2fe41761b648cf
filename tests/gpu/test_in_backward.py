"""Steps within the backward pass: the same path bit for bit, gradients freed, and what cannot be had refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from frugal_gpu import Frugal


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
