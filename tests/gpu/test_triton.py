"""The GPU's kernels, on a GPU: the formula's steps, without waiting for the device, and in graphs.

The same kernels run on a CPU in triton's interpreter in ``test_triton_interpreted.py``.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmarks.gpu.kernels import Case, cases, error_of, graph_against_eager, ordinary_steps_without_waiting
from frugal_gpu import Frugal
from frugal_gpu.optim.backends import MULTI_TENSOR
from tests.tolerances import BFLOAT16_STEP, FLOAT32

on_a_gpu = [
    pytest.mark.cuda,
    pytest.mark.skipif(MULTI_TENSOR.missing() is not None or not torch.cuda.is_available(), reason="needs a GPU and triton"),
]

SUBSPACES = ("blocks", "columns", "rows", "randk", "random")


def marked(values):
    return [pytest.param(value, marks=on_a_gpu, id=getattr(value, "name", str(value))) for value in values]


@pytest.mark.parametrize("case", marked(cases()))
def test_kernels_follow_the_formula(case):
    assert error_of(case, "cuda") <= (FLOAT32 if case.dtype == torch.float32 else BFLOAT16_STEP)


@pytest.mark.parametrize("subspace", marked(SUBSPACES))
def test_a_learning_rate_on_the_device_is_the_number(subspace):
    assert error_of(Case(subspace, "adamw", "signsgd"), "cuda", tensor_lr=True) <= FLOAT32


@pytest.mark.parametrize("tensor_lr", marked([False, True]))
@pytest.mark.parametrize("backend", ["triton", "foreach"])
@pytest.mark.parametrize("subspace", SUBSPACES)
def test_the_host_does_not_wait_in_an_ordinary_step(subspace, backend, tensor_lr):
    ordinary_steps_without_waiting(Case(subspace, "adamw", "signsgd"), backend, tensor_lr)


@pytest.mark.parametrize("rules", marked([("adamw", "signsgd"), ("lion", "sgd")]))
@pytest.mark.parametrize("subspace", SUBSPACES)
def test_a_replayed_graph_is_the_steps_bit_for_bit(subspace, rules):
    assert graph_against_eager(Case(subspace, *rules)) == 0


@pytest.mark.parametrize("subspace", marked(["columns"]))
def test_a_graph_of_lists_of_tensors_is_the_steps(subspace):
    assert graph_against_eager(Case(subspace, "adamw", "signsgd"), "foreach") == 0


@pytest.mark.parametrize("steps", marked([3]))
def test_a_period_does_not_begin_in_a_graph(steps):
    optimizer, weight = _with_gradient(capturable=True, update_gap=steps)
    for _ in range(steps):
        optimizer.step()
    with pytest.raises(RuntimeError, match="a new period begins"), torch.cuda.graph(torch.cuda.CUDAGraph()):
        optimizer.step()
    torch.cuda.synchronize()
    optimizer.step()
    assert weight.isfinite().all()


@pytest.mark.parametrize("capturable", marked([False]))
def test_a_step_that_counts_on_the_host_is_not_captured(capturable):
    optimizer, _ = _with_gradient(capturable=capturable)
    optimizer.step()
    with pytest.raises(RuntimeError, match="capturable = False"), torch.cuda.graph(torch.cuda.CUDAGraph()):
        optimizer.step()


def _with_gradient(**options):
    weight = nn.Parameter(torch.ones(40, 30, device="cuda"))
    weight.grad = torch.randn_like(weight)
    return Frugal([("a.weight", weight)], subspace="columns", backend="triton", **options), weight
