"""Singular vectors of float32 matrices by their Gram matrix in float64: as near to the truth as a float32 SVD."""

from __future__ import annotations

import pytest
import torch

from frugal_gpu.optim.bases import principal
from frugal_gpu.optim.layout import Turning

SHORT, LONG, RANK = 64, 150, 16
LARGE, SMALL = torch.ones(RANK // 2), torch.full((RANK // 2,), 1e-3)
SPECTRA = {
    "condition 1e4": torch.logspace(0, -4, SHORT),
    "condition 1e4 and a gap": torch.cat([torch.logspace(0, -2, RANK), torch.logspace(-3, -4, SHORT - RANK)]),
    "repeated": torch.cat([LARGE, torch.full((RANK // 2,), 0.5), torch.full((SHORT - RANK,), 1e-2)]),
    "repeated, far apart": torch.cat([LARGE, SMALL, torch.full((SHORT - RANK,), 5e-4)]),
}


def angle(a: torch.Tensor, b: torch.Tensor) -> float:
    """The sine of the largest principal angle between two spans."""
    a, b = a.double(), b.double()
    return float(torch.linalg.matrix_norm(b - a @ (a.mT @ b), 2))


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("spectrum", SPECTRA)
def test_the_span_is_that_of_an_exact_svd(spectrum, side):
    """Within a thousandth of the relative gap; a float32 SVD is no nearer."""
    torch.manual_seed(5)
    left, right = (torch.linalg.qr(torch.randn(size, SHORT, dtype=torch.float64))[0] for size in (SHORT, LONG))
    values = SPECTRA[spectrum].double()
    matrix = ((left * values) @ right.mT).float()
    matrix = matrix if side == "left" else matrix.mT.contiguous()
    found = principal(matrix, Turning(side, SHORT, RANK, tuple(matrix.shape)))
    u, _, v = torch.linalg.svd(matrix.double(), full_matrices=False)
    truth = (u if side == "left" else v.mT)[:, :RANK]
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    single = (u if side == "left" else v.mT)[:, :RANK]
    gap = float((values[RANK - 1] - values[RANK]) / values[RANK - 1])
    assert found.dtype == torch.float32
    assert angle(truth, found) <= 1e-3 * gap
    assert angle(truth, found) <= angle(truth, single)
    identity = torch.eye(RANK, dtype=torch.float64)
    assert float((found.double().mT @ found.double() - identity).abs().max()) <= 1e-6


def test_the_longer_side_has_the_vectors_of_an_svd():
    torch.manual_seed(5)
    matrix = torch.randn(SHORT, LONG)
    found = principal(matrix, Turning("right", LONG, RANK, tuple(matrix.shape)))
    assert angle(torch.linalg.svd(matrix.double(), full_matrices=False)[2].mT[:, :RANK], found) <= 1e-5
