"""What torch brings along: learning-rate schedulers, loss scaling, averages of weights, compiled steps, its optimizer tests."""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler as schedulers
from torch.optim import swa_utils

from frugal_gpu import Frugal
from tests.tolerances import ROUNDING

pytestmark = pytest.mark.ecosystem

STEPS = 12
SUBSPACES = ("blocks", "columns", "rows", "randk", "random", "svd")


def parameters(dtype: torch.dtype = torch.float64) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(1)
    return [nn.Parameter(torch.randn(shape, generator=generator, dtype=dtype)) for shape in ((6, 8), (8, 4), (5,))]


def gradients(params: list[nn.Parameter], step: int) -> None:
    generator = torch.Generator().manual_seed(100 + step)
    for x in params:
        x.grad = torch.randn(x.shape, generator=generator, dtype=x.dtype)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 12), nn.BatchNorm1d(12), nn.Tanh(), nn.Linear(12, 3))


def batch(step: int) -> torch.Tensor:
    return torch.randn(16, 6, generator=torch.Generator().manual_seed(step))


ARGUMENTS: dict[str, Callable[[Any], Any]] = {
    "LambdaLR": lambda o: schedulers.LambdaLR(o, lambda t: 0.9**t),
    "MultiplicativeLR": lambda o: schedulers.MultiplicativeLR(o, lambda _: 0.9),
    "StepLR": lambda o: schedulers.StepLR(o, 3),
    "MultiStepLR": lambda o: schedulers.MultiStepLR(o, [2, 5]),
    "ConstantLR": lambda o: schedulers.ConstantLR(o, total_iters=4),
    "LinearLR": lambda o: schedulers.LinearLR(o, total_iters=4),
    "ExponentialLR": lambda o: schedulers.ExponentialLR(o, 0.9),
    "CosineAnnealingLR": lambda o: schedulers.CosineAnnealingLR(o, STEPS),
    "ReduceLROnPlateau": lambda o: schedulers.ReduceLROnPlateau(o, patience=1),
    "CyclicLR": lambda o: schedulers.CyclicLR(o, 1e-3, 1e-2, step_size_up=3),
    "CosineAnnealingWarmRestarts": lambda o: schedulers.CosineAnnealingWarmRestarts(o, 4),
    "OneCycleLR": lambda o: schedulers.OneCycleLR(o, 1e-2, total_steps=STEPS + 1),
    "PolynomialLR": lambda o: schedulers.PolynomialLR(o, STEPS),
    "SequentialLR": lambda o: schedulers.SequentialLR(
        o, [schedulers.LinearLR(o, total_iters=4), schedulers.ExponentialLR(o, 0.9)], milestones=[4]
    ),
    "ChainedScheduler": lambda o: schedulers.ChainedScheduler([schedulers.LinearLR(o), schedulers.ExponentialLR(o, 0.9)]),
    "SWALR": lambda o: swa_utils.SWALR(o, 1e-3, anneal_epochs=4),
}


def advance(scheduler: Any) -> None:
    scheduler.step(*([1.0] if isinstance(scheduler, schedulers.ReduceLROnPlateau) else []))


def test_no_scheduler_of_torch_is_forgotten():
    found = {
        name
        for module in (schedulers, swa_utils)
        for name, kind in vars(module).items()
        if inspect.isclass(kind) and issubclass(kind, (schedulers.LRScheduler, schedulers.ReduceLROnPlateau))
    }
    assert found - {"LRScheduler", "_LRScheduler"} <= set(ARGUMENTS)


