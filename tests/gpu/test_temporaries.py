"""What a step needs beside parameters, gradients and state, as torch's allocator counts it."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

import frugal_theory as ft
from frugal_gpu import Frugal
from frugal_gpu.optim.backends import FUSED
from frugal_gpu.optim.layout import layout_of
from frugal_gpu.optim.temporaries import temporary_numbers
from frugal_gpu.studies.bench import peak_bytes
from frugal_gpu.studies.memory import memory_of
from frugal_theory.config.registry import SYSTEMS

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
    peaks = []
    for _ in range(4):
        for parameter in parameters:
            parameter.grad = torch.randn(shape)
        peaks.append(peak_bytes(optimizer.step, torch.device("cpu")))
    peak = max(peaks[1:])  # the first makes the state; the profiler misses an allocation now and then
    layout = None if subspace == "blocks" else layout_of(subspace, "fixed_size", shape, density)
    counted = 4 * len(parameters) * temporary_numbers(shape, layout, backend == "fused", rule)  # one stretch takes them all
    small = 4 * (4 * 128 + 2 * 64) + 2048  # step counts, scalars
    assert peak <= counted + small
    assert subspace == "blocks" or peak >= 0.4 * counted - small


class Stack(nn.Module):
    def __init__(self, widths: int, layers: int = 3):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(widths, 2 * widths, bias=False) for _ in range(layers))


COLUMNS = ({"subspace": "columns"}, {"subspace": "columns", "off_set_momentum": "decay"}, {"subspace": "rows", "density": 1.0})
CASES = [
    *({"system": name} for name in SYSTEMS if name not in ("lora", "relora")),
    *COLUMNS,
    *({"subspace": name} for name in ("randk", "random", "svd", "blocks")),
    {"subspace": "columns", "state_full": "adafactor"},
    {"subspace": "random", "state_full": "adalayer", "rank": 16},
    {"subspace": "blocks", "state_full": "lion", "density": 0.1},
]


def precisions():
    """Every case with every dtype of the state: with one of the parameters' dtypes, which go round, and the other when slow."""
    for (i, keys), (j, state_dtype) in itertools.product(enumerate(CASES), enumerate((None, "bfloat16", "8bit"))):
        for k, dtype in enumerate((torch.float32, torch.bfloat16)):
            marks = [pytest.mark.slow] if (i + j + k) % 2 else []
            yield pytest.param(keys, state_dtype, dtype, marks=marks, id=f"{keys}-{state_dtype}-{dtype}")


@pytest.mark.parametrize(("keys", "state_dtype", "dtype"), list(precisions()))
def test_the_column_of_memory_bounds_what_the_allocator_gives(keys, state_dtype, dtype):
    """A step without a new basis; and the count is not far above, where much is taken."""
    algorithm = ft.parse({"name": "one", "algorithm": keys}).algorithm
    model = Stack(96).to(dtype)
    optimizer = Frugal.from_config(model, algorithm)
    for group in optimizer.param_groups:
        group["state_dtype"] = state_dtype
    for _ in range(2):
        for parameter in model.parameters():
            parameter.grad = torch.randn_like(parameter)
        peak = peak_bytes(optimizer.step, torch.device("cpu"))
    counted = memory_of(model, algorithm, state_dtype=state_dtype).temporaries
    one = 4 * 2 * 96**2
    assert peak <= counted + 0.15 * one + 2**14
    assert counted <= 3 * peak + one
