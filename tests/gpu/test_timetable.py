"""When probes measure: one step of each interval, drawn; and the share of the time that they are given, kept."""

from __future__ import annotations

import json

import numpy as np
import pytest
import quadratic_rows
from tolerances import ROUNDING, STANDARD_ERRORS

from frugal_gpu.probes import Watch
from frugal_gpu.probes.timetable import Interval, Timetable
from frugal_theory import config


@pytest.mark.parametrize("every", [1, 7, 100])
def test_one_step_of_each_interval_is_measured(every):
    timetable = Timetable(3, 100, {"path": 2.0}, every, 0.05, frozenset({"path"}))
    seen = []
    for step in range(1, 101):
        if timetable.due(step):
            seen.append(timetable.interval_of("path"))
            assert seen[-1].at == step
    assert seen[0].end == 1  # x¹
    assert [i.begin for i in seen[1:]] == [i.end + 1 for i in seen[:-1]]
    assert seen[-1].end == 100
    assert all(i.begin <= i.at <= i.end <= i.begin + every - 1 for i in seen)


def test_steps_are_drawn_uniformly():
    drawn = []
    for seed in range(400):
        timetable = Timetable(seed, 10, {"path": 1.0}, 10, 0.05)
        drawn.append(next(step for step in range(1, 11) if timetable.due(step)))
    counts = np.bincount(drawn, minlength=11)[1:]
    assert counts.sum() == 400
    assert np.all(np.abs(counts - 40) < STANDARD_ERRORS * 6)


@pytest.mark.parametrize(("cost", "price"), [(0.05, 2.0), (0.05, 11.0), (0.3, 5.0), (0.02, 1.0)])
def test_the_cost_is_kept(cost, price):
    """Steps of a second and measurements of ``price`` seconds, whatever was thought before."""
    timetable = Timetable(0, 2000, {"path": 2.0, "angles": 2.0}, None, cost, frozenset({"path"}))
    for step in range(1, 2001):
        for group in timetable.due(step):
            timetable.add(group, price)
        timetable.stepped_in(1.0)
    assert 0.6 * cost < timetable.share < 1.05 * cost
    assert set(timetable.counts) == {"path", "angles"}


def test_what_cannot_be_paid_for_is_left_out_and_said():
    timetable = Timetable(0, 100, {"path": 1.0, "curvature": 24.0}, None, 0.1)
    assert set(timetable.unaffordable) == {"curvature"}
    assert not any("curvature" in timetable.due(step) for step in range(1, 101))
    again = Timetable(0, 100, {"path": 1.0, "curvature": 24.0}, None, timetable.unaffordable["curvature"] + 1e-9)
    assert not again.unaffordable


LLAMA_60M = {"path": 0.25, "curvature": 3.0, "angles": 1.0}
"""Prices of 32 sequences a measurement beside steps of 256."""


def clocked(steps, real, cost=0.05, prices=LLAMA_60M, a_step=1.0, first_step=1.0, warming=1.0, stop=None, going=None, seed=0):
    """A timetable on a clock of its own; the first step takes ``first_step``, first measurements ``warming`` times as long.

    Returns it and the measurements, as (step, group).
    """
    made = going or Timetable(seed, steps, prices, None, cost, frozenset({"path"} & prices.keys()))
    found = []
    for step in range(made.stepped + 1, (stop or steps) + 1):
        for group in made.due(step):
            made.add(group, real[group] * (1.0 if made.counts.get(group) else warming))
            found.append((step, group))
        made.stepped_in(first_step if step == 1 else a_step)
    return made, found


@pytest.mark.parametrize("seed", range(3))
def test_the_cost_is_kept_where_all_costs_more_than_it_seemed(seed):
    """A LLaMA of 60M on an H100: 400 steps of .152 s. What was taken for .04, .46 and .15 s takes .4, 1 and 1.7, at first twice
    that; 5 % are 3.2 s. Then path alone is measured: at x¹, and as often as the rest pays for."""
    real = {"path": 0.4, "curvature": 1.0, "angles": 1.7}
    timetable, found = clocked(400, real, a_step=0.152, first_step=1.5, warming=2.0, seed=seed)
    assert {group for _, group in found} == {"path"}
    assert found[0] == (1, "path")
    total = 0.05 / 0.95 * (1.5 + 399 * 0.152)
    assert len(found) == 1 + int((total - 0.8) / 0.4)
    assert timetable.share <= 0.05
    assert set(timetable.unaffordable) == {"curvature", "angles"}
    assert all(cost > 0.05 for cost in timetable.unaffordable.values())


