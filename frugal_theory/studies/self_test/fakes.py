"""Problems and noises that are not what they say they are, and theorems that claim what they like: the baits of the traps."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frugal_theory.problems import Gaussian, Quadratic
from frugal_theory.problems.problem import Problem
from frugal_theory.testing.false_theorem import Changed
from frugal_theory.theorems import THEOREMS, Setting

__all__ = ["Additive", "Biased", "Claimed", "Gentle", "Renamed", "Together", "jumps"]

Array = NDArray[np.float64]
Arrays = Mapping[str, Array]
Draw = Callable[[np.random.Generator, tuple[int, ...]], Array]


class Additive:
    """g + ξ with ξ by a function that draws it. ``said``: what it says of itself, whether that is so or not."""

    def __init__(self, draw: Draw, declared: float = 1.0, **said: Any) -> None:
        self.draw, self.declared = draw, declared
        for name, value in said.items():
            setattr(self, name, value)

    def variance(self, problem: Problem) -> dict[str, Array]:
        """σ_j², the declared one."""
        return {name: np.full(shape, self.declared) for name, shape in problem.shapes.items()}

    def sample(self, rng: np.random.Generator, problem: Problem, x: Arrays, gradient: Arrays) -> dict[str, Array]:  # noqa: ARG002
        """A stochastic gradient."""
        return {name: g + self.draw(rng, g.shape) for name, g in gradient.items()}


class Together:
    """ε v with one fair sign ε for all coordinates and v of signs: variance 1 in every coordinate, and of rank one."""

    def __init__(self, direction: Array) -> None:
        self.direction = direction

    def variance(self, problem: Problem) -> dict[str, Array]:
        """1."""
        return {name: np.ones(shape) for name, shape in problem.shapes.items()}

    def sample(self, rng: np.random.Generator, problem: Problem, x: Arrays, gradient: Arrays) -> dict[str, Array]:  # noqa: ARG002
        """A stochastic gradient."""
        g = gradient["x"]
        return {"x": g + rng.choice([-1.0, 1.0], (*g.shape[:-1], 1)) * self.direction}


class Biased(Gaussian):
    """Gaussian noise, and ``bias`` in the first coordinate where ``low`` < ‖x‖ < ``high``; nowhere else."""

    def __init__(self, sigma: float, bias: float, low: float, high: float) -> None:
        super().__init__(sigma)
        self.bias, self.low, self.high = bias, low, high

    def sample(self, rng: np.random.Generator, problem: Problem, x: Arrays, gradient: Arrays) -> dict[str, Array]:
        """A stochastic gradient."""
        drawn = super().sample(rng, problem, x, gradient)["x"].copy()
        distance = np.linalg.norm(x["x"], axis=-1)
        drawn[..., 0] += self.bias * ((distance > self.low) & (distance < self.high))
        return {"x": drawn}


class Gentle(Quadratic):
    """A quadratic that says of every L_j that it is so many times smaller than it is."""

    def __init__(self, eigenvalues: Array, times: float, **keys: Any) -> None:
        super().__init__(eigenvalues, **keys)
        self.times = times

    def coordinate_smoothness(self) -> dict[str, Array]:
        """L_j, or less."""
        return {name: value / self.times for name, value in super().coordinate_smoothness().items()}


class Claimed(Changed):
    """A bound of ‖g‖² from nowhere, for any algorithm and step size."""

    def __init__(self, bound: Array, what: str) -> None:
        super().__init__(THEOREMS["sgd"], what, lambda _: bound, name="claimed")
        self.covers, self.largest_step = _anything, _any_step


def _anything(setting: Setting) -> str | None:  # noqa: ARG001
    return None


def _any_step(setting: Setting) -> tuple[float, bool]:  # noqa: ARG001
    return math.inf, False


class Renamed(Changed):
    """The bound of ``sgd``, and a measure of its own, ‖g‖² times a factor, under the name that ‖g‖² has."""

    def __init__(self, factor: float) -> None:
        true = THEOREMS["sgd"]
        super().__init__(true, f"‖g‖² × {factor:g}", true.bound, name="renamed")
        self.factor = factor

    def measure(self, setting: Setting) -> Callable[..., Array]:  # noqa: ARG002
        """The factor times ‖g‖²."""
        return lambda gradients, *_: self.factor * np.sum(gradients["x"] ** 2, axis=-1)


def jumps(rate: float) -> Draw:
    """0, or with this probability ±1/√rate: mean 0, variance 1."""
    return lambda rng, shape: (rng.random(shape) < rate) * rng.choice([-1.0, 1.0], shape) / math.sqrt(rate)
