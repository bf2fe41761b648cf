"""States from elsewhere: another optimizer's, an older version's, other names, orders and shapes. Right, or one line."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

from frugal_gpu import Frugal
from tests.gpu.test_frugal_state import assert_equal_states, model, run

SUBSPACES = ("blocks", "columns", "randk", "coordinates", "svd", "random")


def trained(steps: int = 5, **options) -> tuple[nn.Module, Frugal]:
    net = model()
    optimizer = Frugal(net.named_parameters(), lr=0.03, update_gap=3, **{"subspace": "columns", "density": 0.4, **options})
    run(net, optimizer, range(steps))
    return net, optimizer


def refused(optimizer: Frugal, state: object) -> str:
    """The one line with which a state is refused; the optimizer is as it was."""
    before = copy.deepcopy(optimizer.state_dict())
    with pytest.raises(ValueError, match="Frugal: ") as caught:
        optimizer.load_state_dict(state)
    assert "\n" not in str(caught.value)
    assert_equal_states(optimizer.state_dict(), before)
    return str(caught.value)


@pytest.mark.parametrize("other", [torch.optim.AdamW, torch.optim.SGD, torch.optim.Adagrad])
def test_the_state_of_another_optimizer_is_refused(other):
    net, optimizer = trained()
    foreign = other(net.parameters(), lr=0.1)
    assert "another optimizer" in refused(optimizer, foreign.state_dict())


def test_what_is_no_state_is_refused():
    _, optimizer = trained()
    assert "param_groups" in refused(optimizer, {"weights": 1})
    assert "param_groups" in refused(optimizer, [1])


@pytest.mark.parametrize("subspace", SUBSPACES)
@pytest.mark.parametrize("stop", [5, 6])
def test_a_state_of_an_older_version_goes_on(subspace, stop):
    """The first version counted steps only, and divided them by the update gap."""
    net, optimizer = trained(stop, subspace=subspace)
    state = copy.deepcopy(optimizer.state_dict())
    for group in state["param_groups"]:
        for key in ("period", "began", "drawn"):
            del group[key]
    other = model()
    other.load_state_dict(net.state_dict())
    resumed = Frugal(other.named_parameters(), subspace="svd")
    resumed.load_state_dict(state)
    assert resumed.param_groups[0]["period"] == (stop - 1) // 3
    for each, run_by in ((net, optimizer), (other, resumed)):
        run(each, run_by, range(stop, stop + 5))
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), other.parameters(), strict=True))


def test_an_unpickled_optimizer_of_an_older_version_goes_on():
    _, optimizer = trained()
    old = optimizer.__getstate__()
    for group in old["param_groups"]:
        for key in ("period", "began", "drawn", "order"):
            del group[key]
    again = Frugal.__new__(Frugal)
    again.__setstate__(copy.deepcopy(old))
    assert again.param_groups[0]["period"] == 1
    assert again.param_groups[0]["order"] == "random"


@pytest.mark.parametrize("make", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))], ids=["deepcopy", "pickle"])
def test_a_copy_is_an_optimizer_of_copied_parameters(make):
    net, optimizer = trained()
    twin = make(optimizer)
    own = twin.param_groups[0]["params"]
    for k in range(5, 9):
        for params, each in ((list(net.parameters()), optimizer), (own, twin)):
            for x, g in zip(params, net.parameters(), strict=True):
                x.grad = torch.full_like(g, float(k))
            each.step()
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), own, strict=True))


@pytest.mark.parametrize("subspace", SUBSPACES)
def test_names_say_which_state_is_whose(subspace):
    """Parameters in another order; the selection of blocks goes by the order, so only what is in both sets is kept."""
    net, optimizer = trained(subspace=subspace, density=0.5)  # no block is larger than its window, and divided
    other = model()
    other.load_state_dict(net.state_dict())
    reordered = Frugal(sorted(other.named_parameters()), split=True)
    reordered.load_state_dict(optimizer.state_dict())
    for name, x in net.named_parameters():
        mine, theirs = optimizer.state.get(x, {}), reordered.state.get(other.get_parameter(name), {})
        if theirs or subspace != "blocks":
            assert mine.keys() == theirs.keys()
            assert all(torch.equal(torch.as_tensor(mine[key]), torch.as_tensor(theirs[key])) for key in mine)
    run(other, reordered, range(5, 6))
    if subspace != "blocks":
        run(net, optimizer, range(5, 6))
        assert all(torch.equal(x, other.get_parameter(name)) for name, x in net.named_parameters())


def test_other_names_are_refused():
    net, optimizer = trained()
    state = optimizer.state_dict()
    other = Frugal([(f"layer.{name}", x) for name, x in net.named_parameters()], split=True)
    assert "a parameter x;" in refused(other, state)


@pytest.mark.parametrize("subspace", SUBSPACES)
def test_a_state_with_names_gives_them_to_parameters_without(subspace):
    net, optimizer = trained(subspace=subspace)
    other = model()
    other.load_state_dict(net.state_dict())
    nameless = Frugal(other.parameters())
    nameless.load_state_dict(optimizer.state_dict())
    for each, run_by in ((net, optimizer), (other, nameless)):
        run(each, run_by, range(5, 10))
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("subspace", ["columns", "rows", "randk", "coordinates"])
def test_a_state_without_names_follows_its_units_to_those_that_names_select(subspace):
    net = model()
    nameless = Frugal(net.parameters(), subspace=subspace, density=0.5, state_full={"rule": "sgdm", "beta": 0.5})
    run(net, nameless, range(3))
    named = Frugal(net.named_parameters())
    named.load_state_dict(nameless.state_dict())
    for i, x in enumerate(net.parameters()):
        if x.dim() < 2:
            continue
        old, new = (each._periods.parts(each.param_groups, 0)[i] for each in (nameless, named))
        whole = [part.lift(each.state[x]["momentum"]) for part, each in ((old, nameless), (new, named))]
        both = new.lift(new.select(old.lift(torch.ones_like(nameless.state[x]["momentum"])))) != 0
        assert both.any()
        assert not both.all()
        assert torch.equal(whole[1], torch.where(both, whole[0], 0.0))


def test_other_shapes_are_refused_by_name():
    _, optimizer = trained()
    wider = nn.Module()
    for name, shape in {"x": (7,), "W": (6, 5), "V": (4, 16)}.items():
        wider.register_parameter(name, nn.Parameter(torch.ones(shape)))
    assert "exp_avg of V has shape (4, 3)" in refused(Frugal(wider.named_parameters()), optimizer.state_dict())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s["state"][1].pop("step"), ["state of W", "no step"]),
        (lambda s: s["state"].update({7: {}}), ["entry 7"]),
        (lambda s: s["param_groups"][0].update(density=2.0), ["density = 2.0"]),
        (lambda s: s["param_groups"][0]["params"].append(3), ["4 parameters", "3 are allowed"]),
        (lambda s: s["param_groups"].append(s["param_groups"][0]), ["2 groups", "1 are allowed"]),
        (lambda s: s["param_groups"][0].update(state_full="lion"), []),
    ],
)
def test_a_damaged_state_is_named(change, said):
    net, optimizer = trained()
    state = copy.deepcopy(optimizer.state_dict())
    change(state)
    if not said:  # less than what was saved is needed
        optimizer.load_state_dict(state)
        run(net, optimizer, range(5, 6))
        return
    message = refused(optimizer, state)
    assert all(part in message for part in said), message


TRAVELS = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda o: pickle.loads(pickle.dumps(o)),
    "load": lambda o: (o.load_state_dict(o.state_dict()), o)[1],
}


@pytest.mark.parametrize("travel", TRAVELS)
def test_a_group_that_is_added_later_is_arranged_as_the_first_ones(travel):
    """By the rules and treatments of the constructor, in a copy and after a load, too."""
    rules = [("slow", {"lr_scale": 0.1})]
    first, later = [(f"{block}.norm.slow", torch.nn.Parameter(torch.ones(4, 4))) for block in "ab"]
    optimizer = TRAVELS[travel](Frugal([first], lr=1.0, norms="split", biases="state_free", rules=rules))
    optimizer.add_param_group({"params": [later, ("c.up.bias", torch.nn.Parameter(torch.ones(4)))]})
    assert [(g["lr"], g["split"]) for g in optimizer.param_groups] == [(0.1, True), (1.0, "state_free"), (0.1, True)]


@pytest.mark.parametrize("travel", TRAVELS)
def test_a_copy_steps_in_backward_as_its_original(travel):
    optimizer = TRAVELS[travel](Frugal([torch.nn.Parameter(torch.ones(4, 4))], lr=0.25, density=0.0, update_in_backward=True))
    (parameter,) = optimizer.param_groups[0]["params"]
    for _ in range(2):
        parameter.sum().backward()
        assert parameter.grad is None
        optimizer.step()
    assert torch.equal(parameter, torch.full((4, 4), 0.5))
    assert optimizer.param_groups[0]["step"] == 2
