"""Exact expectations of adaptive rules: ``frugal_theory.step`` over all that may happen, on hostile bounded gradients."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import frugal_theory as ft
from frugal_theory.algorithm.rules import rule_of
from frugal_theory.algorithm.subspaces import Mask
from frugal_theory.instance import Instance
from frugal_theory.metrics import METRICS
from frugal_theory.problems import Minibatch
from frugal_theory.theorems import THEOREMS
from frugal_theory.theorems.ages import flat_share

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass
class Valley:
    """f(x) = Σ_j G_j δ_j ln cosh(x_j/δ_j): the gradient G_j tanh(x_j/δ_j) is bounded, L_j = G_j/δ_j, f* = 0."""

    slope: Array
    width: Array
    at: Array
    infimum: float = 0.0

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {"x": self.slope.shape}

    @property
    def smoothness(self) -> float:
        return float((self.slope / self.width).max())

    def coordinate_smoothness(self) -> dict[str, Array]:
        return {"x": self.slope / self.width}

    def start(self, rng: np.random.Generator) -> dict[str, Array]:  # noqa: ARG002
        return {"x": self.at}

    def value(self, x: Mapping[str, Array]) -> Array:
        t = np.abs(x["x"] / self.width)
        return (self.slope * self.width * (t + np.log1p(np.exp(-2 * t)) - np.log(2))).sum(axis=-1)

    def gradient(self, x: Mapping[str, Array]) -> dict[str, Array]:
        return {"x": self.slope * np.tanh(x["x"] / self.width)}


@dataclass
class TwoPoint:
    """g̃_j is ``high`` or ``low``, with the probabilities that make its mean g_j; low_j ≤ −G_j and G_j ≤ high_j."""

    high: Array
    low: Array

    def variance(self, problem: Valley) -> dict[str, Array]:
        """(high − g)(g − low) at the g in [−G, G] nearest to the middle, where it is largest."""
        g = np.clip((self.high + self.low) / 2, -problem.slope, problem.slope)
        return {"x": (self.high - g) * (g - self.low)}

    def gradient_bound(self, problem: Valley) -> dict[str, Array]:  # noqa: ARG002
        return {"x": np.maximum(self.high, -self.low)}

    def sample(self, rng: np.random.Generator, problem: Any, x: Any, gradient: Mapping[str, Array]) -> dict[str, Array]:  # noqa: ARG002
        g = gradient["x"]
        return {"x": np.where(rng.random(g.shape) < (g - self.low) / (self.high - self.low), self.high, self.low)}


def atoms_of(problem: Any, noise: Any, x: Mapping[str, Array]) -> tuple[Array, Array]:
    """The probabilities of the values that a stochastic gradient has at every row of x, (rows, atoms), and those, (…, d)."""
    rows = len(x["x"])
    if isinstance(noise, Minibatch):  # of one sample, so that coordinates depend on each other
        samples = [problem.batch_gradient(x, np.full((rows, 1), i))["x"] for i in range(problem.samples)]
        return np.full((rows, problem.samples), 1 / problem.samples), np.stack(samples, axis=1)
    up = np.array(list(itertools.product((False, True), repeat=noise.high.size)))
    width = noise.high - noise.low
    gradient = problem.gradient(x)["x"]
    chance = np.where(width > 0, (gradient - noise.low) / np.where(width > 0, width, 1.0), 0.0)[:, None]
    values = np.broadcast_to(np.where(up, noise.high, noise.low), (rows, *up.shape))
    return np.prod(np.where(up, chance, 1 - chance), axis=2), values


def instance(problem: Any, noise: Any, algorithm: dict[str, Any], alpha: float, steps: int) -> Instance:
    made = ft.Algorithm.model_validate({"subspace": "coordinates", "seed": 0, **algorithm})
    return Instance.of_parts(problem, noise, made, learning_rate=alpha, steps=steps)


def tightest(one: Instance, theorems: tuple[str, ...]) -> dict[str, float]:
    """For each theorem the largest exact average over its bound, of all horizons up to the instance's steps."""
    setting, problem, noise = one.setting, one.problem, one.noise
    steps, algorithm, alpha = setting.steps, setting.algorithm, setting.alpha
    d, gap = one.start["x"].size, algorithm.update_gap
    periods = -(-steps // gap)
    atoms = atoms_of(problem, noise, {"x": one.start["x"][None]})[0].shape[1]
    every = list(itertools.product(range(atoms), repeat=steps - 1))  # what the last step draws moves nothing measured
    draws = np.array(every, dtype=int).reshape(len(every), steps - 1)
    runs = setting.runs
    assert runs is not None
    if runs.law == "redrawn":
        sets = [np.array(bits, dtype=bool) for bits in itertools.product((False, True), repeat=d)]
        share = [float(np.prod(np.where(s, runs.share["x"], 1 - runs.share["x"]))) for s in sets]
        chosen = list(itertools.product(range(len(sets)), repeat=periods))
        members = np.array([[sets[i] for i in draw] for draw in chosen])
        likely = np.array([np.prod([share[i] for i in draw]) for draw in chosen])
    else:
        members, likely = np.array([[flat_share(runs, n) > 0 for n in range(periods)]]), np.ones(1)
    which = np.repeat(np.arange(len(likely)), len(draws))
    # a path's probability up to a step; the paths that differ after it share it
    probability, paths = likely[which], np.tile(draws, (len(likely), 1))
    x = {"x": np.tile(one.start["x"], (len(paths), 1))}
    never = algorithm.model_copy(update={"update_gap": 10**9})
    state = ft.State(step=1, statistics={"x": rule_of(algorithm.state_full).init(x["x"])}, trials=np.arange(len(paths)))
    measures = {name: THEOREMS[name] for name in theorems}
    found: dict[str, list[float]] = {name: [] for name in theorems}
    for k in range(steps):
        gradient, parts = problem.gradient(x), {"x": Mask(members[which, k // gap])}
        for name, theorem in measures.items():
            metric = theorem.measure(setting) if hasattr(theorem, "measure") else METRICS[theorem.metric]
            found[name].append(float(probability @ metric(gradient, parts, runs, k)) / atoms ** (steps - 1 - k))
        if k == steps - 1:
            break
        chance, drawn = atoms_of(problem, noise, x)
        of = (np.arange(len(paths)), paths[:, k])
        probability = probability * chance[of]
        state = replace(state, parts=parts, step=1)
        x, state = ft.step(never, x, {"x": drawn[of]}, state, alpha)
    averages = {name: np.cumsum(values) / np.arange(1, steps + 1) for name, values in found.items()}
    return {name: float(np.max(averages[name] / measures[name].bound(setting))) for name in theorems}
