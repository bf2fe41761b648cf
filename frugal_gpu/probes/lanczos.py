"""Lanczos: the ends of a symmetric operator's spectrum from products with vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

__all__ = ["Ends", "lanczos"]

SETTLED = 1e-10
"""A residual vector of this share of the operator's size is rounding: the Krylov space is exhausted."""


class Ends(NamedTuple):
    """The largest and the smallest Ritz value; some eigenvalue lies within the residual of each.

    ``top`` is never above the largest eigenvalue, ``bottom`` never below the smallest.
    """

    top: float
    top_residual: float
    bottom: float
    bottom_residual: float
    products: int


def lanczos(product: Callable[[Tensor], Tensor], start: Tensor, products: int) -> Ends:
    """The ends of the spectrum of v ↦ ``product(v)``, symmetric, from ``products`` ≥ 1 products, every vector orthogonalised
    against all before (twice): ``products`` vectors like ``start`` are held.

    After m products the Ritz values are those of the tridiagonal T, and ‖Ay − θy‖ = β_{m+1}|s_m| for y = Vs.
    """
    basis = [start / start.norm()]
    diagonal: list[float] = []
    beside: list[float] = []
    for _ in range(products):
        image = product(basis[-1])
        diagonal.append(float((image.double() * basis[-1].double()).sum()))
        for _again in range(2):
            for vector in basis:
                image = image - vector * float((image.double() * vector.double()).sum())
        length = float(image.double().norm())
        beside.append(length)
        if length <= SETTLED * max(1e-30, *map(abs, diagonal)):
            break
        basis.append(image / length)
    values, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(beside[:-1], 1) + np.diag(beside[:-1], -1))
    residual = beside[-1] * np.abs(vectors[-1])
    return Ends(float(values[-1]), float(residual[-1]), float(values[0]), float(residual[0]), len(diagonal))


def random_start(size: int, seed: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """A Gaussian vector drawn on the CPU, the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(size, generator=generator, dtype=torch.float64).to(device=device, dtype=dtype)
