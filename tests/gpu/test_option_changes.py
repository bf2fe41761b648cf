"""Options that are changed during a run: a unit's statistics stay its own or are forgotten, and are never another's."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from frugal_gpu import Frugal
from frugal_gpu.optim.subspaces import DecayingUnits, HeldUnits, Units
from tests.gpu.test_frugal_state import assert_equal_states, model, run, through_a_file

SETTINGS = {
    "blocks": {"subspace": "blocks"},
    "columns": {"subspace": "columns"},
    "rows": {"subspace": "rows", "density": 0.6},
    "randk": {"subspace": "randk"},
    "coordinates": {"subspace": "coordinates", "density": 0.2},
    "another seed": {"subspace": "coordinates", "seed": 5},
    "set": {"subspace": "coordinates", "set": (0, 3, 11, 30)},
    "decay": {"subspace": "columns", "off_set_momentum": "decay"},
    "hold": {"subspace": "randk", "off_set_momentum": "hold"},
    "blocks decay": {"subspace": "blocks", "off_set_momentum": "decay", "order": "mirror"},
    "blocks hold": {"subspace": "blocks", "off_set_momentum": "hold"},
    "all": {"density": 1.0},
    "nothing": {"density": 0.0},
    "svd": {"subspace": "svd"},
    "random": {"subspace": "random", "density": 0.7},
}
PLAIN = {"density": 0.4, "seed": 0, "off_set_momentum": "reset", "set": None, "order": "random"}
BETA = 0.5


def lifted(optimizer: Frugal, key: str) -> dict[int, torch.Tensor]:
    """A statistic of every parameter in the parameter's own coordinates, zero where there is none; not of bases."""
    group = optimizer.param_groups[0]
    whole = {}
    for i, (x, part) in enumerate(zip(group["params"], optimizer._periods.parts(optimizer.param_groups, 0), strict=True)):
        value = optimizer.state.get(x, {}).get(key)
        if value is None or "basis" in optimizer.state[x]:
            whole[i] = torch.zeros_like(x)
        elif isinstance(part, Units) and not isinstance(part, HeldUnits | DecayingUnits):
            whole[i] = part.lift(value).reshape(x.shape)
        else:
            whole[i] = value.reshape(x.shape).clone()
    return whole


@pytest.mark.parametrize(("first", "second"), list(itertools.permutations(SETTINGS, 2)))
def test_statistics_follow_their_units_or_are_forgotten(first, second):
    """A step with zero gradients only shrinks what is there: each momentum is β times that of the same coordinate, or 0.
    Under "hold" what is off the set does not even shrink."""
    net = model()
    rule = {"rule": "sgdm", "beta": BETA}
    optimizer = Frugal(net.named_parameters(), lr=0.1, update_gap=3, state_full=rule, **{**PLAIN, **SETTINGS[first]})
    run(net, optimizer, range(5))
    before = lifted(optimizer, "momentum")
    optimizer.param_groups[0].update({**PLAIN, **SETTINGS[second]})
    for x in net.parameters():
        x.grad = torch.zeros_like(x)
    optimizer.step()
    after = lifted(optimizer, "momentum")
    followed = [bool((after[i] != 0).any()) for i in after]
    for i, old in before.items():
        kept = after[i] != 0
        shrunk, frozen = after[i] == BETA * old, (after[i] == old) & ("hold" in second)
        assert (shrunk | frozen)[kept].all()
    if {"svd", "random", "nothing"}.isdisjoint({first, second}) and {first, second} & {"all", "blocks decay"}:
        assert any(followed)  # whole parameters have something to give to, or take from, everyone


