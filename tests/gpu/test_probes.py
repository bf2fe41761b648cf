"""Probes against the truth: exhaustive batches, the dense Hessian, closed forms; and a run that they do not touch."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
import quadratic_rows
import tiny
import torch
from scipy.stats import kurtosis, skew
from tolerances import FACTORISATION, FLOAT32, ROUNDING, SMALL_STEPS, STANDARD_ERRORS
from torch import nn

import frugal_theory as ft
from frugal_gpu.data.batches import independent_indices
from frugal_gpu.model.llama import build_model, model_shape
from frugal_gpu.probes import Moment, Objective, Watch, measure
from frugal_gpu.probes.angles import leading_basis, principal_cosines
from frugal_gpu.probes.curvature import hessian_product
from frugal_gpu.probes.lanczos import lanczos, random_start
from frugal_gpu.probes.law import law_of, off_the_law
from frugal_gpu.probes.noise import moments
from frugal_gpu.probes.objective import gradients, parameters_of
from frugal_gpu.probes.probe import moved
from frugal_gpu.probes.timetable import Interval, Timetable
from frugal_gpu.train import loop
from frugal_gpu.train.loop import train
from frugal_theory import config

pytestmark = pytest.mark.usefixtures("own_cache")


def three_rows() -> quadratic_rows.Rows:
    """Two coordinates, three rows, skewed: the noise of row i is the i-th of these."""
    model = quadratic_rows.Rows((1.0, 0.5), (1.0, 1.0), batch_size=1)
    model.noise = torch.tensor([[3.0, 0.0], [-1.0, 2.0], [-2.0, -2.0]], dtype=torch.float64)
    return model


# --- the gradient and its noise


def test_halves_and_pairs_are_unbiased_by_enumeration():
    """Every draw of four micro-batches of one row: ⟨A, B⟩ averages to ‖∇f‖² and ½‖g − g'‖² to the variance, exactly."""
    model = three_rows()
    f = quadratic_rows.objective(model, 1)
    found = [gradients(f, [[i] for i in rows], 1) for rows in itertools.product(range(3), repeat=4)]
    truth = model.gradient()
    assert np.mean([sum(g.inner().values()) for g in found]) == pytest.approx(float(truth @ truth), rel=ROUNDING)
    assert np.mean([g.inner()["tail"] for g in found]) == pytest.approx(float(truth[1] ** 2), rel=ROUNDING)
    variance = model.noise.var(0, correction=0)
    for place, name in enumerate(("head", "tail")):
        assert np.mean([g.spread[name] for g in found]) == pytest.approx(float(variance[place]), rel=ROUNDING)
    loss = float(np.mean([model.loss([i]).item() for i in range(3)]))
    assert np.mean([np.mean(g.losses) for g in found]) == pytest.approx(loss, rel=ROUNDING)


def test_moments_of_the_noise_are_unbiased_by_enumeration():
    values = torch.tensor([2.0, -1.0, -1.0], dtype=torch.float64)
    every = torch.tensor(list(itertools.product(values.tolist(), repeat=8)), dtype=torch.float64).T  # (8, 6561)
    square, cumulant, third, cube = moments(every, torch.full((6561,), 1 / 6561, dtype=torch.float64))
    variance, m3, m4 = 2.0, 2.0, 6.0
    assert square == pytest.approx(variance**2, rel=ROUNDING)
    assert cumulant == pytest.approx(m4 - 3 * variance**2, rel=ROUNDING)
    assert third == pytest.approx(m3**2, rel=ROUNDING)
    assert cube == pytest.approx(variance**3, rel=ROUNDING)


def test_the_noise_of_a_step_is_that_of_its_batches():
    """Against all 3³ batches of three rows: variance, kurtosis and skewness scale as a mean of independent rows."""
    model = three_rows()
    batches = [model.noise[list(rows)].mean(0) for rows in itertools.product(range(3), repeat=3)]
    every = torch.stack(batches).numpy()
    f = quadratic_rows.objective(model, 3, size=8)
    found = [measure(["noise"], Moment(step, 0.1, model, {}, f)) for step in range(1, 121)]

    def mean(key):
        values = np.array([numbers[f"noise.{key}"] for numbers in found])
        return values.mean(), STANDARD_ERRORS * values.std() / math.sqrt(len(values))

    moments_ = {
        "total": every.var(0).sum(),
        "square": (every.var(0) ** 2).sum(),
        "cumulant": (kurtosis(every) * every.var(0) ** 2).sum(),
        "third": (skew(every) ** 2 * every.var(0) ** 3).sum(),
        "cube": (every.var(0) ** 3).sum(),
    }
    for key, truth in moments_.items():
        value, error = mean(key)
        assert value == pytest.approx(truth, abs=error), key


