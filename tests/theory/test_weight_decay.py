"""Weight decay as a theorem, and what fails by name: decay beside momentum, clipping (P3), shuffled samples (P5)."""

from __future__ import annotations

import numpy as np
import pytest

import frugal_theory as ft
from frugal_theory.evidence.exact.expectations import expectations
from frugal_theory.evidence.monte_carlo.simulation import monte_carlo, simulation
from frugal_theory.instance import Instance, instance_of
from frugal_theory.premises import check_premises
from frugal_theory.problems import NoNoise, Quadratic
from frugal_theory.theorems import THEOREMS
from frugal_theory.verdicts.claims import Claims
from tests.tolerances import LONG_RECURSION, ROUNDING

THEOREM = THEOREMS["sgd_weight_decay"]
METRIC = THEOREM.metric
DECAY = {"algorithm.density": 0.0, "algorithm.weight_decay": 0.3, "algorithm.learning_rate": 0.5}


def measured(run, decay):
    """The running average of ‖∇f + λx‖², by Monte Carlo."""
    instance = instance_of(run)
    metric = THEOREM.measure(instance.setting)
    assert metric.decay == pytest.approx(decay, rel=ROUNDING)
    return monte_carlo(simulation(instance, (METRIC,), measures={METRIC: metric}))[METRIC].mean


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_it_is_sgd_on_the_regularised_objective(quadratic, scale):
    """On ½Σλx² the regularised objective is ½Σ(λ_j + λ/s)x²: the same metric and nearly the same bound, without any decay."""
    values = [1.0, 0.5, 0.1]
    table = {"problem": {"kind": "quadratic", "eigenvalues": values, "start": "ones"}, "noise": {"kind": "none"}}
    scaled = {"algorithm.state_free.lr_scale": scale}
    run = quadratic(table | DECAY | scaled)
    grown = {"eigenvalues": [value + 0.3 / scale for value in values]}
    bare = quadratic(table | DECAY | scaled | {"algorithm.weight_decay": 0.0} | {"problem": table["problem"] | grown})
    np.testing.assert_allclose(measured(run, 0.3 / scale), ft.exact(bare).mean, rtol=LONG_RECURSION)
    np.testing.assert_allclose(ft.bound(run, THEOREM.name), ft.bound(bare, "sgdm_sharp"), rtol=ROUNDING)
    assert THEOREM.largest_step(ft.setting_of(run)) == (pytest.approx(2 / (scale * (1 + 0.3 / scale))), False)


@pytest.mark.parametrize("name", ["sgd_weight_decay", "sgdm_linear"])
@pytest.mark.parametrize("rotated", [False, True])
def test_the_exact_engine_has_the_metric(quadratic, name, rotated):
    """Without noise one run is exact, too; with noise only the variance is added, by the same recursion."""
    table = {"problem": {"kind": "quadratic", "dimension": 5, "rotated": rotated}, "noise": {"kind": "none"}}
    more = DECAY if name == "sgd_weight_decay" else {"algorithm.density": 1.0, "algorithm.learning_rate": 0.5}
    instance, theorem = instance_of(quadratic(table | more)), THEOREMS[name]
    measures = {theorem.metric: theorem.measure(instance.setting)}
    run = monte_carlo(simulation(instance, (theorem.metric,), measures=measures))[theorem.metric].mean
    found = expectations(instance, (theorem.metric,), measures=measures)[theorem.metric].mean
    np.testing.assert_allclose(found, run, rtol=1e3 * LONG_RECURSION)


def test_the_gradient_of_f_itself_does_not_vanish(quadratic):
    """Where f is not least at 0: f = ½(x − 1)² ends at x = 1/(1+λ), ∇f = −λ/(1+λ), and only ∇f + λx goes to 0."""

    class Apart(Quadratic):
        def value(self, x):
            return super().value({"x": x["x"] - 1})

        def gradient(self, x):
            return super().gradient({"x": x["x"] - 1})

    algorithm = ft.setting_of(quadratic(DECAY | {"algorithm.weight_decay": 0.25})).algorithm
    instance = Instance.of_parts(Apart(np.ones(1), start=[3.0]), NoNoise(), algorithm, learning_rate=0.5, steps=400)
    setting = instance.setting
    metrics = ("squared_gradient_norm", METRIC)
    found = monte_carlo(simulation(instance, metrics, measures={METRIC: THEOREM.measure(setting)}))
    assert found["squared_gradient_norm"].mean[-1] > (0.25 / 1.25) ** 2
    assert found[METRIC].mean[-1] < (0.25 / 1.25) ** 2
    assert np.all(found[METRIC].mean <= THEOREM.bound(setting))
    np.testing.assert_allclose(THEOREM.bound(setting)[-1], (2 + 0.25 / 2 * 9) / (400 * 0.5) / (1 - 1.25 * 0.25), rtol=ROUNDING)


