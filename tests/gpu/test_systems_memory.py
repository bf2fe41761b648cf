"""The state of every system, as predicted from shapes and as it is held after steps."""

from __future__ import annotations

import pytest
import torch

import frugal_theory as ft
from frugal_gpu import Frugal
from frugal_gpu.optim.state import state_bytes_held
from frugal_gpu.studies.memory import memory_of
from frugal_theory.config.registry import SYSTEMS


class Small(torch.nn.Module):
    """Four layers of equal size, an embedding and a head."""

    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(11, 24)
        self.layers = torch.nn.ModuleList(
            torch.nn.ModuleList([torch.nn.Linear(24, 40, bias=False), torch.nn.Linear(40, 24), torch.nn.LayerNorm(24)])
            for _ in range(4)
        )
        self.lm_head = torch.nn.Linear(24, 11, bias=False)

    def get_output_embeddings(self):
        return self.lm_head


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_state_is_what_is_predicted(system):
    """To the byte but for FRUGAL's own random blocks; those of BAdam are of equal size, so their mean is every draw."""
    keys = {"subspace": "columns"} if system == "frugal" else {}
    algorithm = ft.parse({"name": "one", "algorithm": {"system": system, **keys}}).algorithm
    model = Small()
    optimizer = Frugal.from_config(model, algorithm)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    assert state_bytes_held(optimizer) == memory_of(model, algorithm).state
