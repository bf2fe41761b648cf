"""``experts``: a parameter of three dimensions is as many matrices in both engines, each with a draw or a basis of its own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import frugal_theory as ft
from frugal_gpu import Frugal
from frugal_theory.config import Algorithm
from tests.tolerances import FACTORISATION, ROUNDING

SHAPES = {"wide": (3, 4, 7), "tall": (2, 6, 4), "square": (3, 5, 5), "W": (5, 6), "b": (4,)}
STEPS, GAP, RATE = 9, 4, 0.03

UNITS = [{"subspace": s} for s in ("columns", "rows", "randk", "coordinates")]
READINGS = [{**units, "off_set_momentum": r} for units in UNITS for r in ("decay", "hold")]
BASES = [{"subspace": s, "on_update": u} for s in ("svd", "random", "gaussian") for u in ("reset", "keep", "project")]
FURTHER = [
    {"subspace": "svd", "projector": "randomised"},
    {"subspace": "svd", "side": "reverse"},
    {"subspace": "svd", "rank": 2, "state_full": "lion"},
    {"subspace": "random", "refresh": "staggered"},
    {"subspace": "coordinates", "sampling": "fixed_size", "state_full": "sgdm"},
    {"subspace": "rows", "state_full": "adagrad"},
    {"subspace": "svd", "state_full": "adamw_early_eps", "on_update": "project"},
    {"subspace": "columns", "state_full": "nesterov", "off_set_momentum": "decay", "weight_decay": 0.1},
]
CASES = [*UNITS, *READINGS, *BASES, *FURTHER]


def algorithm_of(keys: dict, **more) -> Algorithm:
    density = {} if "rank" in keys else {"density": 0.4}
    table = {
        "update_gap": GAP,
        "learning_rate": RATE,
        "seed": 5,
        "experts": True,
        "state_free": {"rule": "signsgd", "lr_scale": 0.5},
    }
    return Algorithm.model_validate({**table, **density, **keys, **more})


def gradients(dtype: type = np.float64) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(3)
    return [{name: rng.standard_normal(shape).astype(dtype) for name, shape in SHAPES.items()} for _ in range(STEPS)]


def start() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(4)
    return {name: rng.standard_normal(shape) for name, shape in SHAPES.items()}


def cut(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every expert as a parameter by itself, called NAME.e."""
    return {
        **{name: x for name, x in arrays.items() if x.ndim < 3},
        **{f"{name}.{e}": own for name, x in arrays.items() if x.ndim == 3 for e, own in enumerate(x)},
    }


def numpy_path(algorithm: Algorithm, x: dict, pushes: list[dict]) -> list[dict[str, np.ndarray]]:
    state, path = ft.algorithm.init(), []
    for push in pushes:
        x, state = ft.step(algorithm, x, push, state)
        path.append(x)
    return path


def parameters(x: dict[str, np.ndarray], dtype: torch.dtype = torch.float64) -> dict[str, nn.Parameter]:
    return {name: nn.Parameter(torch.tensor(value, dtype=dtype)) for name, value in x.items()}


def torch_path(optimizer: Frugal, named: dict[str, nn.Parameter], pushes: list[dict]) -> list[dict[str, np.ndarray]]:
    path = []
    for push in pushes:
        for name, parameter in named.items():
            parameter.grad = torch.tensor(push[name], dtype=parameter.dtype)
        optimizer.step()
        path.append({name: parameter.detach().numpy().copy() for name, parameter in named.items()})
    return path


def made(algorithm: Algorithm, named: dict[str, nn.Parameter], **practice) -> Frugal:
    from frugal_gpu.optim.groups import options

    groups = [{"params": list(named.items()), "split": True}]
    return Frugal(groups, lr=RATE, **options(algorithm), **practice)


def assert_same(left: list[dict], right: list[dict], tolerance: float) -> None:
    for a, b in zip(left, right, strict=True):
        for name in b:
            np.testing.assert_allclose(a[name], b[name], rtol=0, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("keys", CASES, ids=str)
def test_both_engines_take_the_same_steps(keys):
    algorithm, named = algorithm_of(keys), parameters(start())
    assert_same(
        torch_path(made(algorithm, named), named, gradients()), numpy_path(algorithm, start(), gradients()), FACTORISATION
    )


@pytest.mark.parametrize("keys", [case for case in CASES if case.get("refresh") != "staggered"], ids=str)
def test_a_parameter_is_its_experts_each_by_itself(keys):
    """The reference: E parameters of two dimensions with the experts' names, in both engines."""
    algorithm = algorithm_of(keys)
    apart = numpy_path(algorithm.model_copy(update={"experts": False}), cut(start()), [cut(push) for push in gradients()])
    together = [cut(x) for x in numpy_path(algorithm, start(), gradients())]
    assert_same(together, apart, ROUNDING)
    named = parameters(start())
    assert_same([cut(x) for x in torch_path(made(algorithm, named), named, gradients())], apart, FACTORISATION)
