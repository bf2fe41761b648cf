"""The ends of the density: ρ = 1 is the state-full rule alone, ρ = 0 the state-free rule; torch has most of them."""

from __future__ import annotations

from functools import cache

import pytest
import torch

from frugal_gpu import Frugal
from tests.devices import on_every_device
from tests.families import UNIT_SUBSPACES
from tests.parity.problem import Arrays, Model, assert_same_path, driven, loss
from tests.tolerances import ROUNDING

ALPHA, BETA, DECAY = 0.03, 0.9, 0.1
SUBSPACES = (*UNIT_SUBSPACES, "random", "svd")
PROBLEM = driven(25, seed=2)  # five periods


@cache
def torchs(device: str, name: str, **options: object) -> list[Arrays]:
    """The path of one of torch's own optimizers."""
    return path(lambda params: getattr(torch.optim, name)(params, **options), device)


def path(make, device: str) -> list[Arrays]:
    model = Model(PROBLEM, device)
    optimizer = make(list(model.named_parameters()))
    result = [model.arrays()]
    for k in range(PROBLEM.steps):
        optimizer.zero_grad()
        loss(PROBLEM, [model], k).backward()
        optimizer.step()
        result.append(model.arrays())
    return result


def frugal(**keys):
    return lambda params: Frugal(params, lr=ALPHA, update_gap=5, **keys)


@on_every_device
@pytest.mark.parametrize("on_update", ["reset", "keep", "project"])
@pytest.mark.parametrize("subspace", SUBSPACES)
def test_full_density_is_adamw(subspace, on_update, device):
    ours = frugal(density=1.0, subspace=subspace, on_update=on_update, weight_decay=DECAY, betas=(0.9, 0.99))
    theirs = torchs(device, "AdamW", lr=ALPHA, betas=(0.9, 0.99), weight_decay=DECAY)
    assert_same_path(path(ours, device), theirs, ROUNDING)


@on_every_device
@pytest.mark.parametrize("subspace", SUBSPACES)
def test_full_density_is_sgd_with_momentum(subspace, device):
    """torch's buffer is m/(1−β), so its learning rate is α(1−β)."""
    ours = frugal(density=1.0, subspace=subspace, state_full="sgdm", beta=BETA)
    theirs = torchs(device, "SGD", lr=ALPHA * (1 - BETA), momentum=BETA, dampening=0)
    assert_same_path(path(ours, device), theirs, ROUNDING)


@on_every_device
@pytest.mark.parametrize("subspace", ["columns", "svd"])
def test_full_density_is_adagrad(subspace, device):
    ours = frugal(density=1.0, subspace=subspace, state_full={"rule": "adagrad"})
    assert_same_path(path(ours, device), torchs(device, "Adagrad", lr=ALPHA), ROUNDING)


@pytest.mark.parametrize("split", ["subspace", "group", "set"])
def test_a_whole_parameter_can_be_had_in_three_ways(split):
    total = sum(value.size for value in PROBLEM.start.values())
    keys = {
        "subspace": {"density": 1.0},
        "group": {"split": "state_full"},
        "set": {"subspace": "coordinates", "set": range(total)},
    }[split]
    assert_same_path(path(frugal(**keys), "cpu"), torchs("cpu", "AdamW", lr=ALPHA, weight_decay=0.0), ROUNDING)


@on_every_device
@pytest.mark.parametrize("subspace", SUBSPACES)
def test_zero_density_is_sgd(subspace, device):
    ours = frugal(density=0.0, subspace=subspace, state_free="sgd", state_free_lr_scale=0.5)
    assert_same_path(path(ours, device), torchs(device, "SGD", lr=0.5 * ALPHA), ROUNDING)


@on_every_device
@pytest.mark.parametrize("subspace", SUBSPACES)
def test_zero_density_is_sign_sgd(subspace, device):
    """torch has no signSGD of its own: Lion's formula without memory, written out."""

    class SignSgd(torch.optim.Optimizer):
        @torch.no_grad()
        def step(self, closure=None):  # noqa: ARG002
            for group in self.param_groups:
                for x in group["params"]:
                    x.sub_(group["lr"] * x.grad.sign())

    ours = frugal(density=0.0, subspace=subspace)
    assert_same_path(path(ours, device), path(lambda params: SignSgd(params, {"lr": ALPHA}), device), ROUNDING)


@pytest.mark.parametrize("subspace", SUBSPACES)
def test_zero_density_and_no_state_free_rule_stand_still(subspace):
    start = path(frugal(density=0.0, subspace=subspace, state_free="none"), "cpu")
    assert all((x[name] == start[0][name]).all() for x in start for name in x)
