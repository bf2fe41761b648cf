"""Short dtypes: statistics and arithmetic in float32, stochastic rounding of weights, and torch's flags."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from frugal_gpu import Frugal
from frugal_gpu.optim.placement import stochastically_rounded
from tests.families import BASIS_SUBSPACES, UNIT_SUBSPACES
from tests.gpu.test_frugal_state import GAP, OPTIONS, assert_equal_states, make, model, run, through_a_file
from tests.tolerances import BFLOAT16, STANDARD_ERRORS

SUBSPACES = [name for name in (*UNIT_SUBSPACES, *BASIS_SUBSPACES) if name != "eigen"]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("rule", ["adamw", "adagrad"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_short_parameters_step_in_float32(options, rule, dtype):
    """One step is that of a float32 twin, rounded once; statistics are the twin's, bit for bit."""
    short, exact = model(dtype), model(dtype).float()
    optimizers = [make(net, state_full=rule, **options) for net in (short, exact)]
    for net, optimizer in zip((short, exact), optimizers, strict=True):
        for k, x in enumerate(net.parameters()):
            x.grad = torch.randn(x.shape, generator=torch.Generator().manual_seed(k)).to(dtype).to(x.dtype)
        optimizer.step()
    for x, twin in zip(short.parameters(), exact.parameters(), strict=True):
        assert torch.equal(x, twin.to(dtype))
        state, other = (optimizer.state.get(each, {}) for optimizer, each in zip(optimizers, (x, twin), strict=True))
        for key, value in (state.get("full") or state).items():
            assert torch.equal(torch.as_tensor(value), torch.as_tensor((other.get("full") or other)[key]))


def test_a_row_of_zero_gradients_in_float16_stays():
    """The fault: ε = 1e-8 is 0 in float16, and 0/0 NaN within three steps."""
    x = nn.Parameter(torch.ones(4, 6, dtype=torch.float16))
    optimizer = Frugal([x], lr=0.01, density=1.0)
    for _ in range(5):
        x.grad = torch.ones_like(x)
        x.grad[1] = 0
        optimizer.step()
    assert x.isfinite().all()
    assert (x[1] == 1).all()
    assert (x[0] < 1).all()


@pytest.mark.parametrize("subspace", SUBSPACES)
def test_a_float32_gradient_of_a_bfloat16_parameter(subspace):
    x = nn.Parameter(torch.ones(6, 8, dtype=torch.bfloat16))
    x.grad_dtype = torch.float32
    twin = nn.Parameter(torch.ones(6, 8))
    g = torch.randn(6, 8, generator=torch.Generator().manual_seed(1))
    for each in (x, twin):
        each.grad = g.clone()
        Frugal([("w", each)], lr=0.1, density=0.5, subspace=subspace).step()
    assert torch.equal(x, twin.to(torch.bfloat16))


