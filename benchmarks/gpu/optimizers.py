"""The optimizers whose steps are timed and weighed: torch's AdamW, and FRUGAL on every subspace."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from frugal_gpu.model.llama import SHAPES, build_model
from frugal_gpu.optim import Frugal
from frugal_theory.config import Algorithm

Make = Callable[[nn.Module], torch.optim.Optimizer]

FUSED, AGAIN, FOREACH = "torch AdamW, fused", "torch AdamW, fused, again", "torch AdamW, foreach"
"""The first is what the others are compared with, the second how far a time can be trusted."""

SUBSPACES = ("blocks", "columns", "coordinates", "randk", "random", "svd")
DENSITY = 0.25
RATE = 1e-6

NO_STATE = {"embeddings": "state_free", "norms": "state_free", "output": "state_free"}


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
    return made


def _adamw(**backend: bool) -> Make:
    return lambda model: torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.0, **backend)


def _frugal(algorithm: Algorithm) -> Make:
    return lambda model: Frugal.from_config(model, algorithm, lr=RATE)


def model_with_gradients(preset: str, device: torch.device) -> nn.Module:
    """A LLaMA in float32 whose parameters have Gaussian gradients, the same in every call."""
    torch.manual_seed(0)
    model = build_model(SHAPES[preset], sequence_length=256).to(device)
    generator = torch.Generator(device).manual_seed(0)
    for parameter in model.parameters():
        parameter.grad = 1e-3 * torch.randn(parameter.shape, generator=generator, device=device)
    return model
