"""Frugal is a ``torch.optim.Optimizer`` in every habit."""

from __future__ import annotations

import copy
import itertools
import pickle

import pytest
import torch
from torch import nn

from frugal_gpu import Frugal
from tests.devices import on_every_device
from tests.families import UNIT_SUBSPACES
from tests.tolerances import BFLOAT16, FLOAT32, ROUNDING

SUBSPACES = (*UNIT_SUBSPACES, "random", "svd")
RULES = ("sgdm", "adamw", "lion")


def parameters(dtype=torch.float64, device="cpu") -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(7,), (6, 5), (4, 8)]
    return [nn.Parameter(torch.randn(s, generator=generator, dtype=torch.float64).to(device, dtype)) for s in shapes]


def objective(params) -> torch.Tensor:
    """A quadratic whose minimum is not at a grid point of any dtype."""
    return sum(
        ((x - 0.3) ** 2 * (1 + torch.arange(x.numel(), device=x.device).reshape(x.shape) / x.numel())).sum() for x in params
    )


def run(optimizer, params, steps: int) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        objective(params).backward()
        optimizer.step()


def values(params) -> list[torch.Tensor]:
    return [x.detach().clone() for x in params]


def same(left, right) -> bool:
    return all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


# --- it optimizes ----------------------------------------------------------------------------------------


@on_every_device
@pytest.mark.parametrize("free", ["signsgd", "sgd", "none"])
@pytest.mark.parametrize(
    "rule", ["adamw", *(pytest.param(rule, marks=pytest.mark.ecosystem) for rule in RULES if rule != "adamw")]
)
@pytest.mark.parametrize("subspace", SUBSPACES)
def test_every_rule_and_subspace_goes_down_the_parabola(subspace, rule, free, device):
    params = parameters(device=device)
    start = objective(params).item()
    optimizer = Frugal(params, lr=0.1, density=0.5, update_gap=5, subspace=subspace, state_full=rule, state_free=free)
    run(optimizer, params, 60)
    assert objective(params).item() < 0.05 * start


@pytest.mark.parametrize(
    "rule", ["adamw", *(pytest.param(rule, marks=pytest.mark.ecosystem) for rule in RULES if rule != "adamw")]
)
@pytest.mark.parametrize("subspace", SUBSPACES)
def test_every_rule_and_subspace_goes_down_the_rosenbrock_valley(subspace, rule):
    x = nn.Parameter(torch.tensor([[-1.2, 1.0], [0.5, -0.5]], dtype=torch.float64))

    def value() -> torch.Tensor:
        return (100 * (x[:, 1] - x[:, 0] ** 2) ** 2 + (1 - x[:, 0]) ** 2).sum()

    start = value().item()
    optimizer = Frugal([x], lr=5e-3, density=0.5, update_gap=5, subspace=subspace, state_full=rule)
    for _ in range(120):
        optimizer.zero_grad()
        value().backward()
        optimizer.step()
    assert value().item() < 0.25 * start


@on_every_device
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, FLOAT32), (torch.bfloat16, BFLOAT16)])
@pytest.mark.parametrize("subspace", SUBSPACES)
def test_shorter_floats_follow_float64(subspace, dtype, tolerance, device):
    ends = []
    for kind in (torch.float64, dtype):
        params = parameters(dtype, device)  # the start is rounded in both runs
        params = [nn.Parameter(x.detach().to(kind)) for x in params]
        keys = {"state_full": "sgdm", "state_free": "sgd", "on_update": "project", "seed": 1}
        run(Frugal(params, lr=0.05, density=0.5, update_gap=100, subspace=subspace, **keys), params, 12)
        ends.append(torch.cat([x.detach().double().flatten() for x in params]))
    assert (ends[0] - ends[1]).abs().max() <= tolerance * ends[0].abs().max()


def test_trailing_dimensions_are_flattened():
    """A convolution of shape (6, 5, 3, 2) is the matrix (6, 30)."""
    for subspace in SUBSPACES:
        kernel = nn.Parameter(torch.randn(6, 5, 3, 2, generator=torch.Generator().manual_seed(1)))
        flat = nn.Parameter(kernel.detach().reshape(6, 30).clone())
        for x in (kernel, flat):
            run(Frugal([x], lr=0.05, update_gap=3, subspace=subspace, density=0.4), [x], 8)
        assert torch.equal(kernel.detach().reshape(6, 30), flat.detach()), subspace


@pytest.mark.parametrize("subspace", SUBSPACES)
def test_odd_shapes_and_memory_layouts(subspace):
    params = [
        nn.Parameter(torch.tensor(2.0)),
        nn.Parameter(torch.zeros(0, 3)),
        nn.Parameter(torch.ones(1, 1)),
        nn.Parameter(torch.ones(5, 4).t()),
        nn.Parameter(torch.ones(2, 3, 4, 4).to(memory_format=torch.channels_last)),
    ]
    start = objective(params).item()
    run(Frugal(params, lr=0.05, subspace=subspace, update_gap=2, density=0.5), params, 9)
    assert objective(params).item() < start


