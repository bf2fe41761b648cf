"""Keys beside the rules: side, rank, split_lr_scale, layers and orders, the same to both engines and as they are described."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import frugal_theory as ft
from frugal_gpu import Frugal
from frugal_theory.algorithm.selection import circle, layers
from frugal_theory.algorithm.subspaces import choose_parts, directions
from tests.parity.problem import assert_same_path, driven, numpy_path, torch_path
from tests.tolerances import FACTORISATION, ROUNDING

SHAPES = {"x": (7,), "W": (6, 5), "V": (4, 8), "S": (5, 5)}
PROBLEM = driven(14, shapes=SHAPES)


def algorithm(**keys: object) -> ft.Algorithm:
    return ft.parse({"name": "one", "algorithm": {"learning_rate": 0.03, "update_gap": 4, "seed": 2, **keys}}).algorithm


@pytest.mark.parametrize("side", ["std", "reverse", "left", "right"])
@pytest.mark.parametrize("subspace", ["svd", "random", "gaussian"])
def test_the_engines_agree_on_the_side_and_the_rank(subspace, side):
    chosen = algorithm(subspace=subspace, side=side, rank=3, weight_decay=0.2, split_lr_scale=0.3)
    assert_same_path(torch_path(chosen, PROBLEM), numpy_path(chosen, PROBLEM), FACTORISATION)


@pytest.mark.parametrize(
    ("side", "expected"),
    [
        ("std", {"W": ("right", 5, 3), "V": ("left", 4, 3), "S": ("right", 5, 3), "x": ("vector", 7, 3)}),
        ("reverse", {"W": ("left", 6, 3), "V": ("right", 8, 3), "S": ("left", 5, 3), "x": ("vector", 7, 3)}),
        ("left", {"W": ("left", 6, 3), "V": ("left", 4, 3), "S": ("left", 5, 3), "x": ("vector", 7, 3)}),
        ("right", {"W": ("right", 5, 3), "V": ("right", 8, 3), "S": ("right", 5, 3), "x": ("vector", 7, 3)}),
    ],
)
def test_the_side_of_a_basis(side, expected):
    """A square matrix has its basis on the right, as in the authors' code."""
    chosen = algorithm(subspace="random", side=side, rank=3)
    assert {name: directions(chosen, shape) for name, shape in SHAPES.items()} == expected
    parts = choose_parts(chosen, SHAPES, 0, {name: np.zeros(shape) for name, shape in SHAPES.items()})
    for name, (where, length, rank) in expected.items():
        assert (parts[name].side, parts[name].columns.shape) == (where, (length, rank))


def test_a_rank_beyond_the_shorter_side_is_that_side():
    assert directions(algorithm(subspace="svd", rank=100), (4, 8)) == ("left", 4, 4)
    assert directions(algorithm(subspace="svd", side="reverse", density=1.0 - 1e-9), (4, 8)) == ("right", 8, 4)


@pytest.mark.parametrize("free", ["sgd", "none"])
@pytest.mark.parametrize("path", [numpy_path, torch_path])
def test_split_lr_scale_is_a_learning_rate_without_the_decay(path, free):
    """(1 − αλ)x − αs u is the step with α ← αs, λ ← λ/s."""
    scaled = algorithm(subspace="columns", state_free=free, weight_decay=0.2, split_lr_scale=0.25)
    plain = algorithm(subspace="columns", state_free=free, weight_decay=0.8, learning_rate=0.03 * 0.25)
    assert_same_path(path(scaled, PROBLEM), path(plain, PROBLEM), ROUNDING)


def test_what_is_not_split_keeps_its_learning_rate():
    weights = [torch.nn.Parameter(torch.zeros(2)) for _ in range(2)]
    groups = [{"params": [("a", weights[0])]}, {"params": [("b", weights[1])], "split": "state_full"}]
    optimizer = Frugal(groups, lr=0.5, density=0.0, state_free="signsgd", state_full="lion", split_lr_scale=0.1)
    for weight in weights:
        weight.grad = torch.ones(2)
    optimizer.step()
    assert [weight[0].item() for weight in weights] == pytest.approx([-0.05, -0.5])


