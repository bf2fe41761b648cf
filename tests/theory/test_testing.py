"""frugal_theory.testing: everything that ships keeps its contract, and every planted fault is named."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import frugal_theory as ft
from frugal_theory.algorithm.rules import AdamW, Lion, Sgdm
from frugal_theory.config.load import parse
from frugal_theory.instance import setting_of
from frugal_theory.problems import Gaussian, Minibatch, Noise, Nonconvex, NoNoise, Problem, Quadratic, StudentT, build_problem
from frugal_theory.testing import (
    ContractError,
    algorithms,
    check_noise,
    check_problem,
    check_rule,
    check_theorem,
    experiments,
    quadratics,
)
from frugal_theory.theorems import THEOREMS
from frugal_theory.theorems.sgd import Sgd

PROBLEMS = {
    "quadratic": 'kind = "quadratic"\ndimension = 12',
    "rotated": 'kind = "quadratic"\ndimension = 7\nrotated = true\nblocks = 3',
    "logistic": 'kind = "logistic"',
    "digits": 'kind = "logistic"\ndataset = "digits"\nl2 = 0.0',
    "nonconvex": 'kind = "nonconvex"\ndimension = 6\nsamples = 30',
    "matrix": 'kind = "matrix"\nrows = 3\ncolumns = 4\nlayers = 2',
}
NOISES = {
    "none": NoNoise(),
    "gaussian": Gaussian(0.3),
    "student": StudentT(3.0, 0.1),
    "infinite variance": StudentT(1.5, 0.1),
    "minibatch": Minibatch(4),
}
PROPERTY = settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


def problem(name: str) -> Problem:
    return build_problem(parse(f'name = "t"\n[algorithm]\nsubspace = "coordinates"\n[problem]\n{PROBLEMS[name]}'))


# --- what ships ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PROBLEMS)
def test_every_problem_keeps_its_contract(name):
    check_problem(problem(name))


@pytest.mark.parametrize("name", NOISES)
def test_every_noise_keeps_its_contract(name):
    check_noise(NOISES[name], problem("nonconvex" if name == "minibatch" else "rotated"))


@pytest.mark.parametrize("rule", [Sgdm(beta=0.9), Sgdm(beta=0.0), AdamW(), Lion()], ids=repr)
def test_every_rule_keeps_its_contract(rule):
    check_rule(rule)


BOUNDED = {"problem": {"kind": "nonconvex", "dimension": 6}, "noise": {"kind": "minibatch"}}
TABLES = {
    "sgd": {"algorithm.density": 0.0},
    "sgdm": {"algorithm.density": 1.0},
    "decay": {"algorithm.density": 0.0, "algorithm.weight_decay": 0.1},
    "every step": {"algorithm.update_gap": 1},
    "held": {"algorithm.subspace": "blocks"},
    "ascending": {"algorithm.subspace": "blocks", "algorithm.order": "ascending"},
    "random": {"algorithm.subspace": "random"},
    "set": {"algorithm.set": [0, 3, 4]},
    "long": {"algorithm.update_gap": 1000},
    "short": {"algorithm.update_gap": 2, "algorithm.state_full": {"rule": "sgdm", "beta": 0.5}},
    "signsgd": {"algorithm.density": 0.0, "algorithm.state_free": "signsgd"},
    "hybrid": {"algorithm.state_free": "signsgd"},
    "hybrid held": {"algorithm.state_free": "signsgd", "algorithm.subspace": "blocks"},
    "none": {"algorithm.state_free": "none"},
    "adam": BOUNDED | {"algorithm.state_full": "adamw", "algorithm.density": 1.0},
    "default": BOUNDED | {"algorithm.state_full": "adamw", "algorithm.state_free": "signsgd"},
    "adam beside sgd": BOUNDED | {"algorithm.state_full": {"rule": "adamw", "betas": [0.0, 0.9]}},
    "lion": {"algorithm.state_full": "lion", "algorithm.state_free": "signsgd"},
    "adagrad": BOUNDED | {"algorithm.state_full": "adagrad", "algorithm.density": 1.0},
    "silent": {"noise": {"kind": "none"}, "algorithm.set": [0, 3, 4]},
    "svd": {"algorithm.subspace": "svd", "algorithm.update_gap": 1, "problem": {"kind": "matrix", "rows": 3, "columns": 4}},
}


SOLVED = ("certified",)
"""Theorems that solve programs: here on many experiments only, for the rest in test_certificates.py."""


@pytest.mark.parametrize("theorem", [theorem for name, theorem in THEOREMS.items() if name not in SOLVED], ids=lambda t: t.name)
def test_every_theorem_keeps_its_contract(theorem, quadratic):
    check_theorem(theorem, [setting_of(quadratic({**overrides, "simulation.steps": 24})) for overrides in TABLES.values()])


# --- random experiments ----------------------------------------------------------------------------------------------


@PROPERTY
@given(experiments())
@pytest.mark.ecosystem
def test_no_explicit_theorem_is_violated_and_none_raises(experiment):
    for verdict in ft.verify(experiment, theorems=[theorem for name, theorem in THEOREMS.items() if name not in SOLVED]):
        assert verdict.status != "violated", verdict
        assert verdict.reason


@pytest.mark.slow
@settings(PROPERTY, max_examples=300)
@given(experiments())
def test_no_explicit_theorem_is_violated_on_many_experiments(experiment):
    assert "violated" not in {v.status for v in ft.verify(experiment, theorems=list(THEOREMS.values()))}


@PROPERTY
@given(quadratics())
@pytest.mark.ecosystem
def test_drawn_quadratics_keep_the_contract(drawn):
    check_problem(drawn)


@PROPERTY
@given(algorithms())
def test_drawn_algorithms_take_a_step(algorithm):
    x = {"x.0": np.ones(4), "x.1": np.ones(3)}
    moved, state = ft.step(algorithm.model_copy(update={"seed": 0}), x, x, learning_rate=0.01)
    assert state.step == 1
    assert all(np.isfinite(value).all() for value in moved.values())


def test_without_hypothesis_the_strategies_say_what_is_missing():
    code = (
        "import sys; sys.modules['hypothesis'] = None\nfrom frugal_theory.testing import quadratics, check_rule\nquadratics()"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ImportError: the strategies of frugal_theory.testing need hypothesis" in found.stderr


# --- planted faults: problems ----------------------------------------------------------------------------------------


class Altered:
    """A quadratic with some of its attributes replaced; functions get the quadratic first."""

    def __init__(self, **changes):
        self._whole = Quadratic(np.array([1.0, 0.5, 0.25]))
        self._changes = changes

    def __getattr__(self, name):
        changes = self.__dict__["_changes"]
        if name in changes:
            change = changes[name]
            if change is None:
                raise AttributeError(name)
            return (lambda *given: change(self._whole, *given)) if callable(change) else change
        return getattr(self._whole, name)


def _in_place(whole, x):
    x["x"] *= 1.0 + 1e-3
    return whole.gradient(x)


FAULTY_PROBLEMS = {
    "has no value": Altered(value=None),
    "smoothness = 0": Altered(smoothness=0.0),
    "infimum = -inf": Altered(infimum=-np.inf),
    "a name and a tuple": Altered(shapes={"x": [3]}),
    "two points for the same generator": Altered(start=lambda _, __: {"x": np.random.default_rng().standard_normal(3)}),
    "shape (4,) for x": Altered(start=lambda _, __: {"x": np.ones(4)}),
    "changed in place": Altered(gradient=_in_place),
    "value has shape ()": Altered(value=lambda whole, x: np.sum(whole.value(x))),
    "trials side by side differs": Altered(gradient=lambda whole, x: {"x": whole.gradient(x)["x"] + 1e-3 * x["x"].mean()}),
    "not the derivative of value: ∂f/∂x[1]": Altered(gradient=lambda _, x: {"x": x["x"] * [1.0, -0.5, 0.25]}),
    "is too small: two points have gradient ratio 1": Altered(smoothness=0.99),
    "no lower bound": Altered(infimum=1e-3),
    "coordinate_smoothness is too small": Altered(coordinate_smoothness=lambda _: {"x": np.array([1.0, 0.4, 0.25])}),
    "needs batch_gradient": Altered(samples=3),
}


@pytest.mark.parametrize("words", FAULTY_PROBLEMS)
def test_a_faulty_problem_is_named(words):
    with pytest.raises(ContractError) as caught:
        check_problem(FAULTY_PROBLEMS[words])
    assert words in str(caught.value)


class Batches(Nonconvex):
    """A finite sum with one method spoilt."""

    def __init__(self, fault):
        super().__init__(np.random.default_rng(0).standard_normal((30, 4)), np.ones(4))
        self.fault = fault

    def batch_gradient(self, x, batch):
        found = super().batch_gradient(x, batch)
        return {"x": found["x"] * (1.01 if self.fault == "batch" else 1.0)}

    def sample_variance(self):
        return {name: value * (0.01 if self.fault == "variance" else 1.0) for name, value in super().sample_variance().items()}


@pytest.mark.parametrize(
    ("fault", "words"), [("batch", "over all samples is not the gradient"), ("variance", "sample_variance")]
)
def test_a_faulty_finite_sum_is_named(fault, words):
    check_problem(Batches(None))
    with pytest.raises(ContractError, match=words):
        check_problem(Batches(fault))


# --- planted faults: noises ------------------------------------------------------------------------------------------


class Faulty(Gaussian):
    """Gaussian noise with σ = 1 and ``law(rng, problem, x, gradient)`` in place of its draws."""

    def __init__(self, law=None, declared=1.0):
        super().__init__(1.0)
        self.law, self.declared, self.last = law, declared, 0.0

    def variance(self, problem):
        return {name: np.full(shape, self.declared) for name, shape in problem.shapes.items()}

    def sample(self, rng, problem, x, gradient):
        if self.law is None:
            return super().sample(rng, problem, x, gradient)
        return {name: self.law(self, rng, g) for name, g in gradient.items()}


def _remember(self, rng, g):
    self.last = 0.5 * self.last + rng.standard_normal(g.shape[-1:])
    return g + self.last


def _written(self, rng, g):  # noqa: ARG001
    g += rng.standard_normal(g.shape)
    return g


FAULTY_NOISES = {
    "variance(problem) is negative": Faulty(declared=-1.0),
    "keep no state": Faulty(_remember),
    "draw from rng alone": Faulty(lambda _, __, g: g + np.random.standard_normal(g.shape)),  # noqa: NPY002
    "changes the gradient: x": Faulty(_written),
    "sample has shape": Faulty(lambda _, rng, g: (g + rng.standard_normal(g.shape))[..., :1]),
    "P3": Faulty(lambda _, rng, g: g + rng.standard_normal(g.shape) * 0.9 + 0.2),
    "P4": Faulty(declared=0.8),
    "P4, the variance of every coordinate is bounded": Faulty(lambda _, rng, g: g + rng.standard_t(1.5, g.shape), 1e4),
    "P5": Faulty(lambda _, rng, g: g + np.broadcast_to(rng.standard_normal(g.shape[-1:]), g.shape)),
}


@pytest.mark.parametrize("words", FAULTY_NOISES)
def test_a_faulty_noise_is_named(words):
    with pytest.raises(ContractError) as caught:
        check_noise(FAULTY_NOISES[words], Quadratic(np.array([1.0, 0.5, 0.25])))
    assert words in str(caught.value)


def test_a_noise_that_lacks_a_method_is_named():
    with pytest.raises(ContractError, match="the noise has no variance, sample"):
        check_noise(object(), Quadratic(np.ones(2)))
    assert isinstance(Faulty(), Noise)
    check_noise(Faulty(), Quadratic(np.ones(2)))


# --- planted faults: rules -------------------------------------------------------------------------------------------


class Spoilt:
    """SGDM with β = 0.9 and one fault."""

    def __init__(self, fault):
        self.fault, self.calls, self.true = fault, 0, Sgdm(beta=0.9)
        self.vectors = {"square": (), "name": ("velocity",)}.get(fault, ("momentum",))
        self.squares = ("momentum",) if fault == "square" else ()

    def init(self, like):
        return {"momentum": np.ones_like(like) if self.fault == "ones" else np.zeros_like(like)}

    def update(self, statistics, gradient, seen=None):
        self.calls += 1
        if self.fault == "in place":
            statistics["momentum"] *= 0.9
        update, new = self.true.update(statistics, gradient, seen)
        if self.fault == "state":
            update = update * self.calls
        if self.fault == "mix":
            update = update - update.mean()
        if self.fault == "clip":
            new = {"momentum": np.clip(new["momentum"], -0.1, 0.1)}
        if self.fault == "shape":
            update = update[..., :1]
        if self.fault == "nan":
            update = update / np.where(np.any(gradient), 1.0, np.nan)
        if self.fault == "drift":
            new = {"momentum": new["momentum"] + 1e-3}
        return update, new


FAULTY_RULES = {
    "ones": "values other than zero",
    "name": "vectors and squares name ['velocity']",
    "in place": "update changes its statistics",
    "state": "must keep no state",
    "mix": "trials mix",
    "clip": "does not scale with the gradient",
    "square": "squares names momentum",
    "shape": "update has shape",
    "nan": "not finite for a gradient of zeros",
    "drift": "does not stay zero",
}


@pytest.mark.parametrize("fault", FAULTY_RULES)
def test_a_faulty_rule_is_named(fault):
    check_rule(Spoilt(None))
    with pytest.raises(ContractError) as caught:
        check_rule(Spoilt(fault))
    assert FAULTY_RULES[fault] in str(caught.value)


# --- planted faults: theorems ----------------------------------------------------------------------------------------


class Wrong(Sgd):
    """The SGD theorem with one method or attribute replaced."""

    def __init__(self, **changes):
        for name, change in changes.items():
            setattr(self, name, change)


TRUE = Sgd()
FAULTY_THEOREMS = {
    "source = ''": Wrong(source=""),
    "explicit = 1": Wrong(explicit=1),
    'metric = "loss" is none of': Wrong(metric="loss"),
    "covers gives False": Wrong(covers=lambda setting: False),  # noqa: ARG005
    "covers none of the settings": Wrong(covers=lambda setting: "no"),  # noqa: ARG005
    "the largest step is 0": Wrong(largest_step=lambda setting: (0.0, False)),  # noqa: ARG005
    "largest_step gives 1.0": Wrong(largest_step=lambda setting: 1.0),  # noqa: ARG005
    "with α =": Wrong(largest_step=lambda setting: (2 - (setting.learning_rate or 0), False)),
    "bound has shape ()": Wrong(bound=lambda setting: np.asarray(1.0)),  # noqa: ARG005
    "the bound is not positive": Wrong(bound=lambda setting: -TRUE.bound(setting)),
    "the bound is not finite": Wrong(largest_step=lambda setting: (2 / setting.smoothness, True)),
    "number of steps to come": Wrong(bound=lambda setting: TRUE.bound(setting) * setting.steps),
    "falls when the variance grows": Wrong(bound=lambda setting: TRUE.bound(setting) / (1 + setting.total_variance)),
    "falls when the gap Δ grows": Wrong(bound=lambda setting: TRUE.bound(setting.having(gap=1 / (1 + setting.gap)))),
    "no less after 16 steps": Wrong(bound=lambda setting: TRUE.bound(setting) * setting.horizons**2),
}


@pytest.mark.parametrize("words", FAULTY_THEOREMS)
def test_a_faulty_theorem_is_named(words, quadratic):
    setting = setting_of(quadratic({"algorithm.density": 0.0, "simulation.steps": 16}))
    check_theorem(TRUE, [setting])
    with pytest.raises(ContractError) as caught, np.errstate(divide="ignore"):
        check_theorem(FAULTY_THEOREMS[words], [setting])
    assert words in str(caught.value)