@pytest.mark.parametrize("tensor", [False, True], ids=["float", "tensor"])
@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_scheduler_moves_the_whole_of_it_as_it_moves_adamw(name, tensor):
    """At ρ = 1 the same scheduler on torch's AdamW is the reference, its moving β₁ included."""
    ends = []
    for kind, options in ((Frugal, {"density": 1.0}), (torch.optim.AdamW, {"foreach": False})):
        params = parameters()
        lr = torch.tensor(1e-2, dtype=torch.float64) if tensor else 1e-2
        optimizer = kind(params, lr=lr, weight_decay=0.1, **options)
        scheduler = ARGUMENTS[name](optimizer)
        rates = set()
        for step in range(STEPS):
            gradients(params, step)
            rates.add(float(optimizer.param_groups[0]["lr"]))
            optimizer.step()
            advance(scheduler)
        assert len(rates) > 1
        ends.append([x.detach() for x in params])
    torch.testing.assert_close(*ends, rtol=ROUNDING, atol=ROUNDING)


@pytest.mark.parametrize("name", ["OneCycleLR", "CyclicLR", "CosineAnnealingLR"])
def test_a_scheduler_moves_sgdm_and_the_state_free_part(name):
    """The rates and momenta are those that the scheduler gives torch's SGD; the equations are written out."""
    params, expected = parameters(), [x.detach().clone() for x in parameters()]
    groups = [{"params": params[:1], "density": 1.0}, {"params": params[1:], "density": 0.0}]
    optimizer = Frugal(groups, lr=1e-2, state_full="sgdm", beta=0.9, state_free="signsgd")
    twin = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1e-2, momentum=0.9)
    both = ARGUMENTS[name](optimizer), ARGUMENTS[name](twin)
    average = torch.zeros_like(expected[0])
    for step in range(STEPS):
        gradients(params, step)
        lr, beta = twin.param_groups[0]["lr"], twin.param_groups[0]["momentum"]
        average = beta * average + (1 - beta) * params[0].grad
        expected[0] -= lr * average
        for x, given in zip(expected[1:], params[1:], strict=True):
            x.sub_(lr * given.grad.sign())
        optimizer.step()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the twin takes no steps
            for scheduler in both:
                scheduler.step()
    torch.testing.assert_close([x.detach() for x in params], expected, rtol=ROUNDING, atol=ROUNDING)


@pytest.mark.parametrize("name", ["OneCycleLR", "CyclicLR", "SequentialLR"])
@pytest.mark.parametrize("subspace", ["blocks", "columns"])
def test_a_schedule_is_resumed(name, subspace):
    """The optimizer and its scheduler, saved after five steps and loaded into new ones, go on bit for bit."""

    def start() -> tuple[list[nn.Parameter], Frugal, Any]:
        params = parameters()
        optimizer = Frugal(params, lr=1e-2, subspace=subspace, density=0.5, update_gap=3)
        return params, optimizer, ARGUMENTS[name](optimizer)

    params, optimizer, scheduler = start()
    for step in range(STEPS):
        if step == 5:
            saved = copy.deepcopy((params, optimizer.state_dict(), scheduler.state_dict()))
        gradients(params, step)
        optimizer.step()
        scheduler.step()
    again, optimizer, scheduler = start()
    for x, value in zip(again, saved[0], strict=True):
        x.data.copy_(value.data)
    optimizer.load_state_dict(saved[1])
    scheduler.load_state_dict(saved[2])
    for step in range(5, STEPS):
        gradients(again, step)
        optimizer.step()
        scheduler.step()
    assert all(map(torch.equal, params, again))


@pytest.mark.parametrize("subspace", SUBSPACES)
def test_a_scaled_loss_takes_the_same_steps_and_skips_the_infinite_one(subspace):
    """Scales are powers of two, so nothing is rounded; the step with an infinite gradient does not happen, nor count."""
    ends = []
    for scaled in (False, True):
        params = parameters(torch.float32)
        optimizer = Frugal(params, lr=1e-2, subspace=subspace, density=0.5, update_gap=2)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=2, enabled=scaled)
        for step in range(6):
            if step == 3 and not scaled:
                continue
            optimizer.zero_grad()
            weights = [torch.randn(x.shape, generator=torch.Generator().manual_seed(step)) for x in params]
            loss = sum((w * x).sum() for w, x in zip(weights, params, strict=True))
            scaler.scale(loss * (float("inf") if step == 3 else 1.0)).backward()
            scaler.unscale_(optimizer)
            scaler.step(optimizer)
            scaler.update()
        assert optimizer.param_groups[0]["step"] == 5
        ends.append([x.detach() for x in params])
    assert all(map(torch.equal, *ends))


