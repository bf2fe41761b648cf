"""torchao's CPUOffloadOptimizer, which makes an optimizer of every large parameter: with a plan they are the method.

It runs with CUDA or XPU only. Without one, its code is run on the CPU, with the device's streams played by what does nothing:
the test is then of how it makes, feeds and saves optimizers, not of its transfers.
"""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from frugal_gpu import Frugal

offload = pytest.importorskip("torchao.optim.cpu_offload")

pytestmark = pytest.mark.ecosystem


class Stream:
    """A device's stream, whose work is done at once."""

    def wait_stream(self, _: Any) -> None: ...

    def synchronize(self) -> None: ...

    def record_event(self) -> Stream:
        return self


class TorchWithADevice:
    """The module torch, with an "xpu" whose memory is the host's."""

    def __init__(self) -> None:
        self.xpu = SimpleNamespace(Stream=Stream, current_stream=Stream, stream=lambda _: contextlib.nullcontext())

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    @staticmethod
    def empty_like(x: torch.Tensor, *, device: str = "cpu", pin_memory: bool) -> torch.Tensor:
        assert pin_memory, "what needs a device's driver"
        return torch.empty_like(x, device=device)


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> str:
    if not torch.cuda.is_available():
        monkeypatch.setattr(offload, "torch", TorchWithADevice())
        monkeypatch.setattr(offload, "get_available_devices", lambda: ["cpu", "xpu"])
    return "cuda" if torch.cuda.is_available() else "cpu"


def network(device: str) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 8), nn.LayerNorm(8)).to(device)


def train(model: nn.Module, optimizer: Any, steps: range) -> None:
    device = next(model.parameters()).device
    for step in steps:
        model(torch.randn(4, 8, generator=torch.Generator().manual_seed(step)).to(device)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize("subspace", ["blocks", "columns", "randk", "random"])
def test_offloaded_parameters_keep_the_density_and_the_steps(subspace, device):
    options = {"subspace": subspace, "density": 0.5, "update_gap": 2, "lr": 1e-2}
    plain, offloaded = network(device), network(device)
    whole = Frugal(plain.named_parameters(), **options)
    plan = Frugal.plan(offloaded.named_parameters(), **options)
    optimizer = offload.CPUOffloadOptimizer(offloaded.parameters(), plan, minimal_size=100)
    assert len(optimizer.optim_dict) == 3, "the matrices"
    train(plain, whole, range(7))
    train(offloaded, optimizer, range(7))
    torch.testing.assert_close(list(offloaded.parameters()), list(plain.parameters()))
    for part in (optimizer.d_opt, *optimizer.optim_dict.values()):
        assert {group["step"] for group in part.param_groups} == {7}
    assert held(optimizer.d_opt, *optimizer.optim_dict.values()) == held(whole)


def held(*optimizers: Frugal) -> int:
    """Numbers of first moments."""
    return sum(state["exp_avg"].numel() for o in optimizers for state in o.state.values() if "exp_avg" in state)


def test_its_state_resumes(device):
    def start() -> tuple[nn.Module, Any]:
        model = network(device)
        plan = Frugal.plan(model.named_parameters(), subspace="columns", density=0.5, update_gap=3, lr=1e-2)
        return model, offload.CPUOffloadOptimizer(model.parameters(), plan, minimal_size=100)

    model, optimizer = start()
    train(model, optimizer, range(4))
    again, second = start()
    again.load_state_dict(model.state_dict())
    second.load_state_dict(optimizer.state_dict())
    for x, host in second.param_d2h_map.items():
        host.data.copy_(x.detach())  # torchao copies parameters to the host when it is made, and not when it is loaded
    train(model, optimizer, range(4, 8))
    train(again, second, range(4, 8))
    assert all(map(torch.equal, model.parameters(), again.parameters()))


@pytest.mark.skipif(torch.cuda.is_available() or torch.xpu.is_available(), reason="a device is there")
def test_without_a_device_torchao_says_so():
    with pytest.raises(AssertionError, match="only supports CUDA"):
        offload.CPUOffloadOptimizer(network("cpu").parameters(), Frugal)
