"""Ordinary steps take the work of the step before again, and nothing that is changed between two steps is missed by that."""

# ruff: noqa: ARG005

from __future__ import annotations

import weakref

import pytest
import torch
from torch import nn

from frugal_gpu import Frugal
from tests.tolerances import ROUNDING

SHAPES = ((6, 8), (8, 4), (5,), (4, 4))


def _replace(optimizer, parameters):
    other = nn.Parameter(parameters[0].detach() + 1)
    other.grad = parameters[0].grad
    optimizer.param_groups[0]["params"][0] = parameters[0] = other


def _scale(optimizer, parameters):  # noqa: ARG001
    for state in optimizer.state.values():
        if "exp_avg" in state:
            state["exp_avg"] = state["exp_avg"] * 3


def _late(parameters):
    parameters.append(nn.Parameter(torch.ones(3, 3, dtype=torch.float64)))
    return parameters[-1]


def _counted_by_a_tensor(optimizer, parameters):  # noqa: ARG001
    for state in optimizer.state.values():
        if isinstance(state.get("step"), int):
            state["step"] = torch.tensor(7.0, dtype=torch.float64)


def _first_beta(optimizer, parameters):  # noqa: ARG001
    optimizer.param_groups[0]["betas"][0] = 0.5


CHANGES = {
    "nothing": lambda o, x: None,
    "lr": lambda o, x: o.param_groups[0].update(lr=0.02),
    "lr is a tensor": lambda o, x: o.param_groups[0].update(lr=torch.tensor(0.02, dtype=torch.float64)),
    "betas": lambda o, x: o.param_groups[0].update(betas=(0.5, 0.9)),
    "a beta in a list": _first_beta,
    "weight decay": lambda o, x: o.param_groups[0].update(weight_decay=0.3),
    "density": lambda o, x: o.param_groups[0].update(density=0.75),
    "gap": lambda o, x: o.param_groups[0].update(update_gap=1),
    "state-free rule": lambda o, x: o.param_groups[0].update(state_free="sgd"),
    "state-full rule": lambda o, x: o.param_groups[0].update(state_full="sgdm"),
    "backend": lambda o, x: o.param_groups[0].update(backend="formula"),
    "maximize": lambda o, x: o.param_groups[0].update(maximize=True),
    "a gradient is missing": lambda o, x: setattr(x[0], "grad", None),
    "a gradient lies otherwise": lambda o, x: setattr(x[0], "grad", x[0].grad.T.contiguous().T),
    "a parameter lies elsewhere": lambda o, x: setattr(x[0], "data", x[0].data.clone()),
    "a parameter is another": _replace,
    "a statistic is another": _scale,
    "a statistic is changed in place": lambda o, x: [s["exp_avg"].mul_(2) for s in o.state.values() if "exp_avg" in s],
    "the state is forgotten": lambda o, x: o.state.clear(),
    "the state is loaded": lambda o, x: o.load_state_dict(o.state_dict()),
    "counts are others": lambda o, x: [s.update(step=7) for s in o.state.values() if isinstance(s.get("step"), int)],
    "counts are tensors": _counted_by_a_tensor,
    "a group is added": lambda o, x: o.add_param_group({"params": [("late", _late(x))], "lr": 0.1}),
}


def ends(subspace, change, backend, anew):
    """The parameters after steps before and after a change; ``anew``: every step is worked out from the beginning."""
    generator = torch.Generator().manual_seed(0)
    parameters = [nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64)) for shape in SHAPES]
    named = [(f"layers.{i}.w", x) for i, x in enumerate(parameters)]
    options = {"density": 0.5, "update_gap": 6, "weight_decay": 0.1, "betas": [0.9, 0.999], "split": True}
    optimizer = Frugal(named, subspace=subspace, backend=backend, **options)
    kept = 0
    for step in range(9):
        for x in parameters:
            x.grad = torch.randn(x.shape, generator=generator, dtype=torch.float64)
        if step == 3:
            CHANGES[change](optimizer, parameters)
        if anew:
            optimizer._periods.kept.clear()
        kept += len(optimizer._periods.kept)
        optimizer.step()
    return parameters, kept


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(
    ("subspace", "backend"), [("blocks", "foreach"), ("columns", "foreach"), ("random", "foreach"), ("columns", "auto")]
)
def test_what_changes_between_steps_is_followed(subspace, backend, change):
    found, kept = ends(subspace, change, backend, anew=False)
    expected, none = ends(subspace, change, backend, anew=True)
    assert kept >= 5 or change in ("backend", "maximize"), "steps were taken again at all"
    assert none == 0
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=ROUNDING, atol=ROUNDING)


@pytest.mark.parametrize("backend", ["foreach", "auto"])
@pytest.mark.parametrize("subspace", ["blocks", "columns", "random"])
def test_gradients_are_free_after_zero_grad(subspace, backend):
    """What is kept for the next step holds none of them through the next forward pass."""
    parameters = [nn.Parameter(torch.ones(shape)) for shape in SHAPES]
    optimizer = Frugal(parameters, subspace=subspace, density=0.5, backend=backend)
    for _ in range(3):
        gradients = []
        for x in parameters:
            x.grad = torch.full_like(x, 0.5)
            gradients.append(weakref.ref(x.grad))
        optimizer.step()
        optimizer.zero_grad()
        assert len(optimizer._periods.kept) == 1
        assert [each() for each in gradients] == [None] * len(parameters)
