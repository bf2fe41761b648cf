"""Density and update gap as schedules."""

from __future__ import annotations

import pytest
import tiny
import torch
from torch import nn

import frugal_theory as ft
from frugal_gpu import Frugal
from frugal_gpu.optim.schedules import AdaFrugal, density_at, next_update_gap
from frugal_gpu.studies.memory import memory_table
from frugal_gpu.train.log import read_metrics
from frugal_gpu.train.loop import train

pytestmark = pytest.mark.usefixtures("one_thread", "own_cache")


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
        schedule.step()
        optimizer.step()
        share = sum(s["momentum"].numel() for s in optimizer.state.values()) / (20 * 1600)
        assert abs(share - density_at(k - k % 3, 0.5, 0.1, 24)) <= unit
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


def test_a_longer_gap_moves_the_end_of_the_period_and_the_density_with_it():
    weight = nn.Parameter(torch.ones(40, 40))
    optimizer = Frugal([("w", weight)], density=0.5, update_gap=3, subspace="columns")
    schedule, seen = AdaFrugal(optimizer, density=0.1, steps=24, factor=2.0), []
    for _ in range(13):
        weight.grad = torch.ones_like(weight)
        schedule.step()
        optimizer.step()
        group = optimizer.param_groups[0]
        seen.append((group["period"], round(group["density"], 3)))
        if group["step"] in (3, 4):  # the second finds no improvement, after a period has just begun
            schedule.evaluated(1.0)
    line = [round(density_at(k, 0.5, 0.1, 24), 3) for k in (0, 3, 9)]
    assert seen == [(0, line[0])] * 3 + [(1, line[1])] * 6 + [(2, line[2])] * 4


# --- from the file

SCHEDULES = {
    "algorithm.density_schedule": {"to": 0.1, "steps": 10},
    "algorithm.update_gap": 2,
    "algorithm.update_gap_schedule": {"factor": 2.0, "most": 5, "enough": 0.9},
    "training.evaluate_every": 3,
    "training.evaluation_tokens": 32,
    "training.schedule": "constant",
    "training.warmup_steps": 0,
    "training.checkpoint_every": 5,
}


def training_lines(folder):
    lines = read_metrics(folder / "metrics.jsonl")
    clock = ("seconds", "tokens_per_second", "peak_memory_bytes")
    return [{k: v for k, v in line.items() if k not in clock} for line in lines if "loss" in line]


def test_a_run_with_schedules_logs_them_and_is_resumed_bit_for_bit(source, tmp_path):
    whole = tiny.experiment(source, {**SCHEDULES, "training.steps": 12})
    train(whole, tmp_path / "whole")
    train(tiny.experiment(source, {**SCHEDULES, "training.steps": 5}), tmp_path / "halves")
    train(whole, tmp_path / "halves", resume=True)
    lines = training_lines(tmp_path / "whole")
    assert training_lines(tmp_path / "halves") == lines
    # evaluations after 0, 3, 6, … steps, none a share of .9 better: T is 4 from step 4 on, and 5 from step 7 on
    assert [line["update_gap"] for line in lines] == [2, 2, 2, 4, 4, 4, 5, 5, 5, 5, 5, 5]
    begins = [0, 0, 2, 2, 2, 2, 2, 7, 7, 7, 7, 7]
    assert [line["density"] for line in lines] == [density_at(k, 0.5, 0.1, 10) for k in begins]


def test_t_goes_by_evaluations_so_they_may_not_differ_on_resumption(source, tmp_path):
    train(tiny.experiment(source, {**SCHEDULES, "training.steps": 5}), tmp_path)
    later = tiny.experiment(source, {**SCHEDULES, "training.steps": 6, "training.evaluate_every": 2})
    with pytest.raises(ft.ExperimentError, match=r"training.evaluate_every was 3, is 2"):
        train(later, tmp_path, resume=True)


def test_memory_is_that_of_the_largest_density(source):
    plain = memory_table(tiny.experiment(source))[-1]
    falling, rising = (
        memory_table(tiny.experiment(source, {"algorithm.density_schedule": {"to": to, "steps": 9}}))[-1] for to in (0.1, 0.8)
    )
    assert falling == plain
    assert rising.state > plain.state
