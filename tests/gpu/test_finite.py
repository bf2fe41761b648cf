"""Gradients that are not finite are named before anything is touched."""

from __future__ import annotations

import math

import pytest
import torch

from tests.families import BASIS_SUBSPACES, UNIT_SUBSPACES
from tests.gpu.test_frugal_state import assert_equal_states, make, model, run


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("subspace", [*UNIT_SUBSPACES, *BASIS_SUBSPACES])
def test_a_bad_gradient_is_named_and_nothing_is_touched(subspace, value):
    net, twin = model(), model()
    optimizer, plain = make(net, subspace=subspace), make(twin, subspace=subspace)
    run(net, optimizer, range(4))
    run(twin, plain, range(4))
    net.W.grad = torch.ones_like(net.W)
    net.W.grad[2, 3] = value
    net.V.grad = torch.full_like(net.V, value)
    with pytest.raises(
        RuntimeError, match="Frugal: the gradient of W has 1 entry that is not finite, the gradient of V has 32 entries"
    ):
        optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), twin.parameters(), strict=True))
    assert_equal_states(optimizer.state_dict(), plain.state_dict())


def test_a_sum_that_overflows_is_no_bad_gradient():
    net = model()
    optimizer = make(net, subspace="columns", state_free="signsgd")
    for x in net.parameters():
        x.grad = torch.full_like(x, 3e38)
    optimizer.step()
    assert optimizer.param_groups[0]["step"] == 1


def test_the_check_can_be_turned_off():
    net = model()
    optimizer = make(net, subspace="columns", check_finite=False)
    for x in net.parameters():
        x.grad = torch.full_like(x, math.nan)
    optimizer.step()
    assert optimizer.param_groups[0]["step"] == 1
    with pytest.raises(ValueError, match="check_finite = 'never': allowed: True, False, 'auto'"):
        make(model(), subspace="columns", check_finite="never")
