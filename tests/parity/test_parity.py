"""The two engines run the same algorithm: from one experiment, the same path, over every option that both have."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

import frugal_theory as ft
from frugal_gpu import Frugal
from tests.devices import on_every_device
from tests.families import BASIS_SUBSPACES
from tests.parity.problem import Model, assert_same_path, driven, loss, numpy_path, torch_path, torch_paths
from tests.tolerances import FACTORISATION, ROUNDING

STEPS = 42  # six periods
LONG = 140  # twenty: every order of blocks goes there and back more than once
RULES = {
    "sgdm": '{ rule = "sgdm", beta = 0.9 }',
    "adamw": '{ rule = "adamw", betas = [0.9, 0.97], eps = 1e-3 }',
    "lion": '{ rule = "lion", betas = [0.9, 0.99] }',
}
UNITS = {
    "coordinates": 'subspace = "coordinates"',
    "coordinates fixed size": 'subspace = "coordinates"\nsampling = "fixed_size"',
    "coordinates set": 'subspace = "coordinates"\nset = [0, 3, 7, 8, 30, 36, 37, 68]',
    "blocks": 'subspace = "blocks"',
    "blocks ascending": 'subspace = "blocks"\norder = "ascending"',
    "blocks descending": 'subspace = "blocks"\norder = "descending"',
    "blocks mirror": 'subspace = "blocks"\norder = "mirror"',
    "blocks inward": 'subspace = "blocks"\norder = "inward"',
    "columns": 'subspace = "columns"',
    "rows": 'subspace = "rows"',
    "randk": 'subspace = "randk"',
}
SUBSPACES = (*UNITS, *BASIS_SUBSPACES)
FREE = ("signsgd", "sgd", "none")
ON_UPDATE = ("reset", "keep", "project")
READINGS = ("reset", "decay", "hold")
PROBLEM, LONG_PROBLEM = driven(STEPS), driven(LONG)


def experiment(subspace: str, rule: str, free: str, **keys: object) -> ft.Experiment:
    text = f"""
        name = "parity"
        seed = 11
        [algorithm]
        learning_rate = 0.03
        density = 0.4
        update_gap = 7
        weight_decay = 0.2
        state_full = {RULES[rule]}
        state_free = {{ rule = "{free}", lr_scale = 0.6 }}
        {UNITS.get(subspace, f'subspace = "{subspace}"')}
    """
    return ft.parse(text, "parity.toml", {f"algorithm.{key}": value for key, value in keys.items()})


def grid():
    """Every subspace × rule, and of what goes with units a third in `make test` and the others in `make test-slow`."""
    for subspace, rule in itertools.product(SUBSPACES, RULES):
        for third in range(3 if subspace in UNITS else 1):
            yield pytest.param(subspace, rule, third, marks=[pytest.mark.slow] if third else [])


def cases(subspace: str, rule: str, third: int) -> list[tuple[str, str, str]]:
    """(on_update, reading, free): every on_update × reading that the subspace allows, and a state-free rule with each.

    A Latin square: for units each third has every on_update, every reading and every state-free rule once, the three rules
    together every reading with every state-free rule, and three subspaces every rule with each of these pairs.
    No unit knows on_update (test_metamorphoses).
    """
    own = SUBSPACES.index(subspace) + list(RULES).index(rule) + third
    every = itertools.product(enumerate(ON_UPDATE), enumerate(READINGS if subspace in UNITS else ("reset",)))
    return [(u, r, FREE[(a + b) % 3]) for (a, u), (b, r) in every if subspace not in UNITS or (a - b - own) % 3 == 0]


@on_every_device
@pytest.mark.parametrize(("subspace", "rule", "third"), list(grid()))
def test_the_engines_agree(subspace, rule, third, device):
    chosen = cases(subspace, rule, third)
    algorithms = [experiment(subspace, rule, free, on_update=u, off_set_momentum=r).algorithm for u, r, free in chosen]
    tolerance = FACTORISATION if subspace in BASIS_SUBSPACES else ROUNDING
    problem = LONG_PROBLEM if subspace.startswith("blocks") and rule == "adamw" else PROBLEM
    for case, algorithm, path in zip(chosen, algorithms, torch_paths(algorithms, problem, device), strict=True):
        assert_same_path(path, numpy_path(algorithm, problem), tolerance, case)


def test_the_grid_is_whole():
    """Of each subspace with units: every reading with every state-free rule in `make test`, all of on_update with the slow."""
    for subspace in UNITS:
        often = [case for rule in RULES for case in cases(subspace, rule, 0)]
        assert {(r, free) for _, r, free in often} == set(itertools.product(READINGS, FREE))
        assert {(u, free) for u, _, free in often} == set(itertools.product(ON_UPDATE, FREE))
        for rule in RULES:
            every = [case[:2] for third in range(3) for case in cases(subspace, rule, third)]
            assert sorted(every) == sorted(itertools.product(ON_UPDATE, READINGS))
    triples = {(rule, r, free) for subspace in UNITS for rule in RULES for _, r, free in cases(subspace, rule, 0)}
    assert triples == set(itertools.product(RULES, READINGS, FREE))


@pytest.mark.parametrize("reading", ["decay", "hold"])
@pytest.mark.parametrize("subspace", BASIS_SUBSPACES)
def test_readings_that_need_units_are_refused_by_both(subspace, reading):
    with pytest.raises(ft.ExperimentError, match=f'off_set_momentum = "{reading}"'):
        experiment(subspace, "sgdm", "sgd", off_set_momentum=reading)
    with pytest.raises(ValueError, match=f'off_set_momentum = "{reading}"'):
        Frugal([torch.nn.Parameter(torch.ones(3, 3))], subspace=subspace, off_set_momentum=reading)


@pytest.mark.parametrize("subspace", SUBSPACES)
@pytest.mark.parametrize("density", [0.0, 0.11, 0.9, 1.0])
def test_the_engines_agree_at_other_densities(subspace, density):
    keys = {} if subspace == "coordinates set" else {"density": density}
    algorithm = experiment(subspace, "adamw", "signsgd", update_gap=3, **keys).algorithm
    problem = driven(30, seed=5)
    tolerance = FACTORISATION if subspace in BASIS_SUBSPACES else ROUNDING
    assert_same_path(torch_path(algorithm, problem), numpy_path(algorithm, problem), tolerance)


@on_every_device
@pytest.mark.parametrize("size", [0.0, 1e-11])
def test_the_engines_agree_on_what_is_rounding(size, device):
    """The gradient lies in the svd subspace but for a residual of this size: 0 must not become a step, 1e-11 must."""
    rng = np.random.default_rng(3)
    shapes = {"W": (6, 5), "V": (4, 8)}
    problem = driven(20, seed=1, shapes=shapes)
    inside = {
        "W": rng.uniform(1, 2, (20, 6, 1)) * rng.uniform(1, 2, (1, 5)),
        "V": rng.uniform(1, 2, (4, 1)) * rng.uniform(1, 2, (20, 1, 8)),
    }
    flat = {name: 0 * value for name, value in problem.left.items()}
    problem = replace(problem, left=flat, push={name: inside[name] + size * problem.push[name] for name in shapes})
    algorithm = experiment("svd", "sgdm", "signsgd", density=0.2, weight_decay=0.0, **{"state_free.lr_scale": 1.0}).algorithm
    path = torch_path(algorithm, problem, device)
    assert_same_path(path, numpy_path(algorithm, problem), FACTORISATION)
    without = torch_path(experiment("svd", "sgdm", "none", density=0.2, weight_decay=0.0).algorithm, problem, device)
    moved = max(np.abs(path[-1][name] - without[-1][name]).max() for name in shapes)
    assert (moved == 0) if size == 0 else (moved > 0.03)


def test_a_scheduler_is_a_learning_rate_by_step():
    algorithm = experiment("blocks", "adamw", "signsgd").algorithm
    problem = driven(40)
    model = Model(problem)
    optimizer = Frugal.from_config(model, algorithm)
    factor = lambda k: (1 + k) / 10 if k < 10 else 0.9**k  # noqa: E731
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    path = [model.arrays()]
    for k in range(problem.steps):
        optimizer.zero_grad()
        loss(problem, [model], k).backward()
        optimizer.step()
        scheduler.step()
        path.append(model.arrays())
    assert_same_path(path, numpy_path(algorithm, problem, lambda k: 0.03 * factor(k)), ROUNDING)


def test_the_seed_of_the_experiment_moves_the_selection():
    problem = driven(8)
    paths = [torch_path(experiment("randk", "sgdm", "sgd", seed=seed).algorithm, problem) for seed in (0, 1)]
    assert not np.array_equal(paths[0][-1]["W"], paths[1][-1]["W"])
