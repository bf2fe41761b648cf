"""torch's own database of optimizer inputs, and the habits that its test suite asks of every optimizer, over Frugal."""

from __future__ import annotations

import copy
import inspect
import pickle
import warnings
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from frugal_gpu import Frugal
from tests.tolerances import FACTORISATION, ROUNDING

pytest.importorskip("expecttest")  # torch.testing's own tests need it
database = pytest.importorskip("torch.testing._internal.common_optimizers")

pytestmark = pytest.mark.ecosystem

OPTIONS = set(inspect.signature(Frugal).parameters)
SUBSPACES = ("blocks", "columns", "rows", "randk", "coordinates", "random", "svd", "gaussian")

UNIVERSAL = database.get_error_inputs_for_all_optims("cpu", torch.float32)
OURS = {"Tensor lr must be 1-element": r"Frugal: lr = tensor\(\[0.0010, 0.0010\]\): allowed: a finite number"}
"""What is refused in words of our own."""

ALLOWED_HERE = {"lr as Tensor doesn't work with foreach & not capturable"}
"""What torch refuses and we honour."""


def errors_of(name: str) -> list[Any]:
    """The error inputs of one of torch's optimizers beyond those of all, where the options are ours as well."""
    (info,) = [info for info in database.optim_db if info.optim_cls.__name__ == name]
    own = info.optim_error_inputs_func("cpu", torch.float32)[len(UNIVERSAL) :]
    return [e for e in own if set(e.optimizer_error_input.kwargs) <= OPTIONS]


CONFIGURATIONS = {
    repr(sorted(given.kwargs.items())): given.kwargs
    for info in database.optim_db
    for given in info.optim_inputs_func("cpu")
    if set(given.kwargs) <= OPTIONS and not any(isinstance(v, torch.Tensor) for v in given.kwargs.values())
}
"""Every different set of options that torch tries an optimizer with and that Frugal has, too."""


def start(subspace: str = "columns", named: bool = False, **options: Any) -> tuple[list[nn.Parameter], Frugal]:
    generator = torch.Generator().manual_seed(2)
    shapes = ((6, 8), (8, 4), (5,))
    params = [nn.Parameter(torch.randn(s, generator=generator, dtype=torch.float64)) for s in shapes]
    given = [(f"layer.{i}.w", x) for i, x in enumerate(params)] if named else params
    own = {"density": 0.5, "update_gap": 2, "subspace": subspace} | ({"split": True} if named else {})
    return params, Frugal(given, **{**own, **options})


def train(params: list[nn.Parameter], optimizer: Frugal, steps: range) -> list[torch.Tensor]:
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        for x in params:
            x.grad = torch.randn(x.shape, generator=generator, dtype=x.dtype)
        optimizer.step()
    return [x.detach().clone() for x in params]


@pytest.mark.parametrize("case", UNIVERSAL, ids=lambda case: case.optimizer_error_input.desc)
def test_what_every_optimizer_refuses(case):
    given = case.optimizer_error_input
    params = [nn.Parameter(torch.ones(2, 2))] if given.params is None else given.params
    words = OURS.get(given.desc, case.error_regex)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        with pytest.raises(case.error_type, match=words):
            Frugal(params, **given.kwargs)


@pytest.mark.parametrize("name", ["Adam", "AdamW", "Adamax", "RMSprop", "SGD", "NAdam"])
def test_what_its_relatives_refuse(name):
    """The same kind of error for the same options, in one line that names Frugal."""
    for case in errors_of(name):
        given = case.optimizer_error_input
        if given.desc in ALLOWED_HERE:
            Frugal([nn.Parameter(torch.ones(2, 2))], **given.kwargs)
            continue
        with pytest.raises(case.error_type, match="Frugal: ") as caught:
            Frugal([nn.Parameter(torch.ones(2, 2))], **given.kwargs)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("options", [{"betas": (0.9, torch.tensor(0.99))}, {"weight_decay": torch.tensor(0.1)}], ids=str)
def test_a_tensor_that_would_not_be_followed_is_refused(options):
    (key,) = options
    with pytest.raises(ValueError, match=f"Frugal: {key} = .*only lr is followed"):
        Frugal([nn.Parameter(torch.ones(2, 2))], **options)


@pytest.mark.parametrize("options", CONFIGURATIONS.values(), ids=str)
@pytest.mark.parametrize("subspace", SUBSPACES)
def test_its_configurations_go_the_right_direction(subspace, options):
    """torch's own problem, a weight and a bias against an input: the loss falls, or rises under ``maximize``."""
    generator = torch.Generator().manual_seed(0)
    weight = nn.Parameter(torch.randn(10, 5, generator=generator))
    bias = nn.Parameter(torch.randn(10, generator=generator))
    x = torch.randn(5, generator=generator)
    optimizer = Frugal([weight, bias], **{"lr": 1e-3, "subspace": subspace, "update_gap": 5, **options})

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = (weight.mv(x) + bias).pow(2).sum()
        loss.backward()
        return loss

    first = closure().item()
    for _ in range(20):
        optimizer.step(closure)
    assert (closure().item() < first) is not options.get("maximize", False)