# --- steps, closures, gradients --------------------------------------------------------------------------


def test_the_gradient_is_left_as_it_was():
    for subspace in SUBSPACES:
        params = parameters()
        optimizer = Frugal(params, subspace=subspace, update_gap=1, density=0.5)
        objective(params).backward()
        before = [x.grad.clone() for x in params]
        optimizer.step()
        optimizer.step()
        assert same(before, [x.grad for x in params]), subspace


def test_a_closure_is_evaluated_with_gradients_and_its_loss_returned():
    params, others = parameters(), parameters()
    optimizer, plain = Frugal(params, lr=0.1), Frugal(others, lr=0.1)
    expected = objective(others).item()

    def closure():
        optimizer.zero_grad()
        loss = objective(params)
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == expected
    run(plain, others, 1)
    assert same(params, others)
    assert optimizer.step() is None


def test_a_step_without_gradients_changes_nothing():
    params = parameters()
    optimizer = Frugal(params, update_gap=1)
    before = values(params)
    optimizer.step()
    assert same(before, params)
    assert optimizer.param_groups[0]["step"] == 0
    assert not optimizer.state


def test_a_probe_with_zero_gradients_and_zero_lr_advances_nothing():
    """It is how torch's distributed checkpoint asks an optimizer for its state."""
    params, others = parameters(), parameters()
    probed, plain = Frugal(params, lr=0.1, update_gap=2), Frugal(others, lr=0.1, update_gap=2)
    for x in params:
        x.grad = torch.zeros_like(x)
    probed.param_groups[0]["lr"] = 0.0
    probed.step()
    assert probed.param_groups[0]["step"] == 0
    probed.param_groups[0]["lr"] = 0.1
    run(probed, params, 5)
    run(plain, others, 5)
    assert same(params, others)


def test_a_warm_up_from_zero_counts_its_first_step():
    params = parameters()
    optimizer = Frugal(params, lr=0.0)
    before = values(params)
    run(optimizer, params, 1)
    assert same(before, params)
    assert optimizer.param_groups[0]["step"] == 1


@pytest.mark.parametrize("subspace", SUBSPACES)
def test_parameters_without_gradients_are_left_alone(subspace):
    """And the others do as if nothing were missing; blocks are not drawn again for it."""
    params, others = parameters(), parameters()
    keys = {"subspace": subspace, "update_gap": 3, "density": 0.5, "lr": 0.05, "weight_decay": 0.1}
    missing, plain = Frugal(params, **keys), Frugal(others, **keys)
    for _ in range(10):
        for optimizer, group in ((missing, params), (plain, others)):
            optimizer.zero_grad()
            objective(group).backward()
        params[0].grad = None
        missing.step()
        plain.step()
    assert torch.equal(params[0], parameters()[0])
    assert same(params[1:], others[1:])
    assert params[0] not in missing.state


