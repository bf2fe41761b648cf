"""``experts``: a parameter of three dimensions is as many matrices in both engines, each with a draw or a basis of its own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import frugal_theory as ft
from frugal_gpu import Frugal
from frugal_gpu.optim.groups import options
from frugal_theory.algorithm.selection import selection_key, subset
from frugal_theory.algorithm.subspaces import check_experts
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
BY_MATRIX = [  # rules that look at more than one coordinate see one expert
    {"subspace": "svd", "state_free": "like_full"},
    {"subspace": "gaussian", "state_free": "like_full", "state_full": "adamw_early_eps", "rank": 2},
    {"subspace": "gaussian", "state_free": {"rule": "like_full", "by": "tensor"}, "side": "reverse", "on_update": "project"},
    {"subspace": "svd", "state_full": "adafactor", "state_free": "one_sided", "on_update": "project"},
    {"subspace": "svd", "state_full": "adafactor", "state_free": "one_sided", "rank": 5},
    {"subspace": "random", "state_full": "muon", "on_update": "keep"},
    {"subspace": "random", "state_full": "adalayer", "density": 1.0},
    {"subspace": "svd", "state_free": "one_sided", "density": 0.0},
]
CASES = [*UNITS, *READINGS, *BASES, *FURTHER, *BY_MATRIX]


def algorithm_of(keys: dict, **more) -> Algorithm:
    density = {} if keys.keys() & {"rank", "density"} else {"density": 0.4}
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


def by_hand(x: np.ndarray, pushes: list[np.ndarray], density: float, columns: bool) -> np.ndarray:
    """AdamW on its share of every expert, half a sign step on the rest; a loop over experts that knows of no other code.

    ``columns``: drawn ones, as :func:`subset` draws them for "w.e"; else leading left singular vectors, with their statistics
    begun anew. For wide matrices.
    """
    x, beta_1, beta_2 = x.copy(), 0.9, 0.999
    for e in range(len(x)):
        (m, n), held = x[e].shape, {}
        for k, push in enumerate(pushes):
            g = push[e]
            if k % GAP == 0 and columns:
                size = max(1, int(density * n + 0.5))
                inside = subset(selection_key(5, f"w.{e}", k // GAP), n, size)
                held = {int(j): held.get(int(j), (np.zeros(m), np.zeros(m), 0)) for j in inside.ravel()}
            elif k % GAP == 0:
                q = np.linalg.svd(g)[0][:, : max(1, int(density * m + 0.5))]
                held = {j: (np.zeros(n), np.zeros(n), 0) for j in range(q.shape[1])}
            u = 0.5 * np.sign(g if columns else g - q @ (q.T @ g))
            for j, (mean, square, steps) in held.items():
                own, t = g[:, j] if columns else q[:, j] @ g, steps + 1
                m1, m2 = beta_1 * mean + (1 - beta_1) * own, beta_2 * square + (1 - beta_2) * own**2
                held[j] = m1, m2, t
                moved = m1 / (1 - beta_1**t) / (np.sqrt(m2 / (1 - beta_2**t)) + 1e-8)
                if columns:
                    u[:, j] = moved
                else:
                    u = u + np.outer(q[:, j], moved)
            x[e] -= RATE * u
    return x


@pytest.mark.parametrize("subspace", ["columns", "svd"])
def test_it_is_a_loop_over_experts(subspace):
    rng = np.random.default_rng(6)
    x, pushes = rng.standard_normal((3, 5, 7)), [rng.standard_normal((3, 5, 7)) for _ in range(3 * GAP - 1)]
    expected = by_hand(x, pushes, 0.4, subspace == "columns")
    algorithm, named = algorithm_of({"subspace": subspace}), parameters({"w": x})
    steps = [{"w": push} for push in pushes]
    np.testing.assert_allclose(numpy_path(algorithm, {"w": x}, steps)[-1]["w"], expected, rtol=0, atol=FACTORISATION)
    found = torch_path(made(algorithm, named), named, steps)
    np.testing.assert_allclose(found[-1]["w"], expected, rtol=0, atol=FACTORISATION)


@pytest.mark.parametrize("subspace", ["svd", "random"])
def test_what_is_rounding_is_seen_expert_by_expert(subspace):
    """One expert's gradient is far below the rounding of another's, and still no rounding of its own."""
    sizes = np.array([1, 1e-18, 1e-9])[:, None, None]
    small = [{name: g * sizes[: len(g)] if g.ndim == 3 else g for name, g in push.items()} for push in gradients()]
    algorithm, named = algorithm_of({"subspace": subspace, "state_full": "sgdm"}), parameters(start())
    apart = numpy_path(algorithm.model_copy(update={"experts": False}), cut(start()), [cut(push) for push in small])
    assert_same([cut(x) for x in numpy_path(algorithm, start(), small)], apart, FACTORISATION)
    assert_same([cut(x) for x in torch_path(made(algorithm, named), named, small)], apart, FACTORISATION)


@pytest.mark.parametrize("keys", [*UNITS[::3], *BASES[::4], *FURTHER[3:], *BY_MATRIX[::2]], ids=str)
def test_the_rule_as_a_value_takes_the_same_steps(keys):
    algorithm, x = algorithm_of(keys), start()
    rule = ft.optimizer(algorithm)
    state, path = rule.init(x), []
    for push in gradients():
        u, state = rule.update(state, push)
        x = {name: value - RATE * (u[name] + algorithm.weight_decay * value) for name, value in x.items()}
        path.append(x)
    assert_same(path, numpy_path(algorithm, start(), gradients()), FACTORISATION)


@pytest.mark.parametrize("keys", [UNITS[0], UNITS[3], BASES[1], BASES[4], *BY_MATRIX[:4]], ids=str)
def test_trials_side_by_side_are_those_of_single_runs(keys):
    """Trial 0 is a single run; each trial draws for itself, and with a basis of its own."""
    algorithm, trials = algorithm_of(keys), np.arange(3)
    state = ft.algorithm.init(trials)
    x = {name: np.stack([value] * 3) for name, value in start().items()}
    for push in gradients():
        x, state = ft.step(algorithm, x, {name: np.stack([g] * 3) for name, g in push.items()}, state)
    alone = numpy_path(algorithm, start(), gradients())[-1]
    for name in ("wide", "tall", "square"):
        np.testing.assert_allclose(x[name][0], alone[name], rtol=0, atol=ROUNDING)
        assert keys["subspace"] == "svd" or not np.allclose(x[name][1], x[name][0])


def test_a_problem_with_such_a_parameter_is_one_line():
    algorithm = algorithm_of({"subspace": "columns"})
    with pytest.raises(
        ValueError, match=r'^algorithm.experts = true: the parameter "w" of a problem has shape \(2, 3, 4\)[^\n]*$'
    ):
        check_experts(algorithm, {"b": (4,), "w": (2, 3, 4)})
    check_experts(algorithm, {"b": (4,), "w": (3, 4)})