def test_theorems_see_the_step_that_is_taken():
    keys = {"density": 0.0, "state_full": "sgdm", "state_free": "sgd"}
    tables = {"problem": {"kind": "quadratic", "dimension": 3}, "verify": {"theorems": ["sgd"]}, "simulation": {"steps": 20}}
    scaled, plain = (
        ft.parse({"name": "one", "algorithm": {**keys, **own}, **tables})
        for own in ({"learning_rate": 0.2, "split_lr_scale": 0.5}, {"learning_rate": 0.1})
    )
    assert ft.setting_of(scaled).alpha == ft.setting_of(plain).alpha == 0.1
    np.testing.assert_allclose(ft.exact(scaled).mean, ft.exact(plain).mean, rtol=ROUNDING)
    np.testing.assert_allclose(ft.simulate(scaled).mean, ft.simulate(plain).mean, rtol=ROUNDING)
    assert ft.verify(scaled)[0].measured == pytest.approx(ft.verify(plain)[0].measured, rel=ROUNDING)


def test_blocks_of_a_layer_go_together():
    names = ["embed.weight", "model.layers.0.q.weight", "model.layers.0.k.weight", "model.layers.11.q.weight", "w2.weight", "7"]
    assert layers(names).tolist() == [0, 1, 1, 2, 3, 4]
    shapes = {f"layers.{i}.{name}": (2, 3) for i in range(5) for name in "abc"}
    for order in ("random", "ascending", "inward"):
        chosen = algorithm(subspace="blocks", blocks="layer", order=order, density=0.2)
        for period in range(10):
            inside = [bool(part.inside) for part in choose_parts(chosen, shapes, period, {}).values()]
            assert sum(inside) == 3
            assert len({i // 3 for i, each in enumerate(inside) if each}) == 1


def test_inward_takes_both_ends_in_turn():
    sizes = np.ones(6, dtype=np.int64)
    sets = [set(np.flatnonzero(circle(0, period, sizes, 1 / 3, "inward")).tolist()) for period in range(4)]
    assert sets == [{0, 5}, {1, 4}, {2, 3}, {0, 5}]


@pytest.mark.parametrize("reading", ["reset", "decay"])
def test_a_frozen_block_does_not_decay(reading):
    names = {"a": (4,), "b": (2, 2)}
    chosen = algorithm(subspace="blocks", state_free="none", weight_decay=0.5, density=0.5, off_set_momentum=reading)
    problem = driven(8, shapes=names)
    for path in (numpy_path(chosen, problem), torch_path(chosen, problem)):
        for k in range(problem.steps):
            inside = {name: bool(part.inside) for name, part in choose_parts(chosen, names, k // 4, {}).items()}
            assert not all(inside.values())
            for name in names:
                assert np.array_equal(path[k][name], path[k + 1][name]) != inside[name]


def test_rank_and_density_are_not_both_given():
    with pytest.raises(ft.ExperimentError, match=r"rank = 3 and density = 0\.5 are both given"):
        algorithm(subspace="svd", rank=3, density=0.5)
    with pytest.raises(ValueError, match=r"rank = 3 and density = 0\.5 are both given"):
        Frugal([torch.nn.Parameter(torch.ones(3, 3))], subspace="svd", rank=3, density=0.5)
    with pytest.raises(ft.ExperimentError, match='subspace is "columns"; "random", "svd", "eigen", "gaussian" are allowed'):
        algorithm(subspace="columns", rank=3)


def test_bias_corrections_are_computed_in_full_precision():
    """In float32, 1 − .999 is off by 5e-5 of itself; units count apart, so their counts are tensors."""
    weights, expected = torch.nn.Parameter(torch.zeros(6, 4)), torch.nn.Parameter(torch.zeros(6, 4, dtype=torch.float64))
    steps = [Frugal([("w", w)], lr=1.0, density=0.5, subspace="columns", state_free="none") for w in (weights, expected)]
    for k in range(3):
        for weight, optimizer in zip((weights, expected), steps, strict=True):
            weight.grad = torch.full((6, 4), 0.1 * (k + 1), dtype=weight.dtype)
            optimizer.step()
    torch.testing.assert_close(weights.double(), expected, rtol=5e-7, atol=0)
