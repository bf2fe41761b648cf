"""Code of one's own that is not what it should be: no number and no verdict comes of it, on itself or on others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import numpy as np
import pytest

import frugal_theory as ft
from frugal_theory.config import Part
from frugal_theory.instance import Instance
from frugal_theory.metrics import METRICS, add_metric
from frugal_theory.premises import check_premises
from frugal_theory.testing import Changed

Arrays = dict[str, np.ndarray]

SGD = ft.THEOREMS["sgd"]


class Parabola:
    """½ Σ λ_j x_j² in a matrix and a vector. ``scale``: of its value alone; ``turned``: what its gradient has too much."""

    infimum, smoothness = 0.0, 1.0
    eigenvalues: Mapping[str, np.ndarray] = {"a": np.array([[1.0, 0.5, 0.25], [0.1, 0.2, 0.3]]), "b": np.array([0.4, 0.05])}

    def __init__(self, scale: float = 1.0, turned: float = 0.0, moving: bool = False) -> None:
        self.scale, self.turned, self.moving = scale, turned, moving
        self.shapes = {name: value.shape for name, value in self.eigenvalues.items()}

    def start(self, rng: np.random.Generator) -> Arrays:  # noqa: ARG002
        return {name: np.ones(shape) for name, shape in self.shapes.items()}

    def value(self, x: Mapping[str, np.ndarray]) -> np.ndarray:
        halves = {name: 0.5 * self.eigenvalues[name] * value**2 for name, value in x.items()}
        return self.scale * (halves["a"].sum(axis=(-2, -1)) + halves["b"].sum(axis=-1))

    def gradient(self, x: Mapping[str, np.ndarray]) -> Arrays:
        if self.moving:
            np.clip(x["b"], -0.5, 0.5, out=x["b"])
        found = {name: self.eigenvalues[name] * value for name, value in x.items()}
        found["b"] = found["b"] + self.turned * x["b"][..., ::-1] * np.array([1.0, -1.0])
        return found


class ParabolaTable(Part):
    kind: Literal["parabola"] = "parabola"
    scale: float = 1.0
    turned: float = 0.0
    moving: bool = False


class SignsTable(Part):
    """±σ. ``slip``: what is wrong with it."""

    kind: Literal["signs"] = "signs"
    slip: str = ""


class Signs:
    def __init__(self, slip: str) -> None:
        self.slip, self.rng = slip, np.random.default_rng(1)

    def variance(self, problem: Any) -> Arrays:
        if self.slip == "one number":
            return dict.fromkeys(problem.shapes, 0.25)
        sign = -1.0 if self.slip == "negative" else 1.0
        return {name: np.full(shape, sign * 0.25) for name, shape in problem.shapes.items()}

    def sample(self, rng: np.random.Generator, problem: Any, x: Arrays, gradient: Arrays) -> Arrays:  # noqa: ARG002
        if self.slip == "own generator":
            rng = self.rng
        drawn = {name: 0.5 * rng.choice([-1.0, 1.0], g.shape) for name, g in gradient.items()}
        if self.slip == "moves x":
            x["a"] += 0.01
        if self.slip != "in place":
            return {name: g + drawn[name] for name, g in gradient.items()}
        for name in gradient:
            gradient[name] += drawn[name]
        return gradient


@pytest.fixture(autouse=True)
def _added() -> Iterator[None]:
    with ft.extended():
        ft.add_problem(ParabolaTable, lambda table, _, __: Parabola(table.scale, table.turned, table.moving))
        ft.add_noise(SignsTable, lambda table: Signs(table.slip))
        yield


def experiment(problem: dict[str, Any] | None = None, noise: dict[str, Any] | None = None) -> ft.Experiment:
    """SGD on the parabola, 40 steps, 64 trials."""
    return ft.parse(
        {
            "name": "own",
            "algorithm": {"density": 0.0, "state_full": "sgdm", "state_free": "sgd", "learning_rate": 0.5},
            "problem": {"kind": "parabola", **(problem or {})},
            "noise": noise or {"kind": "signs"},
            "simulation": {"steps": 40, "trials": 64},
            "verify": {"theorems": ["sgd"]},
        }
    )


def judged(*theorems: Any, **tables: Any) -> list[ft.Verdict]:
    return ft.verify(experiment(**tables), theorems=theorems or None)


# --- what is given is not theirs to change ---------------------------------------------------------------------------


def test_a_noise_that_writes_to_its_gradient_leaves_the_true_one_alone() -> None:
    """The measured gradient would have its noise in it, and the true theorem be "violated"."""
    true, written = (ft.simulate(experiment(noise={"kind": "signs", "slip": slip})) for slip in ("", "in place"))
    np.testing.assert_array_equal(written.mean, true.mean)
    assert judged(noise={"kind": "signs", "slip": "in place"})[0].status == "holds"


@pytest.mark.parametrize("tables", [{"noise": {"kind": "signs", "slip": "moves x"}}, {"problem": {"moving": True}}])
def test_x_cannot_be_moved_by_whom_it_is_shown_to(tables: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="read-only"):
        ft.verify(experiment(**tables))
    with pytest.raises(ValueError, match="read-only"):
        ft.simulate(experiment(**tables))


def test_a_metric_cannot_change_the_gradient_of_the_next() -> None:
    def greedy(gradients: Arrays, *_: Any) -> np.ndarray:
        gradients["a"] *= 2
        return np.zeros(len(gradients["a"]))

    add_metric("greedy", greedy)
    with pytest.raises(ValueError, match="read-only"):
        ft.simulate(experiment(), metric="greedy")


def test_a_theorem_cannot_change_what_the_next_is_told() -> None:
    def greedy(setting: ft.Setting) -> np.ndarray:
        for name in setting.variance:
            np.multiply(setting.variance[name], 100, out=setting.variance[name])
        return SGD.bound(setting)

    with pytest.raises(ValueError, match="read-only"):
        judged(Changed(SGD, "greedy", greedy), SGD)


def test_a_noise_with_a_generator_of_its_own_gives_no_verdict() -> None:
    """Each process would have a copy of it: 64 trials are then 32, twice, and an interval too narrow."""
    (verdict,) = judged(noise={"kind": "signs", "slip": "own generator"})
    assert verdict.reason.startswith("Premise P5 fails: Signs noise is not drawn from the generator that it is given alone")
    assert judged()[0].status == "holds"


# --- shapes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bound", "said"),
    [
        (lambda s: SGD.bound(s)[-1:], r"shape \(1,\)"),
        (lambda s: np.append(SGD.bound(s), 0.0), r"shape \(41,\)"),
        (lambda s: SGD.bound(s)[:, None], r"shape \(40, 1\)"),
        (lambda _: 5.0, "float"),
        (lambda _: None, "NoneType"),
        (lambda _: {"k": 1.0}, "dict"),
        (lambda s: SGD.bound(s) + 0j, "shape"),
    ],
    ids=["the last alone", "from K = 0 on", "a column", "a number", "nothing", "a dict", "complex"],
)
@pytest.mark.parametrize("noise", [{"kind": "signs"}, {"kind": "none"}], ids=["signs", "none"])
def test_a_bound_is_one_number_a_horizon(bound: Callable[..., Any], said: str, noise: dict[str, Any]) -> None:
    with pytest.raises(ft.ExperimentError, match=f"^mine: bound gives .*{said}.*each K = 1 … 40"):
        judged(Changed(SGD, "mine", bound, name="mine"), noise=noise)


def test_a_theorem_that_needs_what_nobody_tests_does_not_hold() -> None:
    theorem = Changed(SGD, "mine", SGD.bound, name="mine")
    theorem.needs = lambda _: ("coordinate_smothness",)
    with pytest.raises(ft.ExperimentError, match=r'^mine: needs the premise "coordinate_smothness".*"coordinate_smoothness"'):
        judged(theorem)
    theorem.needs = lambda _: "symmetric_unimodal"  # type: ignore[assignment, return-value]
    (verdict,) = judged(theorem)
    assert "premise symmetric_unimodal fails" in verdict.reason.lower()


@pytest.mark.parametrize("said", [True, False, ""])
def test_a_theorem_covers_a_setting_or_says_why_not(said: object) -> None:
    """False, for "it does not", would be taken for no excuse."""
    theorem = Changed(SGD, "mine", SGD.bound, name="mine")
    theorem.covers = lambda _: said  # type: ignore[assignment, return-value]
    with pytest.raises(ft.ExperimentError, match=r"^mine: covers gives (True|False|'')"):
        judged(theorem)


def test_a_largest_step_that_is_no_number_admits_none() -> None:
    theorem = Changed(SGD, "mine", SGD.bound, name="mine")
    theorem.largest_step = lambda _: (np.nan, True)  # type: ignore[assignment]
    (verdict,) = judged(theorem)
    assert verdict.status == "not applicable"
    assert "too large" in verdict.reason
    theorem.largest_step = lambda _: 0.5  # type: ignore[assignment, return-value]
    with pytest.raises(ft.ExperimentError, match=r"^mine: largest_step gives 0\.5"):
        judged(theorem)


@pytest.mark.parametrize(
    "metric",
    [
        lambda gradients, *_: sum(np.sum(g**2) for g in gradients.values()),
        lambda gradients, *_: np.sum(gradients["b"] ** 2, axis=-1, keepdims=True),
    ],
    ids=["over all trials", "a column"],
)
def test_a_metric_is_one_number_a_trial(metric: Any) -> None:
    """The sum over 32 trials would be taken for the number of each, and every bound be violated."""
    add_metric("over", metric)
    with pytest.raises(ft.ExperimentError, match=r"the metric over gives shape .* for 32 trials"):
        ft.simulate(experiment(), metric="over")
    assert "over" in METRICS


@pytest.mark.parametrize("slip", ["one number", "negative"])
def test_a_variance_is_one_number_a_coordinate_and_not_negative(slip: str) -> None:
    """One number for a parameter of six coordinates would count once in σ²."""
    with pytest.raises(ft.ExperimentError, match=r"^the noise's variance\(problem\)"):
        judged(noise={"kind": "signs", "slip": slip})


# --- the gradient is that of f ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("problem", [{"scale": 0.5}, {"scale": 0.999}, {"scale": 2.0}, {"turned": 0.3}])
def test_a_value_that_is_not_that_of_the_gradient_is_no_premise_for_a_verdict(problem: dict[str, Any]) -> None:
    """Δ would be too small, and the true theorem be "violated"."""
    (verdict,) = judged(problem=problem)
    assert verdict.status == "not applicable"
    assert "the gradient is not that of f" in verdict.reason


def test_a_value_far_above_its_changes_is_not_refused() -> None:
    """f + 10¹⁶: what it changes by on the way is below its rounding."""

    class Raised(Parabola):
        infimum = 1e16

        def value(self, x: Mapping[str, np.ndarray]) -> np.ndarray:
            return super().value(x) + 1e16

    found = check_premises(Instance.of_parts(Raised(), ft.build_noise(experiment()), learning_rate=0.5))
    assert found[0].name == "P1"
    assert found[0].held


def test_a_value_that_is_a_difference_near_the_optimum_is_not_refused() -> None:
    """1 − cos x is off by a rounding of 1, which is more than all of it where x is below 1e-8."""

    class Waves(Parabola):
        smoothness = 1.3

        def value(self, x: Mapping[str, np.ndarray]) -> np.ndarray:
            waves = {name: 1 - np.cos(value) for name, value in x.items()}
            return super().value(x) + 0.3 * (waves["a"].sum(axis=(-2, -1)) + waves["b"].sum(axis=-1))

        def gradient(self, x: Mapping[str, np.ndarray]) -> Arrays:
            return {name: g + 0.3 * np.sin(x[name]) for name, g in super().gradient(x).items()}

    for scale, held in ((1.0, True), (0.99, False)):
        found = check_premises(Instance.of_parts(Waves(scale), ft.build_noise(experiment()), learning_rate=0.5))[0]
        assert found.held is held, found.how


def test_a_value_for_all_trials_together_is_refused() -> None:
    class Summed(Parabola):
        def value(self, x: Mapping[str, np.ndarray]) -> np.ndarray:
            return np.sum(super().value(x))

    with pytest.raises(ft.ExperimentError, match=r"the problem's value has shape \(\)"):
        check_premises(Instance.of_parts(Summed(), ft.build_noise(experiment()), learning_rate=0.5))