@pytest.mark.parametrize("rule", ["adamw", "adagrad"], ids=["backend", "formula"])
def test_any_change_goes_on_and_comes_back_from_a_file(rule):
    """One setting after another, in mid-period; saved before or after the change takes effect, the run goes on bit for bit."""
    net = model()
    optimizer = Frugal(net.named_parameters(), lr=0.03, update_gap=3, state_full=rule, **PLAIN)
    step = 0
    for options in SETTINGS.values():
        optimizer.param_groups[0].update({**PLAIN, **options, "update_gap": 2 + step % 3})
        for until in (step, step + 1):
            run(net, optimizer, range(step, until))
            copy = model()
            copy.load_state_dict(net.state_dict())
            resumed = Frugal(copy.named_parameters(), update_gap=7)
            resumed.load_state_dict(through_a_file(optimizer.state_dict()))
            run(copy, resumed, range(until, step + 4))
        run(net, optimizer, range(step + 1, step + 4))
        assert all(torch.equal(a, b) for a, b in zip(net.parameters(), copy.parameters(), strict=True)), options
        assert_equal_states(resumed.state_dict(), optimizer.state_dict())
        step += 4


@pytest.mark.parametrize("subspace", ["columns", "randk", "coordinates", "blocks", "random"])
def test_a_change_before_the_first_step_is_as_if_it_had_been_given(subspace):
    nets = model(), model()
    given = Frugal(nets[0].named_parameters(), subspace=subspace, density=0.6, seed=3)
    changed = Frugal(nets[1].named_parameters(), subspace="svd")
    changed.param_groups[0].update(subspace=subspace, density=0.6, seed=3)
    for net, optimizer in zip(nets, (given, changed), strict=True):
        run(net, optimizer, range(4))
    assert all(torch.equal(a, b) for a, b in zip(*(net.parameters() for net in nets), strict=True))


def test_an_update_gap_moves_the_end_of_the_present_period_only():
    """The fault: 4 → 3 in mid-run made period 1 period 2, whose units were given the momentum of others."""
    net = model()
    optimizer = Frugal(net.named_parameters(), subspace="columns", update_gap=4)
    group = optimizer.param_groups[0]
    periods = []
    for step, gap in enumerate([4] * 6 + [3] * 4 + [5] * 6 + [1] * 3):
        group["update_gap"] = gap
        run(net, optimizer, range(step, step + 1))
        periods.append(group["period"])
    assert periods == [0] * 4 + [1] * 3 + [2] * 5 + [3] * 4 + [4, 5, 6]


def test_a_change_that_cannot_be_run_is_refused_before_anything_is_touched():
    net = model()
    optimizer = Frugal(net.named_parameters(), subspace="columns")
    run(net, optimizer, range(2))
    before = [x.detach().clone() for x in net.parameters()]
    optimizer.param_groups[0]["density"] = 1.5
    with pytest.raises(ValueError, match=r"density = 1\.5"):
        run(net, optimizer, range(2, 3))
    optimizer.param_groups[0].update(density=0.25, subspace="eigen")
    with pytest.raises(ValueError, match="eigen"):
        run(net, optimizer, range(2, 3))
    assert optimizer.param_groups[0]["step"] == 2
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))


def test_a_group_that_is_refused_leaves_nothing_behind():
    first, second = nn.Parameter(torch.ones(4, 6)), nn.Parameter(torch.ones(5, 3))
    optimizer = Frugal([first], subspace="columns")
    with pytest.raises(ValueError, match="bases"):
        optimizer.add_param_group({"params": [second], "subspace": "eigen"})
    optimizer.add_param_group({"params": [second], "subspace": "rows"})
    second.grad = torch.ones_like(second)
    optimizer.step()
    assert list(optimizer.state) == [second]
    assert optimizer.state[second]["exp_avg"].shape == (1, 3)


def test_a_new_optimizer_of_old_groups_begins_at_the_beginning():
    net = model()
    old = Frugal(net.named_parameters(), subspace="columns", update_gap=2)
    run(net, old, range(5))
    group = Frugal(old.param_groups).param_groups[0]
    assert (group["step"], group["period"], group["began"], group["drawn"]) == (0, 0, 0, None)
