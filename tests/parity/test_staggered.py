"""refresh = "staggered": each basis at a step of its own, the same in both engines and in the three ways to step."""

from __future__ import annotations

import copy
from collections import Counter

import numpy as np
import pytest
import torch

import frugal_theory as ft
from frugal_gpu import Frugal
from frugal_theory.algorithm.staggering import offset, offsets, own_period
from tests.parity.problem import assert_same_path, driven, numpy_path, torch_path
from tests.tolerances import FACTORISATION

SHAPES = {"x": (7,), "W": (6, 5), "V": (4, 8), "S": (5, 5)}
PROBLEM = driven(23, shapes=SHAPES)
GAP = 5


def algorithm(**keys: object) -> ft.Algorithm:
    table = {"learning_rate": 0.03, "update_gap": GAP, "seed": 2, "subspace": "svd", "density": 0.4, "refresh": "staggered"}
    return ft.parse({"name": "one", "algorithm": {**table, **keys}}).algorithm


@pytest.mark.parametrize("on_update", ["reset", "keep", "project"])
@pytest.mark.parametrize("rule", ["adamw", "sgdm", "adalayer"])
@pytest.mark.parametrize("subspace", ["svd", "random", "gaussian"])
def test_the_engines_agree(subspace, rule, on_update):
    if (subspace, on_update) == ("gaussian", "project"):
        on_update = "keep"
    chosen = algorithm(subspace=subspace, state_full=rule, on_update=on_update, weight_decay=0.1)
    assert_same_path(torch_path(chosen, PROBLEM), numpy_path(chosen, PROBLEM), FACTORISATION)


@pytest.mark.parametrize("subspace", ["svd", "random"])
def test_the_rule_is_the_step(subspace):
    """``ft.optimizer`` and ``ft.step`` by themselves."""
    chosen = algorithm(subspace=subspace)
    rule = ft.optimizer(chosen)
    x = y = PROBLEM.start
    state, own = None, rule.init(x)
    for k in range(PROBLEM.steps):
        gradient = PROBLEM.gradient(x, k)
        x, state = ft.step(chosen, x, gradient, state)
        u, own = rule.update(own, PROBLEM.gradient(y, k))
        y = {name: value - 0.03 * u[name] for name, value in y.items()}
        for name in x:
            np.testing.assert_allclose(x[name], y[name], rtol=FACTORISATION, atol=FACTORISATION)


def refreshed(optimizer: Frugal, parameters: dict[str, torch.nn.Parameter], steps: int) -> list[set[str]]:
    """Whose basis is another one after every step."""
    found, before = [], {}
    for k in range(steps):
        torch.manual_seed(k)
        for parameter in parameters.values():
            parameter.grad = torch.randn_like(parameter)
        optimizer.step()
        now = {name: optimizer.state[x]["basis"].clone() for name, x in parameters.items()}
        found.append({name for name in now if name not in before or not torch.equal(now[name], before[name])})
        before = now
    return found


