"""What a theorem is, and what it may know of an experiment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from frugal_theory.algorithm.rules import Sgdm
from frugal_theory.algorithm.run_lengths import RunLengths
from frugal_theory.config import Algorithm
from frugal_theory.problems.problem import Noise, Problem

__all__ = ["Setting", "Theorem", "off_the_family", "published_step"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Setting:
    """An experiment in the symbols of the theorems. ``learning_rate`` (α) is None while it is being resolved."""

    algorithm: Algorithm
    problem: Problem
    noise: Noise
    steps: int
    smoothness: float
    gap: float
    variance: Mapping[str, Array]
    runs: RunLengths | None
    learning_rate: float | None = None

    @property
    def alpha(self) -> float:
        """α; raises ValueError while it is not resolved."""
        if self.learning_rate is None:
            raise ValueError("the learning rate of this setting has not been resolved yet")
        return self.learning_rate

    @property
    def total_variance(self) -> float:
        """σ² = Σ σ_j²."""
        return float(sum(np.sum(v) for v in self.variance.values()))

    @property
    def horizons(self) -> Array:
        """K = 1 … steps, as floats."""
        return np.arange(1, self.steps + 1, dtype=float)

    @property
    def is_sgd(self) -> bool:
        """Whether the algorithm is SGD, whatever it is called: nothing in the set, or momentum with β = 0 beside it."""
        if self.runs is None or self.algorithm.weight_decay:
            return False
        free, full = self.algorithm.state_free, self.algorithm.state_full
        plain_free = free.rule == "sgd"
        plain_full = isinstance(full, Sgdm) and full.beta == 0
        if self.runs.empty:
            return plain_free
        return plain_full and (self.runs.full or (plain_free and free.lr_scale == 1))

    @property
    def is_sgdm(self) -> bool:
        """Whether the algorithm is SGDM on everything."""
        full = isinstance(self.algorithm.state_full, Sgdm) and self.algorithm.weight_decay == 0
        return full and self.runs is not None and self.runs.full

    @property
    def sgd_scale(self) -> float:
        """For SGD: the factor on α, which is the state-free rule's where nothing is in the set."""
        return self.algorithm.state_free.lr_scale if self.runs is not None and self.runs.empty else 1.0

    @property
    def beta(self) -> float:
        """β of the momentum that takes part; 0 if the set is always empty or the rule has none."""
        if self.runs is not None:
            return self.runs.beta
        full = self.algorithm.state_full
        return full.beta if isinstance(full, Sgdm) else 0.0


class Theorem(Protocol):
    """A convergence theorem. Yours needs these six attributes and three methods to be verified.

    P1–P6 are tested for every theorem. An attribute ``premises``, a text, says what else or less it needs; nothing but
    ``frugal-theory theorems`` reads it.
    """

    name: str
    title: str
    source: str
    statement: str
    explicit: bool
    """Whether every constant of the bound is known. If not, its verdict is at best "shape only"."""
    metric: str
    """The name of the metric it bounds, a key of ``frugal_theory.metrics.metric.METRICS``.

    A metric of the theorem's own, which may depend on the setting, has a name of its own here, and the theorem has a
    fourth method, ``measure(setting) -> Metric``, that returns it.
    """

    def covers(self, setting: Setting) -> str | None:
        """None if the theorem speaks of the setting's algorithm; otherwise why not, as the end of a sentence."""
        ...

    def largest_step(self, setting: Setting) -> tuple[float, bool]:
        """The largest admissible α, and whether that value itself is admitted."""
        ...

    def bound(self, setting: Setting) -> Array:
        """The bound of the running average for K = 1 … steps, shape (steps,)."""
        ...


def off_the_family(setting: Setting) -> str | None:
    """Why the algorithm is not Algorithm 2 (SGDM on the momentum set, SGD off it), or None if it is."""
    algorithm = setting.algorithm
    full, free = algorithm.state_full, algorithm.state_free
    runs = setting.runs
    if algorithm.weight_decay:
        return f"weight_decay = {algorithm.weight_decay:g} changes the objective"
    if not isinstance(full, Sgdm) and not (runs is not None and runs.empty):
        return f'the state-full rule is "{full.rule}", not "sgdm"'
    if free.rule == "signsgd" and not (runs is not None and runs.full):
        return 'the state-free rule is "signsgd", not "sgd"'
    if runs is None:
        return None  # premise P6 says so
    if runs.law != "fixed" and algorithm.off_set_momentum != "reset":
        return f'off_set_momentum = "{algorithm.off_set_momentum}" carries momentum across the set; only "reset" is covered'
    if runs.law == "turning" and algorithm.on_update != "reset":
        return f'on_update = "{algorithm.on_update}" carries momentum into a new basis; only "reset" is covered'
    return None


def published_step(smoothness: float, beta: float) -> float:
    """(1−β)/(L(4−β+β²)): the step condition of Liu, Gao & Yin 2020, Theorem 1."""
    return (1 - beta) / (smoothness * (4 - beta + beta**2))
