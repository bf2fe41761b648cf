"""Lion on the set, and signSGD under noise of any tails: bounds, reductions, exact expectations, the premise of medians."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import frugal_theory as ft
from frugal_theory.instance import Instance, setting_of
from frugal_theory.metrics import MedianNorm
from frugal_theory.premises import LEVEL, PREMISES, Grounds
from frugal_theory.problems import Gaussian, NoNoise, Quadratic, StudentT
from frugal_theory.testing import Changed
from frugal_theory.theorems import THEOREMS
from tests.theory.adaptive_enumeration import tightest
from tests.theory.test_adaptive import hostile
from tests.tolerances import ROUNDING

LION = {"algorithm.state_full": "lion", "algorithm.state_free": "signsgd", "algorithm.learning_rate": 0.01}
SIGN = {"algorithm.density": 0.0, "algorithm.state_free": "signsgd", "algorithm.learning_rate": 0.01}


def lion(rng):
    first, second = rng.choice([0.0, 0.2, 0.5, 0.9, 0.97]), rng.choice([0.0, 0.3, 0.6, 0.9, 0.99])
    return {"rule": "lion", "betas": [float(first), float(second)]}


# --- Lion ------------------------------------------------------------------------------------------------------------


def test_exact_expectations_never_exceed_the_bound_of_lion():
    rng, found = np.random.default_rng(3), []
    while len(found) < 50:
        one = hostile(rng, lion)
        if THEOREMS["lion"].covers(one.setting) is None:
            found.append(tightest(one, ("lion",))["lion"])
    assert 0.3 < max(found) <= 1


def test_lion_without_its_first_momentum_is_signsgd(quadratic):
    on = setting_of(quadratic(LION | {"algorithm.density": 1.0, "algorithm.state_full": {"rule": "lion", "betas": [0.0, 0.9]}}))
    np.testing.assert_allclose(
        THEOREMS["lion"].bound(on), THEOREMS["signsgd_sharp"].bound(setting_of(quadratic(SIGN))), rtol=ROUNDING
    )


def test_the_bound_of_lion_on_everything_in_the_long_run(quadratic):
    s = setting_of(quadratic(LION | {"algorithm.density": 1.0, "simulation.steps": 20000, "noise.sigma": 0.3}))
    first, second = s.algorithm.state_full.betas
    past = np.sqrt((1 - second) / (1 + second))
    noise = min(np.sqrt(3) / 4 * (1 - first) + 2 * first * past, 2 * np.hypot(1 - first, first * past))
    curvature = float(sum(np.sum(v) for v in s.coordinate_smoothness.values()))
    limit = s.alpha * curvature * (0.5 + 2 * first / (1 - second)) + noise * 0.3 * 12
    added = np.diff(THEOREMS["lion"].bound(s) * s.horizons)  # what a late step adds
    assert added[-1] == pytest.approx(limit, rel=1e-6)


@pytest.mark.parametrize("changes", [{}, {"algorithm.density": 1.0}, {"algorithm.state_free": "none"}])
def test_lion_holds(quadratic, changes):
    keys = LION | {"verify.theorems": ["lion"], "algorithm.update_gap": 20, "simulation": {"steps": 60, "trials": 32}}
    (verdict,) = ft.verify(quadratic(keys | changes))
    assert verdict.status == "holds"


def test_lion_without_its_noise_is_violated(quadratic):
    """Small momenta, large noise: signs are wrong, and a bound without the noise's share is false."""
    true = THEOREMS["lion"]

    def silent(setting):
        return true.bound(setting.having(variance={name: 0 * value for name, value in setting.variance.items()}))

    keys = LION | {"algorithm.density": 1.0, "algorithm.state_full": {"rule": "lion", "betas": [0.5, 0.5]}}
    keys |= {"noise.sigma": 20.0, "simulation": {"steps": 400, "trials": 32}}
    keys |= {"problem.exponent": 0.0, "problem.start": [0.5] * 12}
    found = ft.verify(quadratic(keys), theorems=[true, Changed(true, "without noise", silent)])
    assert [verdict.status for verdict in found] == ["holds", "violated"]


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        ('not "lion"', {"algorithm.state_full": "adamw"}),
        ('the state-free rule is "sgd"', {"algorithm.state_free": "sgd"}),
        ("weight_decay", {"algorithm.weight_decay": 0.1}),
        ("not a set of coordinates", {"algorithm.subspace": "random"}),
    ],
)
def test_what_lion_does_not_cover(quadratic, words, changes):
    assert words in THEOREMS["lion"].covers(setting_of(quadratic(LION | changes)))


