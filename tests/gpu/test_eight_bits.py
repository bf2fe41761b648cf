"""state_dtype = "8bit": what is kept, what it costs, and that a run goes on as if it had not stopped."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import nn

import frugal_theory as ft
from frugal_gpu import Frugal
from frugal_gpu.optim.state import state_bytes_held
from frugal_gpu.studies.memory import memory_of
from frugal_theory.algorithm.storages import SIGNED8, UNSIGNED8
from frugal_theory.config.registry import SYSTEMS

SYSTEMS_NAMED = [name for name in SYSTEMS if name not in ("lora", "relora")]


class Model(nn.Module):
    """Matrices whose state is long enough, and one whose state is not."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.layers = nn.ModuleList([nn.Linear(160, 120), nn.Linear(120, 160, bias=False), nn.Linear(20, 20)])


def run(model: nn.Module, optimizer: torch.optim.Optimizer, first: int, last: int) -> None:
    for k in range(first, last):
        torch.manual_seed(k)
        for parameter in model.parameters():
            parameter.grad = torch.randn_like(parameter)
        optimizer.step()


def made(**keys: object) -> tuple[nn.Module, Frugal]:
    model = Model()
    algorithm = ft.parse({"name": "one", "algorithm": {"learning_rate": 0.01, **keys}}).algorithm
    optimizer = Frugal.from_config(model, algorithm)
    for group in optimizer.param_groups:
        group["state_dtype"] = "8bit"
    return model, optimizer


@pytest.mark.parametrize("system", SYSTEMS_NAMED)
def test_a_resumed_run_is_the_straight_one(system):
    keys = {"system": system, **({"update_gap": 3} if "update_gap" in (SYSTEMS[system].accepts or ("update_gap",)) else {})}
    straight, one = made(**keys)
    run(straight, one, 0, 8)
    model, two = made(**keys)
    run(model, two, 0, 4)
    written = io.BytesIO()
    torch.save({"model": model.state_dict(), "optimizer": two.state_dict()}, written)
    written.seek(0)
    read = torch.load(written, weights_only=True)
    again, three = made(**keys)
    again.load_state_dict(read["model"])
    three.load_state_dict(read["optimizer"])
    run(again, three, 4, 8)
    for x, y in zip(straight.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(x, y, rtol=0, atol=0)


def test_a_step_is_the_formula_between_decoding_and_encoding():
    """AdamW in five lines, its moments through the storages."""
    weight = nn.Parameter(torch.zeros(64, 100))
    optimizer = Frugal([("w", weight)], lr=0.1, density=1.0, state_dtype="8bit")
    x, m, v = torch.zeros(64, 100), torch.zeros(64, 100), torch.zeros(64, 100)
    for k in range(1, 5):
        torch.manual_seed(k)
        weight.grad = torch.randn(64, 100)
        optimizer.step()
        g = weight.grad
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        x -= 0.1 * (m / (1 - 0.9**k)) / ((v / (1 - 0.999**k)).sqrt() + 1e-8)
        m, v = SIGNED8.decode(SIGNED8.encode(m), m), UNSIGNED8.decode(UNSIGNED8.encode(v), v)
        torch.testing.assert_close(weight.detach(), x, rtol=2e-3, atol=2e-3)
    state = optimizer.state[weight]
    assert {key: value.dtype for key, value in state["exp_avg"].items() if key != "signed"} == {
        "codes": torch.uint8,
        "scales": torch.float32,
    }
    assert (state["exp_avg"]["signed"], state["exp_avg_sq"]["signed"]) == (True, False)


@pytest.mark.parametrize("system", sorted({*SYSTEMS_NAMED} - {"badam", "adamw-first", "adamw-last"}))  # blocks are a mean
def test_memory_counts_to_the_byte(system):
    keys = {"system": system, **({"subspace": "columns"} if system == "frugal" else {})}
    algorithm = ft.parse({"name": "one", "algorithm": keys}).algorithm
    model = Model()
    optimizer = Frugal.from_config(model, algorithm)
    for group in optimizer.param_groups:
        group["state_dtype"] = "8bit"
    run(model, optimizer, 0, 2)
    assert state_bytes_held(optimizer) == memory_of(model, algorithm, state_dtype="8bit").state


@pytest.mark.parametrize("subspace", ["blocks", "columns", "random"])
def test_it_takes_a_quarter_of_the_state(subspace):
    """But for bases; and the count that coordinates of randk have each stays float32, too."""
    keys = {"subspace": subspace, "density": 0.5, "biases": "state_free"}
    eight, four = (memory_of(nn.Linear(1024, 512), ft.Algorithm(**keys), state_dtype=dtype) for dtype in ("8bit", None))
    basis = 4 * 512 * 256 if subspace == "random" else 0
    assert 0.25 < (eight.state - basis) / (four.state - basis) < 0.26


def test_what_stays_in_the_set_is_not_rounded_again():
    """A period without steps of its own: the codes of a parameter that stays whole are the same."""
    weight, other = nn.Parameter(torch.zeros(64, 100)), nn.Parameter(torch.zeros(4, 100))
    optimizer = Frugal([("w", weight), ("o", other)], density=1.0, update_gap=2, state_dtype="8bit")
    for _ in range(2):
        weight.grad, other.grad = torch.randn(64, 100), torch.randn(4, 100)
        optimizer.step()
    before = copy.deepcopy(optimizer.state[weight]["exp_avg"])
    weight.grad = None
    other.grad = torch.randn(4, 100)
    optimizer.step()
    assert optimizer.param_groups[0]["period"] == 1
    torch.testing.assert_close(optimizer.state[weight]["exp_avg"], before, rtol=0, atol=0)


def test_the_form_may_change_during_a_run():
    weight = nn.Parameter(torch.zeros(64, 100))
    optimizer = Frugal([("w", weight)], density=1.0)
    for dtype in (None, "8bit", "bfloat16", "8bit", None):
        optimizer.param_groups[0]["state_dtype"] = dtype
        weight.grad = torch.randn(64, 100)
        optimizer.step()
        kept = optimizer.state[weight]["exp_avg"]
        assert isinstance(kept, dict) if dtype == "8bit" else kept.dtype == (getattr(torch, dtype) if dtype else torch.float32)


def test_hold_is_refused():
    with pytest.raises(ValueError, match='off_set_momentum = "hold" with state_dtype = "8bit"'):
        Frugal([nn.Parameter(torch.ones(3, 3))], off_set_momentum="hold", state_dtype="8bit")