def test_moments_of_larger_batches_are_in_the_ratio_of_all_such_batches():
    """The same rows measured for steps of one and of three rows, against the moments of all 3 and all 3³ batches."""
    model = three_rows()

    def truth(size):
        every = torch.stack([model.noise[list(rows)].mean(0) for rows in itertools.product(range(3), repeat=size)]).numpy()
        v = every.var(0)
        return {"total": v, "square": v**2, "cumulant": kurtosis(every) * v**2, "third": skew(every) ** 2 * v**3, "cube": v**3}

    one, three = (measure(["noise"], Moment(4, 0.1, model, {}, quadratic_rows.objective(model, b, size=8))) for b in (1, 3))
    assert one["noise.third"] != 0
    for key, value in truth(3).items():
        ratio = value.sum() / truth(1)[key].sum()
        assert three[f"noise.{key}"] == pytest.approx(ratio * one[f"noise.{key}"], rel=FACTORISATION), key


def test_smoothness_and_descent_across_a_step_are_those_of_the_quadratic():
    model = quadratic_rows.Rows((1.0, 0.5), (0.5, 0.5), batch_size=1)
    f = quadratic_rows.objective(model, 1)
    moment = Moment(1, 0.1, model, {}, f)
    measure(["smoothness", "descent"], moment)
    step = torch.tensor([0.3, -0.4], dtype=torch.float64)
    with torch.no_grad():
        model.head += step[:1]
        model.tail += step[1:]
    found = moved(["smoothness", "descent"], moment)
    change = model.eigenvalues * step
    assert found["smoothness.squared"] == pytest.approx(float(change @ change / (step @ step)), rel=ROUNDING)
    assert found["smoothness.batch"] == pytest.approx(found["smoothness.squared"] ** 0.5, rel=ROUNDING)
    curvature = float(step @ change / (step @ step))  # f is quadratic: the inequality is an equality with this L
    assert found["descent.needed"] == pytest.approx(curvature, rel=FACTORISATION)


# --- curvature


def tiny_llama() -> tuple[nn.Module, Objective]:
    torch.manual_seed(0)
    table = config.Model(preset="llama-tiny", vocabulary=257, hidden_size=8, intermediate_size=8, layers=1, heads=2)
    model = build_model(model_shape(table), 8, 0.3).double()
    rows = torch.randint(0, 257, (6, 9))

    def loss(chosen):
        tokens = rows[list(chosen)]
        logits = model(input_ids=tokens[:, :-1]).logits
        return nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())

    return model, Objective(model, 6, loss, lambda step, size: independent_indices(0, "x", step, size, 6), 6, 8)


def test_lanczos_is_the_dense_hessian_of_a_tiny_llama():
    model, f = tiny_llama()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("self_attn" in name)  # 256 of them: a dense Hessian of a corner
    parameters = list(parameters_of(model).values())
    with hessian_product(f, range(6)) as product:
        size = sum(p.numel() for p in parameters)
        dense = torch.stack([product(row) for row in torch.eye(size, dtype=torch.float64)])
        ends = lanczos(product, random_start(size, 1, torch.device("cpu"), torch.float64), 40)
        few = lanczos(product, random_start(size, 1, torch.device("cpu"), torch.float64), 6)
    assert torch.allclose(dense, dense.T, atol=FLOAT32)  # norms and rotations are float32 in transformers
    values = torch.linalg.eigvalsh((dense + dense.T) / 2)
    assert ends.top == pytest.approx(float(values[-1]), rel=FLOAT32)
    assert ends.bottom == pytest.approx(float(values[0]), rel=FLOAT32)
    assert few.top <= values[-1] + FLOAT32
    assert few.bottom >= values[0] - FLOAT32
    assert min(abs(values - few.top)) <= few.top_residual + FLOAT32
    step = 1e-2 * random_start(size, 2, torch.device("cpu"), torch.float64)
    here = torch.cat([p.detach().flatten() for p in parameters])

    def slope(at):  # the product itself against a difference of gradients
        nn.utils.vector_to_parameters(at, parameters)
        return torch.cat([g.flatten() for g in torch.autograd.grad(f.loss(range(6)), parameters)])

    difference = (slope(here + step) - slope(here - step)) / 2
    assert float((difference - dense @ step).norm() / (dense @ step).norm()) < SMALL_STEPS


