"""Density and update gap as schedules."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from frugal_gpu import Frugal
from frugal_gpu.optim.schedules import AdaFrugal, density_at, next_update_gap


def test_the_density_is_adafrugals():
    for k in (0, 1, 50_000, 199_999, 200_000, 10**7):
        assert density_at(k, 0.25, 0.05, 200_000) == pytest.approx(max(0.05, 0.25 - 0.20 * min(1, k / 200_000)), rel=1e-15)


@pytest.mark.parametrize(("subspace", "unit"), [("columns", 1 / 40), ("randk", 1 / 1600), ("blocks", 1 / 20)])
def test_a_run_holds_the_scheduled_share(subspace, unit):
    params = [nn.Parameter(torch.ones(40, 40)) for _ in range(20)]
    optimizer = Frugal(params, density=0.5, update_gap=3, subspace=subspace, state_full="sgdm", order="ascending")
    schedule = AdaFrugal(optimizer, density=0.1, steps=24)
    for k in range(30):
        for parameter in params:
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        share = sum(s["momentum"].numel() for s in optimizer.state.values()) / (20 * 1600)
        assert abs(share - density_at(k - k % 3, 0.5, 0.1, 24)) <= unit
        schedule.step()
        if k == 13:
            later = AdaFrugal(optimizer, density=0.1, steps=24)
            later.load_state_dict(schedule.state_dict())
            schedule = later


def test_the_gap_grows_where_evaluations_stop_to_improve():
    assert [next_update_gap(gap, 0.004) for gap in (200, 300, 900, 1000, 2000)] == [300, 450, 1000, 1000, 2000]
    assert next_update_gap(200, 0.006) == 200
    schedule = AdaFrugal(Frugal([nn.Parameter(torch.ones(4, 4))], update_gap=200))
    assert [schedule.evaluated(loss) for loss in (5.0, 4.0, 3.99, 3.98, 3.0, 3.1)] == [200, 200, 300, 450, 450, 675]


def test_a_bad_schedule_is_refused():
    with pytest.raises(ValueError, match=r"density = 1.5: allowed: a number from 0 to 1"):
        AdaFrugal(Frugal([nn.Parameter(torch.ones(4, 4))]), density=1.5)