@pytest.mark.parametrize("subspace", SUBSPACES)
@pytest.mark.parametrize("state_dtype", [torch.bfloat16, "float16", "float64"])
def test_statistics_have_the_dtype_that_is_asked_for(subspace, state_dtype):
    net, plain = model(), model()
    optimizer = Frugal(net.named_parameters(), lr=0.03, density=0.5, update_gap=3, subspace=subspace, state_dtype=state_dtype)
    run(net, optimizer, range(8))
    run(plain, Frugal(plain.named_parameters(), lr=0.03, density=0.5, update_gap=3, subspace=subspace), range(8))
    dtype = getattr(torch, str(state_dtype).removeprefix("torch."))
    assert optimizer.param_groups[0]["state_dtype"] == str(dtype).removeprefix("torch.")
    for state in optimizer.state.values():
        assert all(state[key].dtype == dtype for key in ("exp_avg", "exp_avg_sq"))
    for x, y in zip(net.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(x, y, rtol=0, atol=BFLOAT16)


@pytest.mark.parametrize("subspace", SUBSPACES)
@pytest.mark.parametrize("rule", ["adamw", "adagrad"])
def test_a_short_state_comes_back_bit_for_bit(subspace, rule):
    """What is exact in it, counts and bases, is not shortened on the way: of float32 parameters in mid-period."""
    nets = straight, resumed = model(), model()
    first, other = (make(net, subspace=subspace, state_full=rule, state_dtype="bfloat16") for net in nets)
    run(straight, first, range(GAP + 2))
    saved = through_a_file({"model": straight.state_dict(), "optimizer": first.state_dict()})
    resumed.load_state_dict(saved["model"])
    other.load_state_dict(saved["optimizer"])
    assert_equal_states(other.state_dict(), first.state_dict())
    for net, each in zip(nets, (first, other), strict=True):
        run(net, each, range(GAP + 2, 3 * GAP))
    assert all(torch.equal(a, b) for a, b in zip(straight.parameters(), resumed.parameters(), strict=True))


def test_an_unknown_dtype_is_refused():
    with pytest.raises(ValueError, match="state_dtype = 'int8': allowed: None, 'float64'"):
        Frugal([nn.Parameter(torch.ones(2))], state_dtype="int8")


# --- stochastic rounding ---------------------------------------------------------------------------------


def test_stochastic_rounding_takes_a_neighbour_and_is_right_on_average():
    values = torch.tensor([1.0, -1.0, 1.001, -1.001, 3.14159, 1e-30, -7e10, 0.0])
    draws = torch.stack([stochastically_rounded(values, key).float() for key in range(1000)])
    down, up = (draws.amin(0), draws.amax(0))
    spacing = up - down
    assert (spacing <= values.abs() * 2**-7).all()
    assert (down <= values).all()
    assert (values <= up).all()
    share = torch.where(spacing > 0, (values - down) / spacing.clamp(min=1e-38), 0.0)
    error = (share * (1 - share) / len(draws)).sqrt() * spacing
    assert ((draws.double().mean(0) - values).abs() <= STANDARD_ERRORS * error + 1e-38 + values.abs() * 1e-7).all()


def test_what_bfloat16_can_hold_and_what_is_not_finite_is_left():
    values = torch.tensor([1.0, -0.5, float("inf"), float("-inf"), float("nan"), 0.0, torch.finfo(torch.bfloat16).max])
    for key in range(50):
        rounded = stochastically_rounded(values, key).float()
        torch.testing.assert_close(rounded, values, rtol=0, atol=0, equal_nan=True)


def test_a_stretch_is_rounded_as_the_whole_is():
    """A shard takes the draws of its place in the whole."""
    values = torch.randn(37, generator=torch.Generator().manual_seed(0))
    whole = stochastically_rounded(values, 5)
    for start, end in ((0, 9), (9, 22), (22, 37), (3, 4)):
        assert torch.equal(stochastically_rounded(values[start:end], 5, start), whole[start:end])


@pytest.mark.parametrize("subspace", ["blocks", "columns", "randk"])
def test_small_steps_from_one_move_with_stochastic_rounding_only(subspace):
    """The fault: bfloat16 weights at 1.0 never move by steps of 1e-3, as its neighbour below is 4e-3 away."""
    moved = {}
    for stochastic in (False, True):
        x = nn.Parameter(torch.ones(64, 64, dtype=torch.bfloat16))
        optimizer = Frugal([("w", x)], lr=1e-3, subspace=subspace, state_free="signsgd", stochastic_rounding=stochastic)
        for k in range(20):
            x.grad = torch.ones_like(x) + torch.rand(x.shape, generator=torch.Generator().manual_seed(k)).to(x)
            optimizer.step()
        moved[stochastic] = float(1 - x.detach().float().mean())
    assert moved[False] == 0
    assert abs(moved[True] - 20e-3) < STANDARD_ERRORS * 20e-3 / 10


@pytest.mark.parametrize("options", [{"subspace": "blocks"}, {"subspace": "randk"}, {"subspace": "svd"}], ids=str)
def test_a_run_with_stochastic_rounding_is_resumed_bit_for_bit(options):
    straight, resumed = model(torch.bfloat16), model(torch.bfloat16)
    optimizer = make(straight, stochastic_rounding=True, **options)
    run(straight, optimizer, range(7))
    resumed.load_state_dict(straight.state_dict())
    other = make(resumed, **options)
    other.load_state_dict(optimizer.state_dict())
    for net, each in ((straight, optimizer), (resumed, other)):
        run(net, each, range(7, 14))
    assert all(torch.equal(a, b) for a, b in zip(straight.parameters(), resumed.parameters(), strict=True))


# --- torch's flags ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["adamw", "adagrad"])
@pytest.mark.parametrize("subspace", SUBSPACES)
def test_maximize_steps_along_the_gradient(subspace, rule):
    up, down = model(), model()
    options = {"lr": 0.03, "density": 0.5, "update_gap": 3, "subspace": subspace, "state_full": rule, "weight_decay": 0.1}
    first = Frugal(up.named_parameters(), maximize=True, **options)
    second = Frugal(down.named_parameters(), **options)
    for k in range(7):
        for net, sign in ((up, -1.0), (down, 1.0)):
            for i, x in enumerate(net.parameters()):
                x.grad = sign * torch.randn(x.shape, generator=torch.Generator().manual_seed(10 * k + i))
        before = [x.grad.clone() for x in up.parameters()]
        first.step()
        second.step()
        assert all(torch.equal(g, x.grad) for g, x in zip(before, up.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(up.parameters(), down.parameters(), strict=True))


@pytest.mark.parametrize(
    ("flags", "error", "said"),
    [
        ({"foreach": True, "fused": True}, RuntimeError, "cannot be `True` together"),
        ({"differentiable": True}, ValueError, "differentiable = True"),
        ({"capturable": True}, ValueError, "capturable = True"),
        ({"maximize": 1}, ValueError, "maximize = 1: allowed: True, False"),
        ({"fused": "yes"}, ValueError, "fused = 'yes': allowed: True, False, None"),
        ({"fused": True, "backend": "foreach"}, ValueError, "one of them is allowed"),
    ],
)
def test_flags_that_cannot_be_honoured_are_refused(flags, error, said):
    with pytest.raises(error, match="Frugal: ") as caught:
        Frugal([nn.Parameter(torch.ones(3))], **flags)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_foreach_chooses_the_backend():
    nets = model(), model()
    for net, flags in zip(nets, ({"foreach": True}, {"backend": "foreach"}), strict=True):
        run(net, Frugal(net.named_parameters(), subspace="columns", **flags), range(4))
    assert all(torch.equal(a, b) for a, b in zip(*(net.parameters() for net in nets), strict=True))


def test_statistics_in_short_floats_follow_their_units_by_formulas_too():
    """Over the ends of two periods: the formula's nested states, and the flat ones of lists of tensors."""
    ends = []
    for backend in ("formula", "foreach"):
        generator, weight = torch.Generator().manual_seed(0), nn.Parameter(torch.ones(6, 8))
        options = {"subspace": "columns", "density": 0.5, "update_gap": 2, "state_dtype": "bfloat16"}
        optimizer = Frugal([("w.weight", weight)], backend=backend, **options)
        for _ in range(5):
            weight.grad = torch.randn(6, 8, generator=generator)
            optimizer.step()
        ends.append(weight.detach())
    torch.testing.assert_close(*ends, rtol=BFLOAT16, atol=0)
