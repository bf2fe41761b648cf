"""Probes against the truth: exhaustive batches, the dense Hessian, closed forms."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import quadratic_rows
import torch
from scipy.stats import kurtosis, skew
from tolerances import FACTORISATION, FLOAT32, ROUNDING, SMALL_STEPS, STANDARD_ERRORS
from torch import nn

from frugal_gpu.data.batches import independent_indices
from frugal_gpu.model.llama import build_model, model_shape
from frugal_gpu.probes import Moment, Objective, measure
from frugal_gpu.probes.angles import leading_basis, principal_cosines
from frugal_gpu.probes.curvature import hessian_product
from frugal_gpu.probes.lanczos import lanczos, random_start
from frugal_gpu.probes.noise import moments
from frugal_gpu.probes.objective import gradients, parameters_of
from frugal_gpu.probes.probe import moved
from frugal_theory import config

# --- the gradient and its noise


def test_halves_and_pairs_are_unbiased_by_enumeration():
    """Every draw of four micro-batches of one row: ⟨A, B⟩ averages to ‖∇f‖² and ½‖g − g'‖² to the variance, exactly."""
    model = quadratic_rows.three()
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
    model = quadratic_rows.three()
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
    model = quadratic_rows.three()

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
