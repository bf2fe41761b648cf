"""The optimizers whose steps are timed and weighed: torch's AdamW, and FRUGAL on every subspace."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from frugal_gpu.model.llama import SHAPES, meta_model
from frugal_gpu.optim import Frugal
from frugal_theory.config import Algorithm

Make = Callable[[nn.Module], torch.optim.Optimizer]

FUSED, AGAIN, FOREACH = "torch AdamW, fused", "torch AdamW, fused, again", "torch AdamW, foreach"
"""The first is what the others are compared with, the second how far a time can be trusted."""

SUBSPACES = ("blocks", "columns", "coordinates", "randk", "random", "svd")
DENSITY = 0.25
RATE = 1e-6

NO_STATE = {"embeddings": "state_free", "norms": "state_free", "output": "state_free"}


LISTS = "FRUGAL blocks, foreach"
"""Blocks by lists of tensors, for comparison: the others take what is fastest on the device."""

LEFT_OUT = (AGAIN, FOREACH, "FRUGAL coordinates", "FRUGAL ρ = 1")
"""Of a large model, whose optimizers all lie on the device at once."""


def optimizers(update_gap: int) -> dict[str, Make]:
    """By name, what makes each for a model. FRUGAL is AdamW on the subspace, signSGD off it."""
    keys: dict[str, dict[str, object]] = {
        **{f"FRUGAL {subspace}": {"subspace": subspace, "density": DENSITY} for subspace in SUBSPACES},
        "FRUGAL ρ = 0": {"subspace": "blocks", "density": 0.0},
        "signSGD everywhere": {"subspace": "blocks", "density": 0.0, **NO_STATE},
        "FRUGAL ρ = 1": {"subspace": "blocks", "density": 1.0},
    }
    made: dict[str, Make] = {FUSED: _adamw(fused=True), AGAIN: _adamw(fused=True), FOREACH: _adamw(foreach=True)}
    for name, given in keys.items():
        made[name] = _frugal(Algorithm.model_validate({"update_gap": update_gap, **given}))
    blocks = Algorithm.model_validate({"update_gap": update_gap, "subspace": "blocks", "density": DENSITY})
    return {**made, LISTS: _frugal(blocks, "foreach")}


def _adamw(**backend: bool) -> Make:
    return lambda model: torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.0, **backend)


def _frugal(algorithm: Algorithm, backend: str = "auto") -> Make:
    def make(model: nn.Module) -> torch.optim.Optimizer:
        optimizer = Frugal.from_config(model, algorithm, lr=RATE)
        for group in optimizer.param_groups:
            group["backend"] = backend
        return optimizer

    return make


def model_with_gradients(preset: str, device: torch.device) -> nn.Module:
    """A LLaMA in float32 with Gaussian parameters and gradients, made on the device, the same in every call."""
    model = meta_model(SHAPES[preset]).to_empty(device=device)
    generator = torch.Generator(device).manual_seed(0)
    for parameter in model.parameters():
        parameter.data.normal_(0.0, 0.02, generator=generator)
        parameter.grad = torch.empty_like(parameter).normal_(0.0, 1e-3, generator=generator)
    return model