@pytest.mark.parametrize("configuration", CONFIGURATIONS.values(), ids=str)
def test_its_configurations_at_the_whole_are_adamw(configuration):
    ends = []
    for kind, own in ((Frugal, {"density": 1.0}), (torch.optim.AdamW, {"foreach": False})):
        params, _ = start()
        ends.append(train(params, kind(params, **{"lr": 1e-3, "weight_decay": 0.0, **configuration, **own}), range(6)))
    torch.testing.assert_close(*ends, rtol=ROUNDING, atol=ROUNDING)


@pytest.mark.parametrize("subspace", SUBSPACES)
def test_foreach_is_the_loop(subspace):
    loop = train(*start(subspace, backend="formula"), range(6))
    torch.testing.assert_close(train(*start(subspace, foreach=True), range(6)), loop, rtol=FACTORISATION, atol=FACTORISATION)


@pytest.mark.parametrize("subspace", SUBSPACES)
def test_no_gradient_no_step_and_zero_gradients_no_move(subspace):
    params, optimizer = start(subspace, weight_decay=0.1)
    before = [x.detach().clone() for x in params]
    optimizer.step()
    assert all(map(torch.equal, params, before))
    params, optimizer = start(subspace)
    for x in params:
        x.grad = torch.zeros_like(x)
    optimizer.step()
    assert all(map(torch.equal, params, before))


@pytest.mark.parametrize("subspace", SUBSPACES)
@pytest.mark.parametrize("way", ["weights_only", "pickled", "deepcopied", "older"])
def test_a_state_is_the_same_however_it_travels(subspace, way, tmp_path):
    params, optimizer = start(subspace)
    train(params, optimizer, range(3))
    state = copy.deepcopy(optimizer.state_dict())
    again, second = start(subspace)
    for x, value in zip(again, params, strict=True):
        x.data.copy_(value.data)
    if way == "weights_only":
        torch.save(state, tmp_path / "state.pt")
        state = torch.load(tmp_path / "state.pt", weights_only=True)
    elif way == "pickled":
        state = pickle.loads(pickle.dumps(state))
    elif way == "older":  # flags that came to torch's optimizers later
        for group in state["param_groups"]:
            for flag in ("foreach", "fused", "maximize", "capturable", "differentiable"):
                del group[flag]
    second.load_state_dict(state)
    expected = train(params, optimizer, range(3, 7))
    assert all(map(torch.equal, expected, train(again, second, range(3, 7))))


@pytest.mark.parametrize("subspace", SUBSPACES)
def test_a_state_is_in_the_same_order_each_time(subspace):
    states = []
    for _ in range(2):
        params, optimizer = start(subspace)
        train(params, optimizer, range(3))
        states.append(optimizer.state_dict())
    first, second = states
    assert first["param_groups"] == second["param_groups"]
    assert [(k, list(v)) for k, v in first["state"].items()] == [(k, list(v)) for k, v in second["state"].items()]
    torch.testing.assert_close(first["state"], second["state"], rtol=0, atol=0)


def hooks_that_ran(optimizer: torch.optim.Optimizer, parameter: nn.Parameter) -> list[str]:
    """What a step, a look at the state and a load call, in this order."""
    said: list[str] = []
    handles = [
        register_optimizer_step_pre_hook(lambda *_: said.append("all, before")),
        register_optimizer_step_post_hook(lambda *_: said.append("all, after")),
        optimizer.register_step_pre_hook(lambda *_: said.append("before")),
        optimizer.register_step_post_hook(lambda *_: said.append("after")),
        optimizer.register_state_dict_pre_hook(lambda *_: said.append("state, before")),
        optimizer.register_state_dict_post_hook(lambda *_: said.append("state, after")),
        optimizer.register_load_state_dict_pre_hook(lambda *_: said.append("load, before")),
        optimizer.register_load_state_dict_post_hook(lambda *_: said.append("load, after")),
    ]
    for watched in (True, False):
        if not watched:
            for handle in handles:
                handle.remove()
        parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        optimizer.load_state_dict(optimizer.state_dict())
    return said


def test_hooks_of_one_optimizer_and_of_all_run_when_those_of_adamw_do():
    one, other = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2, 2))
    said = hooks_that_ran(Frugal([one]), one)
    assert len(said) == 8
    assert said == hooks_that_ran(torch.optim.AdamW([other]), other)


def test_a_copy_has_every_public_attribute_and_can_be_printed():
    params, optimizer = start(named=True)
    train(params, optimizer, range(3))
    for copied in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        public = {name for name in vars(optimizer) if not name.startswith("_")}
        assert public <= set(vars(copied))
        assert repr(copied) == repr(optimizer)
        assert "Frugal (" in repr(copied)


def test_a_parameter_that_is_not_trained_is_let_be():
    params, optimizer = start()
    params[0].requires_grad_(False)
    before = params[0].detach().clone()
    for x in params[1:]:
        x.grad = torch.ones_like(x)
    optimizer.step()
    assert torch.equal(params[0], before)
