"""A model with quadratic loss whose constants are all in closed form: rows of a table are samples of the gradient's noise."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from frugal_gpu.data.batches import independent_indices
from frugal_gpu.optim import Frugal
from frugal_gpu.probes import Objective, Watch
from frugal_gpu.probes.constants import Facts, constants, evidence
from frugal_gpu.probes.law import law_of
from frugal_theory import config

SIGMAS = (0.3, 0.1, 0.0, 0.2)


class Rows(nn.Module):
    """f_i(x) = ½ Σ λ_j x_j² − Σ ξ_ij x_j, the ξ_i all 2ᵈ sign patterns times σ_j √B: their mean is 0, so f has no ξ.

    The gradient of a batch of B independent rows is that of f plus noise of variance σ_j², whatever x. ``head`` and ``tail``
    hold the first and the other coordinates.
    """

    def __init__(self, eigenvalues: Sequence[float], sigmas: Sequence[float], batch_size: int, start: float = 1.0) -> None:
        super().__init__()
        patterns = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=len(sigmas))), dtype=torch.float64)
        self.noise = patterns * torch.tensor(sigmas, dtype=torch.float64) * math.sqrt(batch_size)
        self.eigenvalues = torch.tensor(eigenvalues, dtype=torch.float64)
        self.head = nn.Parameter(torch.full((1,), start, dtype=torch.float64))
        self.tail = nn.Parameter(torch.full((len(eigenvalues) - 1,), start, dtype=torch.float64))

    def loss(self, rows: Sequence[int]) -> Tensor:
        """The mean loss of some rows, plus 1: f* = 1."""
        x = torch.cat([self.head, self.tail])
        return 1 + (self.eigenvalues * x * x).sum() / 2 - self.noise[list(rows)].mean(0) @ x

    def gradient(self) -> Tensor:
        """∇f."""
        return self.eigenvalues * torch.cat([self.head, self.tail]).detach()


def three() -> Rows:
    """Two coordinates, three rows, skewed: the noise of row i is the i-th of these."""
    model = Rows((1.0, 0.5), (1.0, 1.0), batch_size=1)
    model.noise = torch.tensor([[3.0, 0.0], [-1.0, 2.0], [-2.0, -2.0]], dtype=torch.float64)
    return model


def objective(model: Rows, batch_size: int, seed: int = 0, size: int | None = None) -> Objective:
    """f of the rows."""

    def draw(step: int, count: int) -> list[int]:
        return independent_indices(seed, "probe data", step, count, len(model.noise))

    return Objective(model, len(model.noise), model.loss, draw, batch_size, size or max(8, batch_size), seed)


def train(
    algorithm: config.Algorithm,
    eigenvalues: Sequence[float],
    sigmas: Sequence[float],
    steps: int,
    every: int,
    seed: int = 0,
    batch_size: int = 4,
    size: int | None = None,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A run with probes: (constants.json, metrics.jsonl)."""
    model = Rows(eigenvalues, sigmas, batch_size)
    rate = float(algorithm.learning_rate)  # type: ignore[arg-type]
    optimizer = Frugal.from_config(model, algorithm, lr=rate)
    f = objective(model, batch_size, seed, size)
    probes = config.Probes(every=every, kinds=("gradient", "noise", "smoothness", "descent"))
    watch = Watch(probes, f, steps, seed, algorithm.density)
    lines = []
    for step in range(1, steps + 1):
        rows = independent_indices(seed, "independent data", step, batch_size, len(model.noise))
        model.loss(rows).backward()
        gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        visit = watch.visit(step, rate, gradients)
        squared = float((model.gradient() ** 2).sum())
        optimizer.step()
        optimizer.zero_grad()
        lines.append({"step": step, "learning_rate": rate, "squared": squared, **visit.after()})
    premises = [{"name": n, "statement": n, "held": True, "how": "by construction"} for n in ("P2", "P3", "P5", "P6")]
    facts = Facts(
        steps,
        {name: tuple(p.shape) for name, p in model.named_parameters()},
        law_of(algorithm, optimizer.param_groups),
        batch_size,
        f.size,
        premises,
        None,
        0.99,
        floor=1.0,
        known_floor="f* = 1",
    )
    record = constants(lines, facts)
    assert record is not None
    assert evidence(lines, 0.99) is not None
    return record, lines


def gap(eigenvalues: Sequence[float], start: float = 1.0) -> float:
    """Δ of the rows' model."""
    return float(np.sum(eigenvalues)) * start**2 / 2