@pytest.mark.parametrize(
    ("subspace", "reading"),
    [*itertools.product(UNIT_SUBSPACES, ["reset", "decay", "hold"]), ("random", "reset"), ("svd", "reset")],
)
def test_gradients_that_come_and_go(subspace, reading):
    """Over period boundaries too. A missing gradient is time that passes for the selection but not for the parameter."""
    params = parameters()
    optimizer = Frugal(
        params, lr=0.05, subspace=subspace, update_gap=2, density=0.5, off_set_momentum=reading, on_update="project"
    )
    start = objective(params).item()
    for k in range(45):
        optimizer.zero_grad()
        objective(params).backward()
        for i, x in enumerate(params):
            if (k // 3 + i) % 3 == 0:
                x.grad = None
        optimizer.step()
    assert optimizer.param_groups[0]["step"] == 45
    assert objective(params).item() < 0.2 * start


def test_a_block_that_leaves_while_its_gradient_is_missing_loses_its_state():
    params = parameters()
    optimizer = Frugal(params, subspace="blocks", order="ascending", density=0.1, update_gap=1)
    run(optimizer, params, 1)
    held = [x in optimizer.state for x in params]
    assert held == [True, False, False]
    optimizer.zero_grad()
    objective(params[1:]).backward()
    optimizer.step()
    assert params[0] not in optimizer.state


def test_sparse_and_complex_are_refused():
    table = nn.Embedding(4, 3, sparse=True)
    optimizer = Frugal(table.parameters())
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(RuntimeError, match="sparse"):
        optimizer.step()
    with pytest.raises(RuntimeError, match="complex"):
        Frugal([nn.Parameter(torch.ones(2, dtype=torch.complex64))])


# --- groups, schedulers, hooks, copies -------------------------------------------------------------------


def test_named_parameters_are_plain_ones_with_names_of_their_own():
    model = nn.Sequential(nn.Linear(5, 4, bias=False), nn.Linear(4, 3, bias=False))
    named = Frugal(model.named_parameters(), subspace="randk")
    assert named.param_groups[0]["param_names"] == ["0.weight", "1.weight"]
    plain = Frugal(model.parameters(), subspace="randk")
    assert "param_names" not in plain.param_groups[0]


def test_a_group_overrides_every_option_and_mixes_with_others():
    params, others = parameters(), parameters()
    groups = [
        {"params": params[:1], "split": "state_full"},
        {"params": params[1:2], "state_full": {"rule": "lion", "betas": [0.8, 0.9]}, "subspace": "columns", "lr": 0.02},
        {"params": params[2:], "state_full": "sgdm", "density": 0.0, "state_free": {"rule": "sgd", "lr_scale": 0.5}},
    ]
    run(Frugal(groups, lr=0.01), params, 6)
    alone = [
        Frugal(others[:1], lr=0.01, density=1.0),
        Frugal([("1", others[1])], state_full="lion", betas=(0.8, 0.9), subspace="columns", lr=0.02),
        torch.optim.SGD(others[2:], lr=0.005),
    ]
    for optimizer, param in zip(alone, others, strict=True):
        run(optimizer, [param], 6)
    torch.testing.assert_close(params, others, rtol=ROUNDING, atol=ROUNDING)  # κα is one factor here and two there


def test_a_group_that_changes_the_rule_has_that_rules_betas():
    params = parameters()
    optimizer = Frugal([{"params": params[:1]}, {"params": params[1:], "state_full": "lion"}])
    assert [tuple(group["betas"]) for group in optimizer.param_groups] == [(0.9, 0.999), (0.9, 0.99)]
    assert Frugal(params, state_full="lion").param_groups[0]["betas"] == (0.9, 0.99)
    assert Frugal(params, state_full="lion", betas=(0.5, 0.6)).param_groups[0]["betas"] == (0.5, 0.6)


def test_blocks_of_two_groups_are_drawn_apart():
    params = [nn.Parameter(torch.ones(3, 3)) for _ in range(16)]
    optimizer = Frugal([{"params": params[:8]}, {"params": params[8:]}], density=0.5)
    run(optimizer, params, 1)
    first, second = ([x in optimizer.state for x in half] for half in (params[:8], params[8:]))
    assert sum(first) == sum(second) == 4
    assert first != second


def test_a_group_can_be_added_later():
    params = parameters()
    optimizer = Frugal(params[:2], lr=0.02, update_gap=3)
    run(optimizer, params[:2], 4)
    optimizer.add_param_group({"params": params[2:], "density": 1.0})
    start = objective(params).item()
    run(optimizer, params, 20)
    assert objective(params).item() < start
    with pytest.raises(ValueError, match="density = 2"):
        optimizer.add_param_group({"params": [nn.Parameter(torch.ones(2))], "density": 2.0})
    assert len(optimizer.param_groups) == 2


def test_lr_may_be_a_tensor():
    params, others = parameters(), parameters()
    run(Frugal(params, lr=torch.tensor(0.05, dtype=torch.float64)), params, 5)
    run(Frugal(others, lr=0.05), others, 5)
    assert same(params, others)


@pytest.mark.parametrize("rule", RULES)
def test_one_cycle_moves_lr_and_the_first_beta(rule):
    params = parameters()
    optimizer = Frugal(params, lr=0.01, state_full=rule)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.05, total_steps=40)
    seen = set()
    start = objective(params).item()
    for _ in range(39):
        run(optimizer, params, 1)
        scheduler.step()
        seen.add((round(optimizer.param_groups[0]["lr"], 6), round(optimizer.param_groups[0]["betas"][0], 6)))
    assert len(seen) > 30
    assert objective(params).item() < start


def test_hooks_run():
    params = parameters()
    optimizer = Frugal(params)
    calls = []
    optimizer.register_step_pre_hook(lambda *_: calls.append("pre"))
    optimizer.register_step_post_hook(lambda *_: calls.append("post"))
    run(optimizer, params, 1)
    assert calls == ["pre", "post"]


@pytest.mark.parametrize("subspace", SUBSPACES)
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
def test_copies_continue_on_their_own(copied, subspace):
    params = parameters()
    optimizer = Frugal(params, lr=0.05, update_gap=3, subspace=subspace)
    run(optimizer, params, 4)
    others, copied_optimizer = copied((params, optimizer))
    run(optimizer, params, 5)
    run(copied_optimizer, others, 5)
    assert same(params, others)


# --- selection -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("subspace", SUBSPACES)
def test_runs_repeat_whatever_the_global_random_state(subspace):
    ends = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        params = parameters()
        run(Frugal(params, lr=0.05, update_gap=2, subspace=subspace), params, 7)
        ends.append(values(params))
    assert same(*ends)


@pytest.mark.parametrize("subspace", ["coordinates", "blocks", "columns", "rows", "randk", "random"])
def test_the_seed_and_nothing_else_draws(subspace):
    ends = []
    for seed in (1, 2):
        params = parameters()
        run(Frugal(params, lr=0.05, update_gap=2, subspace=subspace, seed=seed, density=0.4), params, 7)
        ends.append(values(params))
    assert not same(*ends)