def test_without_the_decay_in_its_constants_it_is_false(quadratic):
    """F(x¹) without (λ/2)‖x¹‖² is too little where f is flat."""
    flat = {"problem": {"kind": "quadratic", "eigenvalues": [1.0, 0.0], "start": [0.0, 1.0]}, "noise": {"kind": "none"}}
    run = quadratic(flat | DECAY | {"algorithm.learning_rate": 1.0})
    average, setting = measured(run, 0.3), ft.setting_of(run)
    assert np.all(average <= THEOREM.bound(setting))
    assert np.all(average > THEOREM.bound(setting.having(squared_start=0.0)))


def test_verify_says_holds_and_why_momentum_is_refused(quadratic):
    def judged(**more):
        return ft.verify(quadratic(DECAY | {"verify.theorems": [THEOREM.name]} | more))[0]

    assert judged().status == "holds"
    refused = judged(**{"algorithm.density": 1.0})
    assert refused.status == "not applicable"
    assert "outside the momentum" in refused.reason


def test_a_metric_without_its_iterate_says_so(quadratic):
    metric = THEOREM.measure(ft.setting_of(quadratic(DECAY)))
    with pytest.raises(ValueError, match="needs the iterate"):
        metric({"x": np.ones((1, 2))}, {}, None, 0)


# --- failures that have a name ------------------------------------------------------------------------------------


class Clipped:
    """Gaussian noise, and then the stochastic gradient clipped to length 1: its mean is no longer the gradient."""

    def variance(self, problem):
        return {name: np.ones(shape) for name, shape in problem.shapes.items()}

    def sample(self, rng, problem, x, gradient):  # noqa: ARG002
        noisy = {name: g + rng.standard_normal(g.shape) for name, g in gradient.items()}
        length = np.sqrt(sum(np.sum(g**2, axis=-1, keepdims=True) for g in noisy.values()))
        return {name: g * np.minimum(1.0, 1.0 / length) for name, g in noisy.items()}


class WithoutReplacement:
    """Samples ±1 in a random order, each once an epoch of four; every trial has its own order."""

    def __init__(self):
        self.order, self.place = None, 0

    def variance(self, problem):
        return {name: np.ones(shape) for name, shape in problem.shapes.items()}

    def sample(self, rng, problem, x, gradient):  # noqa: ARG002
        (name, g), *_ = gradient.items()
        if self.order is None or self.place == 4 or self.order.shape[:-1] != g.shape[:-1]:
            samples = np.broadcast_to([1.0, 1.0, -1.0, -1.0], (*g.shape[:-1], 4))
            self.order, self.place = rng.permuted(samples, axis=-1), 0
        self.place += 1
        return {name: g + self.order[..., self.place - 1, None]}


@pytest.mark.parametrize(("noise", "premise"), [(Clipped(), "P3"), (WithoutReplacement(), "P5")], ids=["clipping", "shuffling"])
@pytest.mark.parametrize("theorem", ["sgdm_sharp", "sgd_weight_decay"])
def test_clipping_and_shuffling_are_refused_by_their_premise(quadratic, noise, premise, theorem):
    table = {"problem": {"kind": "quadratic", "eigenvalues": [1.0, 0.5], "start": [3.0, 3.0]}, "algorithm.density": 0.0}
    decay = {"algorithm.weight_decay": 0.3} if theorem == "sgd_weight_decay" else {}
    setting = ft.setting_of(quadratic(table | decay))
    instance = Instance.of_parts(setting.problem, noise, setting.algorithm)
    claims = Claims(instance, (THEOREMS[theorem],), check_premises(instance))
    assert claims.excuse(THEOREMS[theorem]).startswith(f"premise {premise} fails")
