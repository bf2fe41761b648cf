"""Singular vectors by randomised subspace iteration: both engines draw the same, and it is nearly the exact subspace."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from frugal_gpu import Frugal
from frugal_theory.algorithm.sketching import OVERSAMPLING, iterated, sketch_size
from frugal_theory.algorithm.subspaces import principal
from frugal_theory.config import Algorithm
from tests.parity.problem import assert_same_path, driven, numpy_path, torch_paths
from tests.tolerances import FACTORISATION


def test_both_engines_take_the_same_steps():
    wide = driven(9, shapes={"W": (14, 12), "V": (12, 20), "b": (5,)})
    keys = {"subspace": "svd", "projector": "randomised", "density": 0.2, "update_gap": 4, "learning_rate": 0.03, "seed": 3}
    chosen = [Algorithm(**keys, on_update=on_update) for on_update in ("reset", "project")]
    for one, path in zip(chosen, torch_paths(chosen, wide), strict=True):
        assert_same_path(path, numpy_path(one, wide), FACTORISATION, one.on_update)


def test_it_is_the_exact_subspace_where_nothing_is_left_out():
    matrix = np.random.default_rng(0).standard_normal((6, 9))  # six rows: the sketch covers them all
    exact = principal(matrix, "left", 3)
    found = iterated(matrix, np.random.default_rng(1).standard_normal((6, sketch_size(6, 3))), 3)
    np.testing.assert_allclose(found, exact, atol=FACTORISATION)


@pytest.mark.parametrize("ratio", [0.5, 0.1])
def test_the_error_falls_with_the_gap_as_the_theory_has_it(ratio):
    """Sine of the largest angle ≤ C (σ_{k+1}/σ_r)^2q, q = 2 passes; C, the tangent of a Gaussian start, is below 100 here."""
    rng = np.random.default_rng(2)
    u, v = (np.linalg.qr(rng.standard_normal((n, n)))[0] for n in (40, 50))
    sizes = np.where(np.arange(40) < 5 + OVERSAMPLING, 1.0, ratio) * np.linspace(1.2, 1.0, 40)
    sizes[5:] *= 0.8
    matrix = u * sizes @ v[:, :40].T
    found = iterated(matrix, rng.standard_normal((40, sketch_size(40, 5))), 5)
    sine = np.linalg.norm(found - u[:, :5] @ (u[:, :5].T @ found), 2)
    assert sine <= 100 * ratio**4
    np.testing.assert_allclose(found.T @ found, np.eye(5), atol=1e-12)


def test_a_zero_gradient_has_a_basis_too():
    parameter = nn.Parameter(torch.ones(12, 16))
    optimizer = Frugal([("w", parameter)], subspace="svd", projector="randomised", density=0.25)
    parameter.grad = torch.zeros(12, 16)
    optimizer.step()
    assert torch.equal(parameter.detach(), torch.ones(12, 16))


def test_a_projector_without_singular_vectors_is_one_line():
    with pytest.raises(ValueError, match=r'^Frugal: projector = "randomised"[^\n]*"svd" is allowed$'):
        Frugal([nn.Parameter(torch.ones(2, 2))], subspace="columns", projector="randomised")
