"""Faulty engines: the Monte Carlo engine with one function of it replaced while a fault is planted."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frugal_theory.algorithm.rules import Rule, RuleState, Seen, Sgdm, StateFree, rule_of
from frugal_theory.algorithm.step import State, step
from frugal_theory.config import Algorithm, Part
from frugal_theory.evidence.monte_carlo import simulation as monte_carlo
from frugal_theory.problems.noise import Gaussian
from frugal_theory.problems.problem import Problem

__all__ = ["FAULTS", "Fault"]

# The package's name "step" is the function, not its module.
_STEP_MODULE = import_module("frugal_theory.algorithm.step")

Array = NDArray[np.float64]
Arrays = Mapping[str, Array]


@dataclass(frozen=True)
class Fault:
    """A fault, the stages on which it is looked for, and the function that it replaces: ``owner.name``.

    ``faulty`` makes a fresh replacement. It works in this process only.
    """

    what: str
    stages: tuple[str, ...]
    owner: Any
    name: str
    faulty: Callable[[], Callable[..., Any]]

    @contextmanager
    def planted(self) -> Iterator[None]:
        """The engine is faulty inside the ``with`` block, and only there."""
        true = getattr(self.owner, self.name)
        setattr(self.owner, self.name, self.faulty())
        try:
            yield
        finally:
            setattr(self.owner, self.name, true)


class _Undamped(Sgdm):
    """m ← βm + g."""

    def update(self, state: RuleState, g: Array, seen: Seen | None = None) -> tuple[Array, RuleState]:
        return super().update(state, g / (1 - self.beta), seen)


def _undamped(table: Part) -> Rule:
    true = rule_of(table)
    return _Undamped(beta=true.beta) if isinstance(true, Sgdm) else true


def _momentum_held(algorithm: Algorithm, x: Arrays, g: Arrays, state: State, rate: float) -> tuple[dict[str, Array], State]:
    """Momentum outlives its coordinate's time in the set."""
    return step(algorithm.model_copy(update={"off_set_momentum": "hold"}), x, g, state, rate)


def _late(algorithm: Algorithm, x: Arrays, g: Arrays, state: State, rate: float) -> tuple[dict[str, Array], State]:
    """Every selection, but the first, comes one step after its time."""
    moved, new = step(algorithm, x, g, replace(state, step=max(state.step - 1, 0)), rate)
    return moved, replace(new, step=state.step + 1)


def _flipped(table: Part) -> Rule:
    true = rule_of(table)
    return true.model_copy(update={"lr_scale": -true.lr_scale}) if isinstance(true, StateFree) else true


_draw = Gaussian.sample


def _same_every_step(self: Gaussian, rng: np.random.Generator, problem: Problem, x: Arrays, gradient: Arrays) -> Arrays:
    """The generator never moves on."""
    return _draw(self, copy.deepcopy(rng), problem, x, gradient)


def _twice() -> Callable[..., Arrays]:
    """A sample of the noise that serves two steps."""
    kept: list[np.random.Generator] = []

    def sample(self: Gaussian, rng: np.random.Generator, problem: Problem, x: Arrays, gradient: Arrays) -> Arrays:
        if kept:
            return _draw(self, kept.pop(), problem, x, gradient)
        kept.append(copy.deepcopy(rng))
        return _draw(self, rng, problem, x, gradient)

    return sample


FAULTS: tuple[Fault, ...] = (
    Fault("momentum not reset", ("sets held for 5 steps",), monte_carlo, "step", lambda: _momentum_held),
    Fault("1−β dropped", ("sets held for 5 steps",), _STEP_MODULE, "rule_of", lambda: _undamped),
    Fault("residual's sign flipped", ("sets held for 5 steps",), _STEP_MODULE, "rule_of", lambda: _flipped),
    Fault("selection one step late", ("blocks in turn",), monte_carlo, "step", lambda: _late),
    Fault("one noise for all steps", ("SGD", "sets held, near the optimum"), Gaussian, "sample", lambda: _same_every_step),
    Fault("noise reused in the next step", ("SGD", "sets held, near the optimum"), Gaussian, "sample", _twice),
)