# --- heavy tails -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("law", [stats.norm(), stats.t(0.7), stats.t(1.5), stats.laplace(), stats.uniform(-1, 2)])
def test_a_sign_keeps_what_the_median_says(law):
    """E[g sign(g + ξ)] = |g|(1 − 2P(ξ ≤ −|g|)) ≥ ½|g| min(|g|/m, 1), m the median of |ξ|."""
    g = np.linspace(1e-3, 30, 4000)
    kept = g * (1 - 2 * law.cdf(-g))
    least = MedianNorm({"x": np.array([law.ppf(0.75)])})({"x": g[:, None]}, {}, None, 0)
    assert np.all(kept >= least * (1 - ROUNDING))
    assert np.min(kept / least) < 1.3


@pytest.mark.parametrize("noise", [Gaussian(0.4), StudentT(0.8, 0.4), NoNoise()])
def test_declared_medians_are_those_of_draws(noise):
    problem = Quadratic(np.ones(1))
    x = {"x": np.zeros((40001, 1))}
    drawn = noise.sample(np.random.default_rng(0), problem, x, problem.gradient(x))["x"]
    assert np.median(np.abs(drawn)) == pytest.approx(float(noise.median_deviation(problem)["x"][0]), rel=0.03, abs=1e-12)


def test_cauchy_noise_gets_a_verdict(quadratic):
    keys = SIGN | {"noise": {"kind": "student-t", "degrees_of_freedom": 1.0, "sigma": 0.5}}
    medians, sharp = ft.verify(quadratic(keys | {"verify.theorems": ["signsgd_medians", "signsgd_sharp"]}))
    assert (medians.status, sharp.status) == ("holds", "not applicable")
    assert medians.tightness > 0.2
    assert [premise.name for premise in medians.premises] == ["P1", "P2", "P5", "P6", "coordinate_smoothness", "symmetric"]


class Skewed(Gaussian):
    """E ξ = 0, but not symmetric."""

    def sample(self, rng, problem, x, gradient):  # noqa: ARG002
        return {name: g + self.sigma * (rng.exponential(size=g.shape) - 1) for name, g in gradient.items()}


class TwoModes(Gaussian):
    """Symmetric, with two modes inside the median."""

    def sample(self, rng, problem, x, gradient):  # noqa: ARG002
        return {
            name: g + self.sigma * rng.choice([-1, 1], g.shape) * (0.5 + 0.1 * rng.standard_normal(g.shape))
            for name, g in gradient.items()
        }


class Wider(Gaussian):
    """A median size a tenth larger than is said."""

    def sample(self, rng, problem, x, gradient):
        return {
            name: g + 1.1 * (v - g)
            for (name, v), g in zip(super().sample(rng, problem, x, gradient).items(), gradient.values(), strict=True)
        }


@pytest.mark.parametrize(("noise", "words"), [(Skewed(1.0), "one sign"), (TwoModes(1.0), "half"), (Wider(1.0), "exceed")])
def test_planted_laws_are_refused(noise, words):
    one = Instance.of_parts(Quadratic(np.ones(2)), noise, ft.Algorithm(density=0.0), learning_rate=0.1)
    found = Grounds(one, LEVEL, PREMISES).premise("symmetric")
    assert not found.held
    assert words in found.how


def test_symmetric_laws_are_not_refused():
    for noise in (StudentT(1.0, 0.5), StudentT(4.0, [0.5, 0.0])):
        one = Instance.of_parts(Quadratic(np.ones(2)), noise, ft.Algorithm(density=0.0), learning_rate=0.1)
        found = Grounds(one, LEVEL, PREMISES).premise("symmetric")
        assert found.held, found.how