def test_the_ends_of_a_spectrum_that_is_exhausted_are_exact():
    diagonal = torch.tensor([3.0, -2.0, 1.0], dtype=torch.float64)
    ends = lanczos(lambda v: diagonal * v, torch.ones(3, dtype=torch.float64), 12)
    assert (ends.top, ends.bottom, ends.products) == (pytest.approx(3.0), pytest.approx(-2.0), 3)
    assert ends.top_residual < 1e-9


# --- angles


def test_principal_angles_of_planes_that_are_turned():
    angle = 0.3
    one = torch.eye(4, dtype=torch.float64)[:, :2]
    other = one.clone()
    other[:, 1] = torch.tensor([0.0, math.cos(angle), math.sin(angle), 0.0], dtype=torch.float64)
    assert principal_cosines(one, other).tolist() == pytest.approx([1.0, math.cos(angle)], rel=ROUNDING)
    matrix = torch.diag(torch.tensor([5.0, 1.0, 3.0], dtype=torch.float64)) @ torch.eye(3, 4, dtype=torch.float64)
    basis = leading_basis(matrix, 2)
    assert (basis @ basis.T).diag().tolist() == pytest.approx([1.0, 0.0, 1.0], abs=FACTORISATION)


def test_angles_between_the_gradients_of_two_steps():
    """The leading direction turns by 0.3: cosine, the energy that the old one keeps, and what leaks back from outside."""
    model = nn.Linear(1, 1)
    first = torch.diag(torch.tensor([3.0, 1.0, 0.0], dtype=torch.float64))
    c, s = math.cos(0.3), math.sin(0.3)
    turn = torch.tensor([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    assert measure(["angles"], Moment(1, 0.1, model, {"w": first}, None, 0.34)) == {}
    found = measure(["angles"], Moment(5, 0.1, model, {"w": turn @ first}, None, 0.34))
    assert found["angles.cosine of w"] == pytest.approx(c, rel=FACTORISATION)
    assert found["angles.inside of w"] == pytest.approx((9 * c**2 + s**2) / 10, rel=FACTORISATION)
    assert found["angles.leak of w"] == pytest.approx(s**2, rel=FACTORISATION)
    assert found["angles.steps"] == 4


# --- when they measure


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
    watch = Watch(config.Probes(kinds=("gradient", "smoothness")), quadratic_rows.objective(three_rows(), 8), 100, 0, 0.5)
    assert watch.sentence() is None
    clocked(100, {"path": 7.0}, going=watch.timetable)
    said = watch.sentence()
    assert said is not None
    assert "\n" not in said
    assert "the first measurement of gradient and smoothness took as long as 7 steps" in said
    assert "measuring took 6.5% of the time" in said


def test_the_price_of_angles_does_not_fall_with_the_rows():
    watch = Watch(config.Probes(), quadratic_rows.objective(three_rows(), 256, size=32), 400, 0, 0.5)
    assert watch.timetable.prices == LLAMA_60M


# --- the run is not touched


ALL = {"probes.every": 3, "probes.kinds": ["gradient", "noise", "smoothness", "descent", "curvature", "angles"]}


def log_of(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in {*tiny.TIMES, "probes", "intervals", "probe_seconds"}} for line in lines]


@pytest.mark.parametrize("overrides", [{"training.accumulation": 2}, {"data.sampling": "independent"}])
def test_a_run_with_probes_is_the_run_without_them(source, tmp_path, overrides):
    few = {"training.steps": 6, "training.checkpoint_every": 6, **overrides}
    train(tiny.experiment(source, few), tmp_path / "plain")
    outcome = train(tiny.experiment(source, few | ALL), tmp_path / "probed")
    assert log_of(tmp_path / "plain") == log_of(tmp_path / "probed")
    files = [tmp_path / name / "checkpoints" / "step-000006" for name in ("plain", "probed")]
    assert (files[0] / "model.safetensors").read_bytes() == (files[1] / "model.safetensors").read_bytes()
    assert outcome.summary["probe_measurements"] == {"path": 3, "curvature": 2, "angles": 2}
    assert {"constants.json", "verdicts.json"} <= {path.name for path in (tmp_path / "probed").iterdir()}


def test_dropout_draws_the_same_with_probes():
    """The model's own random numbers are not used up, and a probe sees the same masks before and after the step."""

    class Dropped(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(50))

        def loss(self, rows):
            return (nn.functional.dropout(self.weight, 0.5) * (1 + len(list(rows)))).square().mean()

    def run(watched: bool) -> list[float]:
        torch.manual_seed(5)
        model = Dropped()
        f = Objective(model, 4, model.loss, lambda step, size: independent_indices(0, "x", step, size, 4), 8, 8)
        watch = Watch(config.Probes(every=1, kinds=("gradient", "smoothness")), f, 4, 0, 0.5)
        losses = []
        for step in range(1, 5):
            loss = model.loss(range(8))
            (slope,) = torch.autograd.grad(loss, [model.weight])
            visit = watch.visit(step, 0.1, {"weight": slope}) if watched else None
            with torch.no_grad():
                model.weight -= 0.01 * slope
            found = visit.after()["probes"] if visit else {}
            losses.append(loss.item())
            if watched:  # the same masks: (g⁺ − g) is then diagonal, a multiple of x⁺ − x coordinate by coordinate
                assert found["smoothness.squared"] > 0
        return losses

    assert run(True) == run(False)


def test_resuming_goes_on_with_the_intervals(source, tmp_path, monkeypatch):
    experiment = tiny.experiment(source, {"probes.every": 4, "probes.kinds": ["gradient"]})
    train(experiment, tmp_path / "whole")
    take_step = loop.log_step

    def die_at_9(run, step, *rest):
        if step == 9:
            raise SystemExit("killed")
        take_step(run, step, *rest)

    monkeypatch.setattr(loop, "log_step", die_at_9)
    with pytest.raises(SystemExit):
        train(experiment, tmp_path / "halves")
    monkeypatch.setattr(loop, "log_step", take_step)
    train(experiment, tmp_path / "halves", resume=True)

    def probed(name):
        lines = [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        return [(line["step"], line["intervals"], line["probes"]) for line in lines if "probes" in line]

    assert probed("halves") == probed("whole")
    assert not (tmp_path / "whole" / "constants.json").exists()  # the gradient alone does not give L


def test_the_law_of_an_optimizer_counts_what_is_treated_as_a_whole():
    algorithm = ft.parse({"name": "x", "algorithm": {"density": 0.25, "subspace": "columns", "state_full": "sgdm"}}).algorithm
    group = {"param_names": ["a"], "params": [torch.zeros(4, 8)], "split": True}
    rest = {"param_names": ["b"], "params": [torch.zeros(3)], "split": "state_full"}
    assert law_of(algorithm, [group, rest]) == {"law": "redrawn", "share": {"a": 0.25, "b": 1.0}}
    assert law_of(algorithm, [rest]) == {"law": "fixed", "share": {"b": 1.0}}
    svd = algorithm.model_copy(update={"subspace": "svd"})
    assert law_of(svd, [group]) is None


@pytest.mark.parametrize("changes", [{"split_lr_scale": 0.25}, {"norms": {"rule": "sgdm"}}])
def test_a_run_of_several_algorithms_is_none_of_the_theorems(changes):
    table = {"state_full": "sgdm", "state_free": "sgd", **changes}
    assert off_the_law(ft.parse({"name": "x", "algorithm": table}).algorithm) is not None
    assert off_the_law(ft.parse({"name": "x", "algorithm": {"state_full": "sgdm"}}).algorithm) is None


def test_a_learning_rate_that_varies_is_said(source, tmp_path):
    train(tiny.experiment(source, VARYING), tmp_path)
    found = {v["theorem"]: v for v in json.loads((tmp_path / "verdicts.json").read_text())}
    assert {v["status"] for v in found.values()} == {"not applicable"}
    assert found["run_length"]["reason"].startswith("Premise P5 fails: sequences are drawn without replacement")
    drawn = train(tiny.experiment(source, {**VARYING, "data.sampling": "independent"}), tmp_path / "independent")
    found = {v["theorem"]: v for v in json.loads((drawn.folder / "verdicts.json").read_text())}
    assert found["run_length"]["reason"].startswith("The learning rate varies: it is constant for the first 1 of 6 steps alone")


VARYING = {
    **ALL,
    "training.steps": 6,
    "training.warmup_steps": 3,
    "algorithm.state_full": {"rule": "sgdm"},
    "algorithm.state_free": "sgd",
}
