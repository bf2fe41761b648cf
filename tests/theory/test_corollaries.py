"""Corollaries of the run-length theorem and its sharper forms: formulas, reductions, and exact expectations below them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import frugal_theory as ft
from frugal_theory.algorithm.run_lengths import run_lengths
from frugal_theory.config import Algorithm
from frugal_theory.evidence.exact.expectations import expectations
from frugal_theory.instance import Instance, setting_of
from frugal_theory.problems import Gaussian, Quadratic
from frugal_theory.theorems import THEOREMS
from frugal_theory.theorems.fixed_set import FixedSet
from frugal_theory.theorems.held_sets import HeldSets
from frugal_theory.theorems.independent_sampling import IndependentSampling
from frugal_theory.theorems.orthogonal_subspaces import OrthogonalSubspaces
from frugal_theory.theorems.run_length import RunLength
from frugal_theory.theorems.run_length_by_coordinate import RunLengthByCoordinate
from frugal_theory.theorems.run_length_sharp import GAINS, RunLengthSharp, decay
from frugal_theory.theorems.sgd import Sgd
from frugal_theory.theorems.short_runs import ShortRuns, memory
from tests.tolerances import ROUNDING

ROOT = np.sqrt(2)


def setting(experiment, alpha=0.004):
    return setting_of(experiment).having(learning_rate=alpha)


def law(**keys):
    defaults = {"density": 0.25, "update_gap": 1, "subspace": "coordinates", "state_full": {"rule": "sgdm", "beta": 0.9}}
    return run_lengths(Algorithm(**(defaults | keys)), {"x": (8,)})


def test_a_fixed_set_bounds_the_plain_norm_without_a_leak(quadratic):
    s = setting(quadratic({"algorithm.set": [0, 3, 7], "noise.sigma": [0.1 * (j + 1) for j in range(12)]}))
    on_set = sum((0.1 * (j + 1)) ** 2 for j in (0, 3, 7))
    noise = 0.002 * (s.total_variance + ROOT * 0.9 / 1.9 * on_set)
    expected = (s.gap / (s.horizons * 0.004) + noise) / (1 - 0.004 * (0.5 + 9 * ROOT))
    np.testing.assert_allclose(FixedSet().bound(s), expected, rtol=ROUNDING)


@pytest.mark.parametrize("scale", [1.0, 0.4])
def test_independent_sampling_divides_by_omega(quadratic, scale):
    p, beta = 0.3, 0.9
    overrides = {"algorithm.density": p, "algorithm.update_gap": 1, "algorithm.state_free.lr_scale": scale}
    s = setting(quadratic(overrides))
    omega = p * (1 - beta) / (1 - p * beta) + (1 - p) * scale
    if scale == 1:
        assert omega == pytest.approx(1 - p * beta * (1 - p) / (1 - p * beta))
    np.testing.assert_allclose(IndependentSampling().bound(s), RunLength().bound(s) / omega, rtol=ROUNDING)


def test_the_effective_step_of_independent_sampling(quadratic):
    """On a constant gradient the mean displacement per step tends to αω_p g, with ω_p of the corollary."""
    p, beta, steps, trials = 0.3, 0.9, 400, 3000
    algorithm = quadratic({"algorithm.density": p, "algorithm.update_gap": 1}).algorithm
    x, state = {"x": np.zeros((trials, 1))}, ft.init(trials=np.arange(trials))
    for _ in range(steps):
        x, state = ft.step(algorithm, x, {"x": np.ones((trials, 1))}, state, 1.0)
    displacement = -x["x"][:, 0] / steps
    omega = 1 - p * beta * (1 - p) / (1 - p * beta)
    error = displacement.std() / np.sqrt(trials)
    assert abs(displacement.mean() - omega) <= 5 * error + beta / (1 - beta) / steps  # what the last steps still owe
    assert error < 0.01 * omega


def test_held_sets_divide_by_the_smallest_weight(quadratic):
    p, beta, gap = 0.5, 0.9, 10
    s = setting(quadratic())
    least = 1 - beta * (1 - p) / (1 - p * beta**gap)
    at_end = RunLength().bound(s)[gap - 1 :] / least
    np.testing.assert_allclose(HeldSets().bound(s)[gap - 1 :], at_end, rtol=ROUNDING)
    basis = setting(quadratic({"algorithm.subspace": "random"}))
    np.testing.assert_allclose(HeldSets().bound(basis)[-1], RunLength().bound(basis)[-1] / (1 - beta), rtol=ROUNDING)


def test_orthogonal_subspaces_are_the_closed_form(quadratic):
    alpha, rho, gap = 0.004, 0.5, 10
    s = setting(quadratic({"algorithm.subspace": "random"}))
    left = gap - np.arange(s.steps) % gap
    squares = np.cumsum((1 - 0.9**left) ** 2) / s.horizons
    noise = alpha * s.total_variance / 2 * (1 - rho + rho * (1 + ROOT * 0.9 / 1.9) * squares)
    expected = (s.gap / (s.horizons * alpha) + noise) / (1 - alpha * (0.5 + 9 * ROOT))
    np.testing.assert_allclose(OrthogonalSubspaces().bound(s), expected, rtol=ROUNDING)


def short_form(s):
    """The bound of run-length.md with Γ = 1, η = Lαβ/(1−β)."""
    alpha, beta = s.alpha, s.beta
    everything, on_set = (np.cumsum(noise) / s.horizons for noise in s.runs.noise(s.variance, s.steps))
    total = s.gap / (s.horizons * alpha) + s.smoothness * alpha / 2 * (everything + beta * on_set)
    return total / (1 - s.smoothness * alpha * (1 + beta) / (2 * (1 - beta)))


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.9])
def test_the_sharp_form_is_below_its_short_form_and_the_run_length_theorem(quadratic, beta, share):
    s = setting(quadratic({"algorithm.state_full.beta": beta}))
    s = s.having(learning_rate=share * RunLength().largest_step(s)[0])
    sharp = RunLengthSharp().bound(s)
    assert np.all(sharp <= short_form(s) * (1 + ROUNDING))
    assert np.all(sharp <= RunLength().bound(s) * (1 + ROUNDING))


def test_the_sharp_form_without_noise_is_the_short_form(quadratic):
    s = setting(quadratic({"noise": {"kind": "none"}, "algorithm.density": 1.0}), 0.025)
    np.testing.assert_allclose(RunLengthSharp().bound(s), short_form(s), rtol=1e3 * ROUNDING)


def test_the_numbers_of_theory_md():
    """K = 20, Δ = L = 1, β = 0.9, no noise, the published step: 2.58, where section 4 gives 2.95."""
    alpha = 0.1 / (4 - 0.9 + 0.81)
    assert 1 / (20 * alpha) / (1 - alpha * 1.9 / 0.2) == pytest.approx(2.58, abs=5e-3)
    gain = (0.5 + 9 * ROOT) / (1.9 / 0.2)
    assert gain == pytest.approx(1 + (ROOT - 1) * 2 * 0.9 / 1.9)


def test_decay_inverts_the_gain():
    for beta in (0.1, 0.9, 0.999):
        theta = decay(beta, GAINS)
        assert np.all((theta > beta**2) & (theta <= beta * (1 + ROUNDING)))
        gain = (1 - beta) ** 2 * theta / ((theta - beta**2) * (1 - theta))
        np.testing.assert_allclose(gain, GAINS, rtol=1e-5)  # θ is a double root at Γ = 1: half of the digits are lost


def test_smoothness_by_coordinate_is_the_formula(quadratic):
    sigma = np.array([0.1 * (j + 1) for j in range(12)])
    s = setting(quadratic({"algorithm.set": [0, 3, 7], "noise.sigma": list(sigma)}))
    curved = sigma**2 / np.arange(1, 13)
    noise = 0.002 * (curved.sum() + 0.9 * curved[[0, 3, 7]].sum())
    expected = (s.gap / (s.horizons * 0.004) + noise) / (1 - 0.004 * 1.9 / 0.2)
    np.testing.assert_allclose(RunLengthByCoordinate().bound(s), expected, rtol=ROUNDING)
    assert np.all(RunLengthByCoordinate().bound(s) < short_form(s))


@pytest.mark.parametrize("theorem", [RunLengthSharp(), RunLengthByCoordinate(), ShortRuns()])
def test_without_momentum_the_sharper_forms_are_the_sgd_bound(quadratic, theorem):
    s = setting(quadratic({"algorithm.state_full.beta": 0.0, "problem.exponent": 0.0}), 0.7)
    np.testing.assert_allclose(theorem.bound(s), Sgd().bound(s), rtol=ROUNDING)


@pytest.mark.parametrize(("p", "beta"), [(0.25, 0.5), (0.25, 0.99), (0.9, 0.999)])
def test_the_memory_of_independent_sampling(p, beta):
    square = 1 - 2 * (1 - p) * beta / (1 - p * beta) + (1 - p) * beta**2 / (1 - p * beta**2)
    found = memory(law(density=p, state_full={"rule": "sgdm", "beta": beta}))
    assert found == pytest.approx(p * square, rel=1e6 * ROUNDING)  # W² of order (1−β)² by cancellation
    assert found * (beta / (1 - beta)) ** 2 <= p * (1 + p) / (1 - p) ** 2


def test_the_memory_of_a_turning_basis_by_brute_force():
    gap, beta = 7, 0.8
    found = memory(law(subspace="random", update_gap=gap, state_full={"rule": "sgdm", "beta": beta}))
    ratios = []
    for i in range(gap):
        weight = sum((1 - beta ** (gap - k)) ** 2 * (1 - beta**k) * (1 - beta) * beta ** (k - 1 - i) for k in range(i + 1, gap))
        ratios.append(weight / (1 - beta ** (gap - i)))
    assert found == pytest.approx(max(ratios), rel=ROUNDING)


def test_the_memory_of_drawn_units_by_simulation():
    """C at the first step of a run, from runs of a geometric number of periods."""
    p, gap, beta = 0.4, 3, 0.7
    rng = np.random.default_rng(0)
    ratios = []
    for left in (1, 2, 3):
        lengths = left + gap * (rng.geometric(1 - p, size=40_000) - 1)
        ahead = [sum((1 - beta ** (n - d)) ** 2 * (1 - beta) * beta ** (d - 1) for d in range(1, n)) for n in lengths]
        ratios.append(np.mean(ahead) / np.mean(1 - beta**lengths))
    found = memory(law(density=p, update_gap=gap, state_full={"rule": "sgdm", "beta": beta}))
    assert found == pytest.approx(max(ratios), rel=0.02)  # 40,000 runs: a standard error below 0.4 %


def test_memory_is_never_above_one():
    for subspace in ("coordinates", "random"):
        for gap in (1, 5, 300):
            assert 0 <= memory(law(subspace=subspace, update_gap=gap)) <= 1
    assert memory(law(subspace="random", update_gap=1)) == 0
    assert memory(law(state_full={"rule": "sgdm", "beta": 0.0})) == 0


def test_the_step_condition_of_short_runs_survives_beta_to_one(quadratic):
    steps = []
    for beta in (0.9, 0.99, 0.9999):
        s = setting(quadratic({"algorithm.state_full.beta": beta, "algorithm.update_gap": 1, "algorithm.density": 0.25}))
        steps.append(ShortRuns().largest_step(s)[0])
    assert min(steps) > 0.8
    assert RunLengthSharp().largest_step(s)[0] < 2e-4


RATE = {"algorithm.learning_rate": {"fraction_of_admissible": 0.95}}
ALL = ["fixed_set", "independent_sampling", "held_sets", "orthogonal_subspaces", "run_length_sharp", "short_runs"]


@pytest.mark.parametrize(
    "overrides",
    [
        {"algorithm.set": [0, 3, 7]},
        {"algorithm.density": 1.0},
        {"algorithm.subspace": "eigen", "problem.rotated": True},
        {"algorithm.update_gap": 1},
        {"algorithm.update_gap": 4, "algorithm.density": 0.2},
        {"algorithm.subspace": "random", "algorithm.update_gap": 5, "problem.rotated": True},
        {"algorithm.subspace": "blocks", "algorithm.order": "ascending", "algorithm.update_gap": 3},
        {"problem": {"kind": "matrix"}, "algorithm.subspace": "columns", "algorithm.update_gap": 3},
    ],
    ids=str,
)
def test_every_one_that_applies_holds(quadratic, overrides):
    names = [*ALL, "run_length_by_coordinate"]
    statuses = {v.theorem: v.status for v in ft.verify(quadratic(overrides | RATE | {"verify.theorems": names}))}
    assert set(statuses.values()) <= {"holds", "not applicable"}
    assert statuses["run_length_sharp"] == "holds"
    assert sum(status == "holds" for status in statuses.values()) >= 2


SILENT = {"noise": {"kind": "none"}}
COVERED = [
    ("fixed_set", {"algorithm.set": [0]}, True),
    ("fixed_set", {}, False),
    ("fixed_set", {"algorithm.set": [0], "algorithm.state_free.lr_scale": 0.5}, False),
    ("independent_sampling", {"algorithm.update_gap": 1}, True),
    ("independent_sampling", {}, False),
    ("independent_sampling", {"algorithm.update_gap": 1, "algorithm.state_free.rule": "none"}, False),
    ("held_sets", {}, True),
    ("held_sets", {"algorithm.set": [0]}, False),
    ("held_sets", {"algorithm.state_free.rule": "none"}, False),
    ("held_sets", {"algorithm.off_set_momentum": "hold"}, False),
    ("orthogonal_subspaces", {"algorithm.subspace": "random"}, True),
    ("orthogonal_subspaces", {"algorithm.subspace": "random", "algorithm.on_update": "keep"}, False),
    ("orthogonal_subspaces", {}, False),
    ("short_runs", {}, True),
    ("short_runs", {"algorithm.density": 1.0}, False),
    ("run_length_by_coordinate", {}, True),
    ("run_length_by_coordinate", {"algorithm.subspace": "random"}, False),
    ("run_length_by_coordinate", {"algorithm.subspace": "eigen"}, False),
    ("run_length_sharp", {"algorithm.state_free.rule": "signsgd"}, False),
    ("eigen_aligned", SILENT | {"algorithm.set": [0, 1]}, True),
    ("eigen_aligned", SILENT | {"algorithm.subspace": "eigen", "problem.rotated": True}, True),
    ("eigen_aligned", SILENT | {"algorithm.density": 1.0, "problem.rotated": True}, True),
    ("eigen_aligned", SILENT | {"algorithm.set": [0, 1], "problem.rotated": True}, False),
    ("eigen_aligned", SILENT, False),
    ("eigen_aligned", {"algorithm.set": [0, 1]}, False),
    ("eigen_aligned", {"problem": {"kind": "logistic", "dataset": "digits"}, "algorithm.density": 1.0} | SILENT, False),
]


@pytest.mark.parametrize(("name", "overrides", "covered"), COVERED, ids=str)
def test_what_each_covers(quadratic, name, overrides, covered):
    reason = THEOREMS[name].covers(setting(quadratic(overrides)))
    assert (reason is None) == covered


def random_instance(rng: np.random.Generator) -> Instance:
    """Algorithm 2 on a random separable quadratic, its α still open, with an exact recursion."""
    eigenvalues = rng.random(int(rng.integers(1, 4))) ** rng.choice([0, 1, 3])
    eigenvalues /= eigenvalues.max()
    algorithm = Algorithm(
        density=float(rng.choice([0.1, 0.3, 0.8, 1.0])),
        update_gap=int(rng.choice([1, 2, 7])),
        subspace="coordinates",
        state_full={"rule": "sgdm", "beta": float(rng.choice([0.3, 0.8, 0.9, 0.99, 0.999]))},
        state_free={"rule": "sgd", "lr_scale": float(rng.choice([0.1, 1.0]))},
        seed=0,
    )
    start = rng.standard_normal(eigenvalues.size) * rng.choice([0.0, 0.1, 1.0])
    problem = Quadratic(eigenvalues, start=tuple(start))
    noise = Gaussian(tuple(0.01 + rng.random(eigenvalues.size)))
    return Instance.of_parts(problem, noise, algorithm, steps=int(rng.integers(2, 150)))


@pytest.mark.parametrize(
    "name", ["fixed_set", "independent_sampling", "held_sets", "run_length_sharp", "short_runs", "run_length_by_coordinate"]
)
def test_exact_expectations_never_exceed_a_bound(name):
    rng = np.random.default_rng(3)
    theorem, ratios = THEOREMS[name], []
    for _ in range(60):
        made = random_instance(rng)
        s = made.setting
        if theorem.covers(s) is not None:
            continue
        s = s.having(learning_rate=theorem.largest_step(s)[0] * rng.choice([0.03, 0.3, 0.95]))
        found = expectations(replace(made, setting=s), (theorem.metric,))
        ratios.append(np.max(found[theorem.metric].mean / theorem.bound(s)))
    assert len(ratios) >= 5
    assert max(ratios) <= 1 + ROUNDING


class NoLag(RunLengthSharp):
    """The sharp form with the lag of momentum forgotten, as if β were 0: false."""

    name = "no_lag"

    def bound(self, setting):
        everything = np.cumsum(setting.runs.noise(setting.variance, setting.steps)[0]) / setting.horizons
        alpha = setting.alpha
        return setting.gap / (setting.horizons * alpha) + 0.3 * alpha / 2 * everything


def test_a_false_constant_is_violated(quadratic):
    problem = {"kind": "quadratic", "eigenvalues": [1.0] * 12, "start": [0.0] * 12}
    overrides = {"problem": problem, "algorithm.density": 1.0, "algorithm.learning_rate": 0.09}
    experiment = quadratic(overrides | {"noise.sigma": 1.0, "simulation": {"steps": 300, "trials": 128}})
    true, false = ft.verify(experiment, theorems=[RunLengthSharp(), NoLag()])
    assert (true.status, false.status) == ("holds", "violated")
