"""One suite over the registry: whatever runs a rule, an accelerator or an engine, is held to the rule's formula.

For every state-full rule × subspace × reading × ``on_update``, the state-free rules going round: the path of ``ft.optimizer``
on NumPy arrays is the formula; ``ft.step`` (trials side by side), ``ft.optimizer`` on tensors, ``Frugal`` with its backends
and ``Frugal`` without them must follow it. Rules that are added take part.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import pytest
import torch

import frugal_theory as ft
from frugal_gpu import Frugal
from frugal_gpu.optim import flags
from frugal_theory.algorithm.step import freezes
from frugal_theory.config import Algorithm, Part
from frugal_theory.config.registry import RULES, SUBSPACES
from tests.parity.problem import Model, assert_same_path, driven, loss, numpy_path, torch_paths
from tests.tolerances import FACTORISATION, ROUNDING

STEPS = 14  # three periods and a half
ALPHA, DECAY = 0.03, 0.2
PROBLEM = driven(STEPS)
SETTINGS = {
    "adamw": {"betas": [0.9, 0.97], "eps": 1e-3},
    "adagrad": {"eps": 1e-3},
    "adalayer": {"eps": 1e-3},
    "adafactor": {"eps": 1e-3},
    "adamw_early_eps": {"eps": 1e-3},
    "one_sided": {"eps": 1e-3},
    "late_sign": {"after": 3},
    "ldadam": {"rank": 2, "eps": 1e-3},
    "split": {"update_gap": 3, "density": 0.5, "state_full": "lion"},
}
"""What is set apart from the defaults: an ε that rounding is not divided by, periods that change within the run."""


class ScaledTable(Part):
    """A rule from outside: g over the running norm of the gradient, one number a part, and no accelerator."""

    rule: Literal["scaled"] = "scaled"
    decay: float = 0.8


@dataclass(frozen=True)
class Scaled:
    decay: float
    vectors: ClassVar[tuple[str, ...]] = ()
    squares: ClassVar[tuple[str, ...]] = ()
    elementwise: ClassVar[bool] = False

    def init(self, like):
        return {"norm": (like * like).sum() * 0}

    def update(self, state, g, seen=None):  # noqa: ARG002
        norm = self.decay * state["norm"] + (1 - self.decay) * (g * g).sum() ** 0.5
        return g / (norm + 0.1), {"norm": norm}


@pytest.fixture(autouse=True)
def scaled():
    """The added rule, for as long as a test takes."""
    with ft.extended():
        ft.add_rule(ScaledTable, lambda table: Scaled(table.decay))
        yield


def rules(side: str) -> list[str]:
    """Every rule of one side, the added one among them."""
    return [name for name, kind in RULES.items() if side in getattr(kind.table, "sides", (side,))] + ["scaled"]


FREE = rules("state_free")


def cases(subspace: str, full: str):
    """(free, on_update, reading) of every combination that is allowed; the state-free rules go round, two at a time.

    All of them meet AdamW and Adafactor on units and in a basis.
    """
    kind, number = SUBSPACES[subspace], 0
    for on_update, reading in itertools.product(("reset", "keep", "project"), ("reset", "decay", "hold")):
        if (kind.basis and reading != "reset") or (not kind.basis and on_update != "reset") or (full == "split" == reading):
            continue
        every = (
            full in ("adamw", "adafactor") and subspace in ("columns", "random") and (on_update, reading) == ("reset", "reset")
        )
        start = (number + rules("state_full").index(full)) % len(FREE)
        for free in FREE if every else (FREE[start], FREE[(start + 3) % len(FREE)]):
            number += 1
            by_unit = getattr(RULES[full].table, "by_unit", True)
            if (by_unit or reading != "hold") and not (free == "like_full" and reading == "decay"):
                yield free, on_update, reading


def algorithm(subspace: str, full: str, free: str, on_update: str, reading: str) -> Algorithm:
    """Densities that leave something on both sides, seeds as they come."""
    return Algorithm.model_validate(
        {
            "learning_rate": ALPHA,
            "density": 0.4,
            "update_gap": 4,
            "weight_decay": DECAY,
            "seed": 11,
            "subspace": subspace,
            "state_full": {"rule": full, **SETTINGS.get(full, {})},
            "state_free": {"rule": free, **SETTINGS.get(free, {})},
            "on_update": on_update,
            "off_set_momentum": reading,
        }
    )


def formula_path(chosen: Algorithm, as_array=np.asarray, as_numpy=np.asarray):
    """x¹, …, by ``ft.optimizer`` and the step that is the caller's."""
    rule, x, path = ft.optimizer(chosen, PROBLEM.bases), PROBLEM.start, [PROBLEM.start]
    state = rule.init({name: as_array(value) for name, value in x.items()})
    for k in range(PROBLEM.steps):
        gradients = {name: as_array(g) for name, g in PROBLEM.gradient(x, k).items()}
        updates, state = rule.update(state, gradients)
        u = {name: as_numpy(update) for name, update in updates.items()}
        still = {name for name in x if freezes(chosen) and not u[name].any()}  # what is frozen does not decay
        x = {name: value if name in still else (1 - ALPHA * DECAY) * value - ALPHA * u[name] for name, value in x.items()}
        path.append(x)
    return path