def test_a_scaler_refuses_updates_in_backward():
    """Their gradients are spent, scaled, before it can look at them: torch's scaler says so."""
    params = parameters(torch.float32)
    optimizer = Frugal(params, lr=1e-2, update_in_backward=True)
    scaler = torch.amp.GradScaler("cpu")
    scaler.scale(sum(x.sum() for x in params)).backward()
    with pytest.raises(AssertionError, match="No inf checks were recorded"):
        scaler.step(optimizer)


@pytest.mark.parametrize("subspace", ["blocks", "columns"])
def test_averages_of_weights(subspace):
    """EMA and SWA by torch's own classes: the average is that of the weights as they were, and training is not touched."""
    model, plain = network(), network()
    ema = swa_utils.AveragedModel(model, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.9))
    expected: list[torch.Tensor] = []
    for trained in (model, plain):
        optimizer = Frugal(trained, lr=1e-2, subspace=subspace, density=0.5, update_gap=2)
        for step in range(5):
            optimizer.zero_grad()
            trained(batch(step)).square().mean().backward()
            optimizer.step()
            if trained is model:
                ema.update_parameters(model)
                now = [x.detach().clone() for x in model.parameters()]
                expected = [e + (x - e) * (1 - 0.9) for e, x in zip(expected, now, strict=True)] if expected else now
    swa_utils.update_bn([batch(9)], ema)
    torch.testing.assert_close([x.detach() for x in ema.module.parameters()], expected)
    assert all(map(torch.equal, model.parameters(), plain.parameters()))


@pytest.mark.parametrize("subspace", ["blocks", "columns", "random"])
def test_a_compiled_step_under_a_schedule(subspace):
    """With the moving numbers of OneCycle; the graph breaks once for us, and once where torch's scheduler wraps a step."""
    counters, ends = torch._dynamo.utils.counters, []
    for compiled in (False, True):
        params = parameters(torch.float32)
        optimizer = Frugal(params, lr=1e-2, subspace=subspace, density=0.5, update_gap=2)
        scheduler = ARGUMENTS["OneCycleLR"](optimizer)
        torch._dynamo.reset()
        counters.clear()
        step = torch.compile(optimizer.step, backend="aot_eager") if compiled else optimizer.step
        for number in range(6):
            gradients(params, number)
            step()
            scheduler.step()
        ends.append([x.detach() for x in params])
    assert len(counters["graph_break"]) <= 2
    assert all(map(torch.equal, *ends))


def test_an_optimizer_inside_a_copied_training_state():
    """deepcopy of (model, optimizer, scheduler) as one: the copy goes on alone, and as the original does."""
    model = network()
    optimizer = Frugal(model, lr=1e-2, subspace="columns", density=0.5, update_gap=2)
    state: tuple[Any, ...] = (model, optimizer, ARGUMENTS["OneCycleLR"](optimizer))

    def train(model: nn.Module, optimizer: Frugal, scheduler: Any, steps: range) -> list[torch.Tensor]:
        for step in steps:
            optimizer.zero_grad()
            model(batch(step)).square().mean().backward()
            optimizer.step()
            scheduler.step()
        return [x.detach().clone() for x in model.parameters()]

    train(*state, range(3))
    copied = copy.deepcopy(state)
    before = [x.detach().clone() for x in model.parameters()]
    ahead = train(*copied, range(3, 7))
    assert all(map(torch.equal, before, model.parameters()))
    assert all(map(torch.equal, ahead, train(*state, range(3, 7))))
