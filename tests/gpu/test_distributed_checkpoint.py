"""torch.distributed.checkpoint in one process: a fresh optimizer gets the state of another back, bit for bit, at any step."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_optimizer_state_dict, set_optimizer_state_dict

import frugal_theory as ft
from frugal_gpu import Frugal
from frugal_gpu.optim.saving import asked_by_a_checkpoint
from tests.gpu.test_frugal_state import GAP, OPTIONS, assert_equal_entries, assert_equal_states, make, model, run

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
STOPS = (1, GAP + 2, 3 * GAP)


def through_a_checkpoint(net, optimizer, fresh_net, fresh, folder, options=None) -> None:
    dcp.save({"optimizer": get_optimizer_state_dict(net, optimizer, options=options)}, checkpoint_id=folder)
    template = {"optimizer": get_optimizer_state_dict(fresh_net, fresh, options=options)}
    dcp.load(template, checkpoint_id=folder)
    set_optimizer_state_dict(fresh_net, fresh, template["optimizer"], options=options)


def assert_same_run(pairs, start: int) -> None:
    for net, optimizer in pairs:
        run(net, optimizer, range(start, start + GAP + 2))
    (net, optimizer), (other, resumed) = pairs
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), other.parameters(), strict=True))
    if resumed.state.keys():
        assert_equal_states(resumed.state_dict(), optimizer.state_dict())


@pytest.mark.parametrize(("number", "name"), list(enumerate(OPTIONS)), ids=OPTIONS)
def test_a_fresh_optimizer_gets_the_state_back(number, name, tmp_path):
    """Rules and stops go round, so that each option meets one of each."""
    rule, stop = [*itertools.product(("adamw", "lion", "sgdm", "adagrad"), STOPS)][number % 12]
    net, other = model(), model()
    optimizer = make(net, state_full=rule, **OPTIONS[name])
    run(net, optimizer, range(stop))
    other.load_state_dict(net.state_dict())
    fresh = make(other, state_full=rule, **OPTIONS[name])
    through_a_checkpoint(net, optimizer, other, fresh, tmp_path)
    assert_same_run([(net, optimizer), (other, fresh)], stop)


@pytest.mark.parametrize(
    "options", [StateDictOptions(strict=True), StateDictOptions(full_state_dict=True)], ids=["strict", "full"]
)
@pytest.mark.parametrize("subspace", ["blocks", "coordinates", "svd"])
def test_under_every_option(subspace, options, tmp_path):
    net, other = model(torch.bfloat16), model(torch.bfloat16)
    keys = {"subspace": subspace, "stochastic_rounding": True}
    optimizer = make(net, **keys)
    run(net, optimizer, range(2 * GAP - 1))
    other.load_state_dict(net.state_dict())
    fresh = make(other, **keys)
    through_a_checkpoint(net, optimizer, other, fresh, tmp_path, options)
    assert_same_run([(net, optimizer), (other, fresh)], 2 * GAP - 1)


@pytest.mark.parametrize("subspace", ["columns", "blocks"])
def test_asking_changes_nothing_and_the_ordinary_state_stays_compact(subspace):
    net, other = model(), model()
    asked, plain = (make(each, subspace=subspace) for each in (net, other))
    for k in range(8):
        get_optimizer_state_dict(net, asked)
        run(net, asked, range(k, k + 1))
        for x in net.parameters():
            x.grad = None
        run(other, plain, range(k, k + 1))
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), other.parameters(), strict=True))
    assert_equal_states(asked.state_dict(), plain.state_dict())
    held = sum(state["exp_avg"].numel() for state in asked.state_dict()["state"].values())
    assert held < sum(x.numel() for x in net.parameters())
    assert not asked_by_a_checkpoint()


def test_a_flattened_state_is_refused_rather_than_lost():
    net, other = model(), model()
    optimizer = make(net, subspace="columns")
    run(net, optimizer, range(3))
    options = StateDictOptions(flatten_optimizer_state_dict=True)
    for x in net.parameters():
        x.grad = None
    state = get_optimizer_state_dict(net, optimizer, options=options)
    with pytest.raises(ValueError, match="state of x is empty"):
        set_optimizer_state_dict(other, make(other, subspace="columns"), state, options=options)


def test_what_has_no_whole_form_is_refused_by_name():
    net = model()
    optimizer = Frugal(net.named_parameters(), state_full={"rule": "split"}, subspace="columns")
    run(net, optimizer, range(2))
    with pytest.raises(ValueError, match="the state of x under split and signsgd has no whole form"):
        get_optimizer_state_dict(net, optimizer)


@pytest.mark.parametrize("keys", [{"subspace": "svd", "backend": "formula"}, {"system": "fira", "rank": 3}], ids=str)
def test_the_counts_of_a_basis_by_formula_have_one_shape_at_all_steps(keys, tmp_path):
    """A fresh optimizer has counted nothing, and its counts are those of one that has."""
    net, other = model(), model()
    algorithm = ft.parse({"name": "x", "algorithm": {k: v for k, v in keys.items() if k != "backend"}}).algorithm
    backend = keys.get("backend", "auto")
    optimizer, fresh = (Frugal.from_config(each, algorithm, lr=0.01, backend=backend) for each in (net, other))
    run(net, optimizer, range(4))
    other.load_state_dict(net.state_dict())
    through_a_checkpoint(net, optimizer, other, fresh, tmp_path)
    assert_same_run([(net, optimizer), (other, fresh)], 4)


class Wide(torch.nn.Module):
    """Matrices of which a quarter is long enough for eight bits, and one that is too short as a whole."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.layers = torch.nn.ModuleList([torch.nn.Linear(160, 128), torch.nn.Linear(128, 160, bias=False)])
        self.short = torch.nn.Linear(12, 12)


def codes_of(state) -> dict:
    """What of a state is in eight bits, nested as it is."""
    found = {k: v if "codes" in v else codes_of(v) for k, v in state.items() if isinstance(v, dict)}
    return {k: v for k, v in found.items() if v}


@pytest.mark.parametrize(
    "keys",
    [
        {"subspace": "columns"},
        {"subspace": "blocks", "order": "ascending", "backend": "formula"},
        {"subspace": "rows", "off_set_momentum": "decay", "state_full": "lion"},
        {"subspace": "svd"},
        {"subspace": "random", "backend": "formula"},
        {"subspace": "columns", "state_full": "adafactor"},
    ],
    ids=str,
)
def test_eight_bits_come_back_code_by_code(keys, tmp_path):
    """In mid-period; a rounding to codes anew would change scales of negative extremes."""
    stop = GAP + 2
    net, other = Wide(), Wide()
    options = {"lr": 0.01, "update_gap": GAP, "state_dtype": "8bit", **keys}
    optimizer, fresh = (Frugal(each.named_parameters(), **options) for each in (net, other))
    run(net, optimizer, range(stop))
    other.load_state_dict(net.state_dict())
    through_a_checkpoint(net, optimizer, other, fresh, tmp_path / str(stop))
    before, after = ([codes_of(o.state[x]) for x in n.parameters()] for n, o in ((net, optimizer), (other, fresh)))
    assert any(before)
    assert_equal_entries(dict(enumerate(after)), dict(enumerate(before)), str(stop))
    assert_same_run([(net, optimizer), (other, fresh)], stop)