def grid():
    """Every rule with every subspace: AdamW and columns with all in `make test`.

    Of the others every second one, like the squares of a chessboard, in `make test-ecosystem`, the rest in `make test-slow`.
    """
    for (i, subspace), (j, full) in itertools.product(enumerate(SUBSPACES), enumerate(rules("state_full"))):
        often = full == "adamw" or subspace == "columns" or SUBSPACES.is_added(subspace)
        seldom = pytest.mark.slow if (i + j) % 2 else pytest.mark.ecosystem
        yield pytest.param(subspace, full, marks=[] if often else [seldom])


@pytest.mark.parametrize(("subspace", "full"), list(grid()))
def test_all_that_runs_a_rule_follows_its_formula(subspace, full, monkeypatch):
    tolerance = FACTORISATION if SUBSPACES[subspace].basis else ROUNDING
    chosen = {case: algorithm(subspace, full, *case) for case in cases(subspace, full)}
    paths = {case: formula_path(one) for case, one in chosen.items()}
    with_backends = torch_paths(list(chosen.values()), PROBLEM)
    monkeypatch.setattr(flags, "accelerated", lambda *_: None)
    without = torch_paths(list(chosen.values()), PROBLEM)
    for (case, one), fast, slow in zip(chosen.items(), with_backends, without, strict=True):
        what = (subspace, full, *case)
        assert_same_path(numpy_path(one, PROBLEM), paths[case], tolerance, ("ft.step", *what))
        tensors = formula_path(one, torch.as_tensor, lambda u: u.numpy())
        assert_same_path(tensors, paths[case], tolerance, ("ft.optimizer on tensors", *what))
        assert_same_path(fast, paths[case], tolerance, ("Frugal", *what))
        assert_same_path(slow, paths[case], tolerance, ("Frugal by formula", *what))


@pytest.mark.parametrize("full", rules("state_full"))
@pytest.mark.parametrize("subspace", ["columns", "coordinates", "blocks", "random"])
def test_trials_side_by_side_are_trials_one_by_one(subspace, full):
    chosen = algorithm(subspace, full, "like_full", "reset", "reset")
    rng, trials = np.random.default_rng(3), np.array([0, 1, 5])
    x = {name: rng.standard_normal((3, *value.shape)) for name, value in PROBLEM.start.items()}
    states = [ft.init(trials), *(ft.init(trials[t : t + 1]) for t in range(3))]
    together, alone = x, [{name: value[t : t + 1] for name, value in x.items()} for t in range(3)]
    for _ in range(9):
        g = {name: rng.standard_normal(value.shape) for name, value in x.items()}
        together, states[0] = ft.step(chosen, together, g, states[0])
        for t in range(3):
            alone[t], states[t + 1] = ft.step(chosen, alone[t], {n: v[t : t + 1] for n, v in g.items()}, states[t + 1])
    for name in x:
        np.testing.assert_allclose(together[name], np.concatenate([a[name] for a in alone]), rtol=ROUNDING, atol=ROUNDING)


def test_a_state_of_any_shape_is_saved_and_continued_bit_for_bit():
    chosen = algorithm("columns", "adafactor", "like_full", "reset", "reset")
    straight, broken = Model(PROBLEM), Model(PROBLEM)
    optimizers = [Frugal.from_config(model, chosen) for model in (straight, broken)]
    for k in range(PROBLEM.steps):
        if k == 6:
            saved = optimizers[1].state_dict()
            optimizers[1] = Frugal.from_config(broken, chosen)
            optimizers[1].load_state_dict(saved)
        for model, optimizer in zip((straight, broken), optimizers, strict=True):
            optimizer.zero_grad()
            loss(PROBLEM, [model], k).backward()
            optimizer.step()
    for name, value in straight.arrays().items():
        np.testing.assert_array_equal(value, broken.arrays()[name])


@pytest.mark.parametrize("missing", [5, 6])
@pytest.mark.parametrize("subspace", ["columns", "coordinates", "blocks", "random", "svd"])
@pytest.mark.parametrize("rule", ["sgdm", "adamw"])
def test_a_parameter_without_a_gradient_enters_a_period_by_formula_as_by_a_backend(rule, subspace, missing, monkeypatch):
    """One that has none when a period begins, or within it: its state follows its part all the same."""

    def path():
        parameter = torch.nn.Parameter(torch.ones(6, 8, dtype=torch.float64))
        other = torch.nn.Parameter(torch.ones(4, dtype=torch.float64))
        options = {"subspace": subspace, "density": 0.5, "update_gap": 5, "state_full": rule, "state_free": "sgd"}
        optimizer, generator = Frugal([("w", parameter), ("v", other)], lr=ALPHA, **options), torch.Generator().manual_seed(6)
        for step in range(STEPS):
            gradient = torch.randn(6, 8, dtype=torch.float64, generator=generator)
            parameter.grad, other.grad = None if step == missing else gradient, torch.ones_like(other)
            optimizer.step()
        return parameter.detach()

    expected = path()
    monkeypatch.setattr(flags, "accelerated", lambda *_: None)
    torch.testing.assert_close(path(), expected, rtol=FACTORISATION, atol=FACTORISATION)