def test_measurements_are_counted_exactly():
    """1,000 steps of a second, measurements as dear as was said: 5 % are 52.6 s. Curvature would need 48 of a third of them, so
    two groups have half each: 26.3 s pay for 13 of 2 s and, from the step after x¹ on, for 26 of 1 s."""
    prices = {"path": 2.0, "curvature": 24.0, "angles": 1.0}
    timetable, found = clocked(1000, prices, prices=prices)
    assert timetable.counts == {"path": 13, "angles": 26}
    assert set(timetable.unaffordable) == {"curvature"}
    assert timetable.share == 52 / 1052
    dearer = {**prices, "path": 30.0}  # one measurement is more than its part, two are more than all
    timetable, found = clocked(1000, dearer, prices=prices)
    assert [group for _, group in found].count("path") == 1
    assert timetable.share <= 0.05


def test_the_cheapest_begins_and_the_others_follow():
    prices = {"curvature": 24.0, "angles": 1.0, "path": 2.0}
    begun, _ = clocked(8000, prices, prices=prices, stop=2)
    assert begun.interval.keys() == {"path", "angles"}
    found, measured = clocked(8000, prices, prices=prices, going=begun)
    angles = next(step for step, group in measured if group == "angles")
    assert found.counts["curvature"] >= 2
    assert next(step for step, group in measured if group == "curvature") > angles


@pytest.mark.parametrize("real", [2.0, 5.7, 11.0])
@pytest.mark.parametrize("steps", [100, 400, 1000, 4000])
@pytest.mark.parametrize("cost", [0.01, 0.05, 0.3])
def test_no_second_measurement_is_beyond_the_cost(steps, real, cost):
    """Whatever a measurement costs, the share is kept or all that was measured is a single first one."""
    timetable, found = clocked(steps, {"path": real}, cost, {"path": 2.0}, first_step=30.0, warming=1.5)
    assert timetable.share <= cost * (1 + ROUNDING) or len(found) == 1


def test_a_first_step_that_compiles_pays_for_nothing():
    """Sixty seconds for the first step do not make the second measurement cheap."""
    prices = {"path": 2.0, "curvature": 24.0, "angles": 1.0}
    timetable, found = clocked(
        1000, {"path": 2.0, "angles": 0.5, "curvature": 24.0}, prices=prices, a_step=0.1, first_step=60.0
    )
    assert timetable.share <= 0.05
    assert all(step > 10 for step, _ in found[1:])


def test_a_group_that_ended_leaves_no_gap_behind_it():
    """The average along the path is over the intervals, which follow each other from step 1 on."""
    spans = []
    timetable = Timetable(0, 600, {"path": 2.0}, None, 0.05, frozenset({"path"}))
    for step in range(1, 601):
        for group in timetable.due(step):
            spans.append(timetable.interval_of(group))
            timetable.add(group, 3.0 if step < 300 else 12.0)
        timetable.stepped_in(1.0)
    assert spans[0] == Interval(1, 1, 1)
    assert [i.begin for i in spans[1:]] == [i.end + 1 for i in spans[:-1]]
    assert timetable.interval["path"] is None or timetable.interval["path"].end == 600
    assert timetable.share <= 0.05


def test_a_timetable_goes_on_from_its_state_as_if_nothing_had_been():
    real = {"path": 0.6, "curvature": 4.0, "angles": 0.7}
    for seed in range(4):
        whole, straight = clocked(3000, real, first_step=9.0, warming=2.0, seed=seed)
        half, before = clocked(3000, real, first_step=9.0, warming=2.0, seed=seed, stop=1234)
        again = Timetable(seed, 3000, LLAMA_60M, None, 0.05, frozenset({"path"}))
        again.load(json.loads(json.dumps(half.state())))
        resumed, after = clocked(3000, real, first_step=9.0, warming=2.0, going=again)
        assert before + after == straight
        assert resumed.state() == whole.state()
        assert len(set(straight)) == len(straight) > 10


def test_what_was_not_kept_is_said_in_one_line():
    watch = Watch(
        config.Probes(kinds=("gradient", "smoothness")), quadratic_rows.objective(quadratic_rows.three(), 8), 100, 0, 0.5
    )
    assert watch.sentence() is None
    clocked(100, {"path": 7.0}, going=watch.timetable)
    said = watch.sentence()
    assert said is not None
    assert "\n" not in said
    assert "the first measurement of gradient and smoothness took as long as 7 steps" in said
    assert "measuring took 6.5% of the time" in said


def test_the_price_of_angles_does_not_fall_with_the_rows():
    watch = Watch(config.Probes(), quadratic_rows.objective(quadratic_rows.three(), 256, size=32), 400, 0, 0.5)
    assert watch.timetable.prices == LLAMA_60M
