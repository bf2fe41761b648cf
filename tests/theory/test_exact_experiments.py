"""Exact expectations of whole experiments: Monte Carlo agrees, what is refused, and the experiment's own numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import frugal_theory as ft
from frugal_theory.evidence.exact.expectations import exact_metrics
from tests.tolerances import LONG_RECURSION, STANDARD_ERRORS

SETTINGS: dict[str, dict[str, Any]] = {
    "fixed": {"algorithm.set": [0, 3, 4]},
    "everything": {"algorithm.density": 1.0, "problem.rotated": True},
    "nothing": {"algorithm.density": 0.0},
    "bernoulli": {"algorithm.update_gap": 1},
    "bernoulli-held": {},
    "bernoulli-rotated": {"algorithm.update_gap": 1, "problem.rotated": True},
    "fixed-size-rotated": {"algorithm.update_gap": 1, "algorithm.sampling": "fixed_size", "problem.rotated": True},
    "held-rotated": {"problem.rotated": True},
    "hold": {"algorithm.off_set_momentum": "hold", "algorithm.update_gap": 3},
    "blocks": {"algorithm.subspace": "blocks", "problem.blocks": 5},
    "blocks-ascending": {"algorithm.subspace": "blocks", "algorithm.order": "ascending", "problem.blocks": 5},
    "eigen": {"algorithm.subspace": "eigen", "problem.rotated": True},
    "random": {"algorithm.subspace": "random"},
    "student": {"noise.kind": "student-t", "noise.degrees_of_freedom": 8.0},
    "none": {"noise": {"kind": "none"}},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_monte_carlo_agrees_within_its_interval(name: str, quadratic: Any) -> None:
    experiment = quadratic({"algorithm.learning_rate": 0.2, "simulation.trials": 256, **SETTINGS[name]})
    sampled, exact = ft.simulate(experiment), ft.exact(experiment)
    assert exact.source == "exact"
    assert exact.metric == sampled.metric == "squared_gradient_norm"
    assert exact.steps.tolist() == sampled.steps.tolist()
    confidence = 1 - 1e-5
    lower, upper = sampled.interval(confidence)
    own_lower, own_upper = exact.interval(confidence)
    slack = LONG_RECURSION * exact.mean
    assert np.all(own_lower <= upper + slack)
    assert np.all(lower <= own_upper + slack)
    if exact.trials == 1 and name != "none":  # no point would be missed by evidence that is a tenth off
        assert np.max((upper - lower) / exact.mean) < 0.25


# --- what is refused, and the experiment's own numbers --------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"algorithm.state_full": "adamw"}, '"sgdm" is allowed'),
        ({"algorithm.state_free": "signsgd"}, '"sgd", "none" are allowed'),
        ({"noise": {"kind": "student-t", "degrees_of_freedom": 2.0}}, "infinite variance"),
        ({"problem": {"kind": "nonconvex"}}, 'problem.kind = "quadratic" is allowed'),
    ],
)
def test_what_is_refused(changes: dict[str, Any], says: str, quadratic: Any) -> None:
    with pytest.raises(ft.ExperimentError, match="test: no exact expectation: ") as caught:
        ft.exact(quadratic(changes))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_rules_that_never_apply_do_not_matter(quadratic: Any) -> None:
    everything = ft.exact(quadratic({"algorithm.density": 1.0}))
    assert (
        ft.exact(quadratic({"algorithm.density": 1.0, "algorithm.state_free": "signsgd"})).mean.tolist()
        == everything.mean.tolist()
    )
    nothing = ft.exact(quadratic({"algorithm.density": 0.0}))
    assert (
        ft.exact(quadratic({"algorithm.density": 0.0, "algorithm.state_full": "lion"})).mean.tolist() == nothing.mean.tolist()
    )


def test_a_fraction_of_the_admissible_step_is_resolved(quadratic: Any) -> None:
    experiment = quadratic({"algorithm.learning_rate": {"fraction_of_admissible": 0.5}})
    alpha = ft.resolved(experiment).algorithm.learning_rate
    assert isinstance(alpha, float)
    assert ft.exact(experiment).mean.tolist() == ft.exact(experiment, learning_rate=alpha).mean.tolist()


def test_unknown_metrics_are_refused(quadratic: Any) -> None:
    with pytest.raises(ft.ExperimentError, match="squared_gradient_norm"):
        exact_metrics(quadratic(), ["loss"])
    with pytest.raises(ft.ExperimentError, match="squared_gradient_norm"):
        ft.exact(quadratic(), metric="loss")


def test_the_metric_by_name(quadratic: Any) -> None:
    """With independent draws at every step E‖g‖²_W = ω E‖g‖², ω = 1 − pβ(1−p)/(1−pβ)."""
    experiment = quadratic({"algorithm.update_gap": 1})
    plain, weighted = ft.exact(experiment), ft.exact(experiment, metric="weighted_squared_gradient_norm")
    assert weighted.metric == "weighted_squared_gradient_norm"
    omega = 1 - 0.5 * 0.9 * (1 - 0.5) / (1 - 0.5 * 0.9)
    np.testing.assert_allclose(weighted.mean, omega * plain.mean, rtol=LONG_RECURSION)


@pytest.mark.ecosystem
@pytest.mark.parametrize("gap", [1, 2])
def test_thousands_of_steps_on_a_rotated_quadratic_stay_exact(quadratic, gap):
    """Rounding must not grow: with a step of 1/2 the moments are stationary long before the end, and Monte Carlo agrees."""
    experiment = quadratic(
        {
            "problem": {"kind": "quadratic", "dimension": 6, "rotated": True},
            "algorithm": {"learning_rate": 0.5, "density": 0.5, "update_gap": gap, "subspace": "coordinates"}
            | {"state_full": {"rule": "sgdm", "beta": 0.5}, "state_free": "sgd"},
            "simulation": {"steps": 2000, "trials": 96},
        }
    )
    found, sampled = ft.exact(experiment), ft.simulate(experiment)
    error = STANDARD_ERRORS * sampled.deviation[-1] / np.sqrt(sampled.trials)
    assert abs(found.mean[-1] - sampled.mean[-1]) < error
