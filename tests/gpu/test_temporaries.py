"""What a step needs beside parameters, gradients and state, as torch's allocator counts it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from frugal_gpu import Frugal
from frugal_gpu.optim.backends import FUSED
from frugal_gpu.optim.layout import layout_of
from frugal_gpu.optim.temporaries import temporary_numbers
from frugal_gpu.studies.bench import peak_bytes

SHAPES = [(64, 128)] * 40


@pytest.mark.parametrize(
    ("subspace", "most"), [("blocks", 0.1), ("columns", 0.1), ("randk", 0.1), ("random", 0.5), ("svd", 0.5)]
)
@pytest.mark.parametrize("backend", ["fused", "foreach"])
def test_temporaries_are_a_small_share_of_the_parameters(subspace, most, backend, monkeypatch):
    """Forty matrices, and stretches as long as one of them, as in a model that is large against the cache."""
    if backend == "fused" and FUSED.missing():
        pytest.skip("needs numba")
    monkeypatch.setattr("frugal_gpu.optim.step.CACHED", 64 * 128)
    parameters = [nn.Parameter(torch.ones(shape)) for shape in SHAPES]
    optimizer = Frugal(parameters, subspace=subspace, density=0.25, backend=backend)
    for _ in range(2):
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape)
        peak = peak_bytes(optimizer.step, torch.device("cpu"))
    assert peak <= most * sum(4 * parameter.numel() for parameter in parameters)


@pytest.mark.parametrize("rule", ["adamw", "lion", "sgdm"])
@pytest.mark.parametrize("subspace", ["blocks", "columns", "rows", "randk", "random"])
@pytest.mark.parametrize("backend", ["fused", "foreach"])
def test_what_is_counted_from_shapes_bounds_what_a_step_takes(subspace, rule, backend):
    if backend == "fused" and FUSED.missing():
        pytest.skip("needs numba")
    shape, density = (64, 128), 0.25
    parameters = [nn.Parameter(torch.ones(shape)) for _ in range(4 if subspace == "blocks" else 1)]  # none of them is divided
    optimizer = Frugal(parameters, subspace=subspace, density=density, state_full=rule, backend=backend)
    for _ in range(2):
        for parameter in parameters:
            parameter.grad = torch.randn(shape)
        peak = peak_bytes(optimizer.step, torch.device("cpu"))
    layout = None if subspace == "blocks" else layout_of(subspace, "fixed_size", shape, density)
    counted = 4 * len(parameters) * temporary_numbers(shape, layout, backend == "fused", rule)  # one stretch takes them all
    small = 4 * (4 * 128 + 2 * 64) + 2048  # step counts, scalars
    assert peak <= counted + small
    assert subspace == "blocks" or peak >= 0.4 * counted - small
