"""What a device and a compiler ask of a step: the host reads no number of theirs, and compiled it is the same step."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from frugal_gpu import Frugal
from tests.tolerances import ROUNDING

SUBSPACES = ("blocks", "columns", "rows", "randk", "random")


@pytest.mark.parametrize("rule", ["adamw", "lion", "sgdm"])
@pytest.mark.parametrize("subspace", SUBSPACES)
def test_the_host_reads_nothing_in_a_step(subspace, rule):
    """Tensors without numbers (device "meta"): to read one is an error, as it would be a wait for a GPU."""
    parameters = [nn.Parameter(torch.empty(shape, device="meta")) for shape in ((6, 8), (8, 4), (5,))]
    lr = torch.empty((), device="meta")
    optimizer = Frugal(parameters, subspace=subspace, density=0.5, state_full=rule, weight_decay=0.1)
    optimizer.param_groups[0]["lr"] = lr
    for _ in range(3):
        for parameter in parameters:
            parameter.grad = torch.empty_like(parameter)
        optimizer.step()


@pytest.mark.parametrize("subspace", SUBSPACES)
def test_a_tensor_is_a_learning_rate(subspace):
    ends = []
    for lr in (0.03, torch.tensor(0.03, dtype=torch.float64)):
        generator, parameter = torch.Generator().manual_seed(0), nn.Parameter(torch.ones(6, 8, dtype=torch.float64))
        optimizer = Frugal([("w", parameter)], lr=lr, subspace=subspace, density=0.5, update_gap=2, weight_decay=0.1)
        for _ in range(5):
            parameter.grad = torch.randn(6, 8, dtype=torch.float64, generator=generator)
            optimizer.step()
        ends.append(parameter.detach())
    torch.testing.assert_close(*ends, rtol=ROUNDING, atol=ROUNDING)


def test_a_compiled_step_breaks_the_graph_once_and_is_the_step():
    counters = torch._dynamo.utils.counters
    ends = []
    for compiled in (False, True):
        generator, parameter = torch.Generator().manual_seed(0), nn.Parameter(torch.ones(6, 8))
        optimizer = Frugal([("w", parameter)], subspace="columns", density=0.5, update_gap=2)
        torch._dynamo.reset()
        counters.clear()
        step = torch.compile(optimizer.step, backend="eager") if compiled else optimizer.step
        for _ in range(5):
            parameter.grad = torch.randn(6, 8, generator=generator)
            step()
        ends.append(parameter.detach())
    assert len(counters["graph_break"]) <= 1, "one place, however often it is traced"
    assert torch.equal(*ends)
