"""Bases of a new period on tensors: drawn from a key, or the gradient's leading singular vectors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from frugal_gpu.optim.layout import Turning
from frugal_gpu.optim.subspaces import Basis, at_least_float32, with_columns
from frugal_theory.algorithm.selection import selection_key, uniform_bits
from frugal_theory.algorithm.sketching import iterated, sketch_size
from frugal_theory.config.registry import SUBSPACES

__all__ = ["choose_basis", "new_basis", "normals", "orthonormal", "principal"]


def new_basis(group: Mapping[str, Any], name: str, period: int, part: Turning, gradient: Tensor) -> Basis:
    """The basis of a parameter in a new period; of experts each has its own, which it would have as the matrix "NAME.e"."""
    kind, seed = group["subspace"], group["seed"]
    if len(part.shape) < 3:
        return choose_basis(kind, selection_key(seed, name, period), part, gradient)
    one = replace(part, shape=part.shape[1:])
    keys = (selection_key(seed, f"{name}.{e}", period) for e in range(part.shape[0]))
    columns = [choose_basis(kind, key, one, own).columns for key, own in zip(keys, gradient, strict=True)]
    return with_columns(part, torch.stack(columns))


def choose_basis(kind: str, key: int, part: Turning, gradient: Tensor) -> Basis:
    """The basis of a matrix or vector in a new period: "random" and "gaussian" from the key, "svd" from the gradient."""
    gradient = gradient.reshape(part.shape).to(at_least_float32(gradient.dtype))
    if SUBSPACES.is_added(kind):  # its NumPy code, once a period
        made = SUBSPACES[kind].columns(key, gradient.cpu().numpy(), part.side, part.rank)
        columns = torch.as_tensor(made, dtype=gradient.dtype, device=gradient.device)
    elif kind == "svd" and part.projector == "randomised":
        matrix, width = gradient if part.side == "left" else gradient.mT, sketch_size(part.length, part.rank)
        start = normals(key, part.length * width, gradient.device).to(gradient.dtype).reshape(part.length, width)
        columns = iterated(matrix, start, part.rank).contiguous()
    elif kind == "svd":
        columns = principal(gradient, part)
    else:
        numbers = normals(key, part.length * part.rank, gradient.device).to(gradient.dtype).reshape(part.length, part.rank)
        columns = numbers / math.sqrt(part.rank) if kind == "gaussian" else orthonormal(numbers)
    return with_columns(part, columns)


def normals(key: int, count: int, device: torch.device) -> Tensor:
    """Standard normal float64 numbers by Box and Muller: those of the NumPy engine up to rounding."""
    index = torch.arange(count, device=device)
    first, second = (_unit_interval(uniform_bits(key, 2 * index + i)) for i in (0, 1))
    return torch.sqrt(-2.0 * torch.log(first)) * torch.cos(2.0 * math.pi * second)


def _unit_interval(bits: Tensor) -> Tensor:
    """The upper 53 bits as a number in (0, 1)."""
    return (((bits >> 11) & (2**53 - 1)).to(torch.float64) + 0.5) * 2.0**-53


def orthonormal(numbers: Tensor) -> Tensor:
    """Columns uniform on the Stiefel manifold: QR of a Gaussian matrix with R's diagonal made positive."""
    q, r = torch.linalg.qr(numbers)
    return (q * torch.where(r.diagonal() < 0, -1.0, 1.0).to(q.dtype)).contiguous()


def principal(gradient: Tensor, part: Turning) -> Tensor:
    """The leading singular vectors of the gradient, each with its largest entry positive (svd leaves the sign open).

    A copy of the r columns, shape (length, rank): a view would keep all of U or V alive. Of a float32 matrix on a CPU, on its
    shorter side, they are the eigenvectors of its Gram matrix in float64: nearer to the truth than a float32 SVD, and sooner
    there. In float32 a Gram matrix would lose what is below √ε of the largest singular value (docs/benchmarks.md).
    """
    if gradient.dtype == torch.float32 and gradient.device.type == "cpu" and part.length == min(gradient.shape):
        exact = gradient.double()
        gram = exact @ exact.mT if part.side == "left" else exact.mT @ exact
        vectors = torch.linalg.eigh(gram)[1].flip(1)[:, : part.rank].to(gradient.dtype)
    else:
        left, _, right = torch.linalg.svd(gradient, full_matrices=False)
        vectors = (left if part.side == "left" else right.mT)[:, : part.rank]
    largest = vectors.gather(0, vectors.abs().argmax(dim=0, keepdim=True))
    return (vectors * torch.where(largest < 0, -1.0, 1.0).to(vectors.dtype)).contiguous()
