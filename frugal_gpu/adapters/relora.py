"""ReLoRA (Lialin et al. 2023, arXiv 2307.05695): LoRA that is merged into the weights every so many steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from frugal_theory.algorithm.selection import selection_key
from frugal_theory.algorithm.storages import SIGNED8, UNSIGNED8, Coded, dynamic_map
from frugal_theory.config.adapter import Adapter

__all__ = ["Restarts", "merge_", "prune_"]

MOMENTS = ("exp_avg", "exp_avg_sq", "momentum")
"""Entries of a state that a restart prunes; step counts stay."""


class Restarts:
    """An optimizer's hook: after every ``adapter.restarts`` steps, merge, start A and B anew, prune the moments.

    Its count is the optimizer's own, so a run that is resumed restarts where an uninterrupted one does; what is drawn is a
    function of (seed, name, restart).
    """

    def __init__(self, model: nn.Module, adapter: Adapter, seed: int) -> None:
        self.model, self.adapter, self.seed = model, adapter, seed

    def __call__(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        """Called after a step."""
        every = self.adapter.restarts
        done = int(optimizer.param_groups[0]["step"])
        if every is None or done == 0 or done % every:
            return
        merge_(self.model, lambda name: _generator(self.seed, name, done // every))
        names: dict[Tensor, str] = {parameter: name for name, parameter in self.model.named_parameters()}
        for parameter, state in optimizer.state.items():
            prune_(state, self.adapter, _generator(self.seed, f"{names.get(parameter, '')}.prune", done // every))


@torch.no_grad()
def merge_(model: nn.Module, generator: Callable[[str], torch.Generator]) -> None:
    """W ← W + (alpha/r) B A, A drawn anew (kaiming uniform, √5), B = 0, in every adapter of the model."""
    for name, layer, a, b in _adapters(model):
        layer.base_layer.weight.add_(layer.get_delta_weight("default").to(layer.base_layer.weight.dtype))
        bound = 1 / math.sqrt(a.shape[1])  # kaiming uniform with a = √5: √(6/(1 + 5)/fan_in)
        fresh = torch.empty(a.shape, dtype=torch.float32).uniform_(-bound, bound, generator=generator(name))
        a.copy_(fresh)
        b.zero_()


@torch.no_grad()
def prune_(state: dict[str, Any], adapter: Adapter, generator: torch.Generator) -> None:
    """Zero all but a share ``keep`` of every moment, nested ones and those in eight bits too.

    Adafactor's factors of rows and columns and LDAdam's error are no moments of single entries, and stay.
    """
    for key, value in state.items():
        if key in MOMENTS and isinstance(value, Tensor):
            value.mul_(_kept(value, adapter, generator))
        elif key in MOMENTS and isinstance(value, dict) and "codes" in value:
            storage = SIGNED8 if value["signed"] else UNSIGNED8
            numbers = storage.decode(Coded(value["codes"], value["scales"]), value["scales"])
            zero = int(np.flatnonzero(dynamic_map(value["signed"]) == 0)[0])
            value["codes"].masked_fill_(_kept(numbers, adapter, generator) == 0, zero)
        elif isinstance(value, dict):
            prune_(value, adapter, generator)


def _kept(moment: Tensor, adapter: Adapter, generator: torch.Generator) -> Tensor:
    """1 at the entries of a moment that a restart keeps, 0 elsewhere."""
    count = moment.numel()
    kept = min(count, max(1, round(adapter.keep * count))) if adapter.keep > 0 else 0
    by = moment.abs().flatten() if adapter.prune == "magnitude" else torch.rand(count, generator=generator)
    mask = torch.zeros(count, dtype=moment.dtype, device=moment.device)
    mask[by.to(moment.device).topk(kept).indices] = 1
    return mask.reshape(moment.shape)


def _adapters(model: nn.Module) -> Iterator[tuple[str, Any, Tensor, Tensor]]:
    """(name, layer, A, B) of every adapter."""
    for name, layer in model.named_modules():
        if hasattr(layer, "lora_A") and hasattr(layer, "base_layer"):
            yield name, layer, layer.lora_A["default"].weight, layer.lora_B["default"].weight


def _generator(seed: int, name: str, restart: int) -> torch.Generator:
    return torch.Generator().manual_seed(selection_key(seed, name, restart) % 2**63)