@pytest.mark.parametrize(("count", "gap"), [(3, 6), (10, 4), (4, 4), (2, 7), (1, 3)])
def test_refreshes_are_spread_over_a_period(count, gap):
    """All in the first step; then each once a period, and in no step more than its share."""
    parameters = {f"w{i}": torch.nn.Parameter(torch.zeros(6, 4)) for i in range(count)}
    optimizer = Frugal(parameters.items(), subspace="random", refresh="staggered", update_gap=gap, density=0.5)
    found = refreshed(optimizer, parameters, 3 * gap + 1)
    assert found[0] == set(parameters)
    for begin in range(1, 2 * gap + 1):
        window = Counter(name for names in found[begin : begin + gap] for name in names)
        assert window == Counter(parameters.keys())
    assert max(map(len, found[1:])) <= -(-count // gap)
    for i, name in enumerate(parameters):
        assert [k for k in range(1, 3 * gap + 1) if name in found[k]] == [
            k for k in range(1, 3 * gap + 1) if k % gap == i * gap // count
        ]


def test_periods_and_offsets():
    assert [offset(i, 3, 200) for i in range(3)] == [0, 66, 133]
    assert [own_period(k // 4, k % 4, 0) for k in range(9)] == [0, 0, 0, 0, 1, 1, 1, 1, 2]
    assert [own_period(k // 4, k % 4, 3) for k in range(9)] == [0, 0, 0, 1, 1, 1, 1, 2, 2]
    assert offsets(algorithm(), SHAPES) == {"W": 0, "V": 1, "S": 3}  # the vector is state-full as a whole
    assert offsets(algorithm(refresh="together"), SHAPES) == offsets(algorithm(density=1.0), SHAPES) == {}


@pytest.mark.parametrize("backend", ["auto", "formula"])
@pytest.mark.parametrize("stop", [1, 4, 5, 8])
def test_a_resumed_run_is_the_straight_one(stop, backend):
    def made():
        torch.manual_seed(1)
        weights = {f"w{i}": torch.nn.Parameter(torch.randn(6, 4)) for i in range(3)}
        return weights, Frugal(weights.items(), subspace="svd", refresh="staggered", update_gap=5, density=0.5, backend=backend)

    def run(weights, optimizer, first, last):
        for k in range(first, last):
            torch.manual_seed(k)
            for weight in weights.values():
                weight.grad = torch.randn_like(weight)
            optimizer.step()

    straight, one = made()
    run(straight, one, 0, 13)
    before, two = made()
    run(before, two, 0, stop)
    after, three = made()
    for name, weight in after.items():
        weight.data.copy_(before[name].data)
    three.load_state_dict(copy.deepcopy(two.state_dict()))
    run(after, three, stop, 13)
    for name in straight:
        assert torch.equal(straight[name], after[name])


def test_one_optimizer_a_parameter_is_the_same():
    torch.manual_seed(1)
    start = {f"w{i}": torch.randn(6, 4) for i in range(3)}
    one, many = ({name: torch.nn.Parameter(x.clone()) for name, x in start.items()} for _ in range(2))
    options = {"subspace": "svd", "refresh": "staggered", "update_gap": 5, "density": 0.5}
    together, apart = Frugal(one.items(), **options), Frugal.per_parameter(many.items(), **options)
    for k in range(12):
        for name in one:
            torch.manual_seed(k)
            one[name].grad, many[name].grad = 2 * [torch.randn(6, 4) * (1 + len(name))]
        together.step()
        for optimizer in apart.values():
            optimizer.step()
    for name in one:
        assert torch.equal(one[name], many[name])


def test_a_change_of_the_gap_takes_nothing_back():
    weights = {f"w{i}": torch.nn.Parameter(torch.zeros(6, 4)) for i in range(2)}
    optimizer = Frugal(weights.items(), subspace="random", refresh="staggered", update_gap=8, density=0.5)
    refreshed(optimizer, weights, 6)  # w1 has begun its period at step 4
    optimizer.param_groups[0]["update_gap"] = 20  # and would now begin it at step 10
    assert all(names <= {"w0", "w1"} and not names for names in refreshed(optimizer, weights, 8)[1:])
    assert [optimizer.state[x]["period"] for x in weights.values()] == [0, 1]


@pytest.mark.parametrize("subspace", ["columns", "blocks", "eigen"])
def test_others_are_refused(subspace):
    with pytest.raises(ft.ExperimentError, match=r'refresh = "staggered" .* subspace is "'):
        algorithm(subspace=subspace)
    with pytest.raises(ValueError, match=r'refresh = "staggered" .* subspace is "'):
        Frugal([torch.nn.Parameter(torch.ones(3, 3))], subspace=subspace, refresh="staggered")


def test_no_theorem_speaks_of_it():
    """Where it makes a difference: there is no law of the set."""
    from frugal_theory.algorithm.run_lengths import run_lengths

    shapes = {"W": (6, 5), "V": (4, 8)}
    assert run_lengths(algorithm(subspace="random"), shapes) is None
    assert run_lengths(algorithm(subspace="random", refresh="together"), shapes).law == "turning"
    assert run_lengths(algorithm(subspace="random"), {"W": (6, 5)}).law == "turning"
    keys = {"subspace": "random", "density": 0.5, "update_gap": 4, "learning_rate": 0.05, "refresh": "staggered"}
    rules = {"state_full": "sgdm", "state_free": "sgd"}
    problem = {"problem": {"kind": "quadratic", "dimension": 8, "blocks": 4}, "simulation": {"steps": 8, "trials": 4}}
    experiment = ft.parse({"name": "one", "algorithm": {**keys, **rules}, **problem})
    with pytest.raises(ft.ExperimentError, match='refresh = "staggered" changes bases one after another'):
        ft.exact(experiment)
    (verdict,) = [verdict for verdict in ft.verify(experiment) if verdict.theorem == "run_length"]
    assert "not applicable" in str(verdict)
    assert 'refresh = "staggered"' in str(verdict)
