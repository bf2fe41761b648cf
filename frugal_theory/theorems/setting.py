"""Setting: all that a theorem may see of an experiment. Constants (of f and its noise), the law of the method, the horizon."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Generic, Literal, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from frugal_theory.algorithm.rules import Sgdm
from frugal_theory.algorithm.run_lengths import RunLengths
from frugal_theory.config import Algorithm
from frugal_theory.problems.coordinates import coordinate_smoothness
from frugal_theory.problems.problem import Noise, Problem

__all__ = ["Constant", "Constants", "Law", "ProblemSetting", "Setting", "declared"]

Array = NDArray[np.float64]
Arrays = Mapping[str, Array]
Value = TypeVar("Value")


@dataclass(frozen=True)
class Constant(Generic[Value]):
    """A number, or arrays by parameter, with the interval that it is known to lie in and where it is from.

    ``kind``: "declared" (derived with the problem, and exact: ``lower`` and ``upper`` are the value) or "measured".
    """

    value: Value
    lower: Value
    upper: Value
    kind: Literal["declared", "measured"]
    source: str


def declared(value: Value, source: str = "derived with the problem") -> Constant[Value]:
    """A constant that is no measurement."""
    return Constant(value, value, value, "declared", source)


@dataclass(frozen=True)
class Constants:
    """What a theorem may know of f and of its noise.

    ``smoothness``: L. ``gap``: Δ = f(x¹) − f*. ``variance``: σ_j² by parameter, arrays of the parameters' shapes.
    ``coordinate_smoothness``: L_j likewise; None if nobody has said, and L serves for every coordinate.
    ``symmetric_unimodal``: whether the noise of every coordinate is known to be symmetric with one mode. ``uncorrelated``:
    whether the noise of any two coordinates is known to be uncorrelated at every x. ``strong_convexity``: μ > 0 with
    f(y) ≥ f(x) + ⟨∇f(x), y − x⟩ + (μ/2)‖y − x‖²; None if nobody has said. ``squared_start``: ‖x¹‖², likewise.
    ``gradient_bound``: R_j with |g̃_j| ≤ R_j almost surely at every x, likewise arrays; None if there is none, or nobody has
    said. ``median_deviation``: m_j with P(|g̃_j − g_j| ≤ m_j) ≥ 1/2 at every x, likewise.
    """

    smoothness: Constant[float]
    gap: Constant[float]
    variance: Constant[Arrays]
    coordinate_smoothness: Constant[Arrays] | None = None
    symmetric_unimodal: bool = False
    uncorrelated: bool = False
    strong_convexity: Constant[float] | None = None
    squared_start: Constant[float] | None = None
    gradient_bound: Constant[Arrays] | None = None
    median_deviation: Constant[Arrays] | None = None


@dataclass(frozen=True)
class Law:
    """What a theorem may know of the method. ``learning_rate``: α, None while it is a fraction that is not resolved.

    ``runs``: the law of the momentum set, None if the selection is not oblivious.
    """

    algorithm: Algorithm
    learning_rate: float | None
    runs: RunLengths | None


@dataclass(frozen=True)
class Setting:
    """An experiment in the symbols of the theorems: constants, the law of the method, and ``steps``, the horizon K."""

    constants: Constants
    law: Law
    steps: int

    def having(self, **changes: Any) -> Self:
        """The setting with other symbols: fields of its own, of its constants (or their values) or of its law, by name.

        What is not named stays, even where another problem or noise would change it. Raises TypeError for other names.

        >>> import frugal_theory as ft
        >>> setting = ft.setting_of(ft.parse('name = "one"\\n[problem]\\nkind = "quadratic"'))
        >>> setting.having(learning_rate=0.5, gap=2.0).gap
        2.0
        """
        own, constants, law = (
            {name: changes.pop(name) for name in [field.name for field in fields(part)] if name in changes}
            for part in (self, self.constants, self.law)
        )
        if changes:
            raise TypeError(f"a setting has no {', '.join(changes)}")
        known: dict[str, Any] = {
            name: value if isinstance(value, bool | Constant) else declared(value) for name, value in constants.items()
        }
        parts: dict[str, Any] = {"constants": replace(self.constants, **known), "law": replace(self.law, **law)}
        return replace(self, **(parts | own))

    @property
    def algorithm(self) -> Algorithm:
        """The algorithm's table."""
        return self.law.algorithm

    @property
    def runs(self) -> RunLengths | None:
        """The law of the momentum set; None if the selection is not oblivious."""
        return self.law.runs

    @property
    def learning_rate(self) -> float | None:
        """α; None while it is not resolved."""
        return self.law.learning_rate

    @property
    def alpha(self) -> float:
        """α; raises ValueError while it is not resolved."""
        if self.law.learning_rate is None:
            raise ValueError("the learning rate of this setting has not been resolved yet")
        return self.law.learning_rate

    @property
    def smoothness(self) -> float:
        """L."""
        return self.constants.smoothness.value

    @property
    def gap(self) -> float:
        """Δ = f(x¹) − f*."""
        return self.constants.gap.value

    @property
    def variance(self) -> Arrays:
        """σ_j² by parameter."""
        return self.constants.variance.value

    @property
    def total_variance(self) -> float:
        """σ² = Σ σ_j²."""
        return float(sum(np.sum(v) for v in self.variance.values()))

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shape of every parameter, by name."""
        return {name: np.shape(variance) for name, variance in self.variance.items()}

    @property
    def coordinate_smoothness(self) -> Arrays:
        """L_j by parameter and coordinate: −D ⪯ ∇²f ⪯ D with D = diag(L_j). L where the constants say no more."""
        if self.constants.coordinate_smoothness is not None:
            return self.constants.coordinate_smoothness.value
        return {name: np.full(shape, self.smoothness) for name, shape in self.shapes.items()}

    @property
    def symmetric_unimodal(self) -> bool:
        """Whether the noise is known to be symmetric and unimodal."""
        return self.constants.symmetric_unimodal

    @property
    def uncorrelated(self) -> bool:
        """Whether the noise of any two coordinates is known to be uncorrelated."""
        return self.constants.uncorrelated

    @property
    def weighted_noise(self) -> tuple[Array, Array]:
        """E tr(WΣW) over everything and over the set, W the weights of the run-length theorem; shape (steps,) each.

        Raises ValueError if the selection is not oblivious.
        """
        if self.runs is None:
            raise ValueError("this bound needs an oblivious selection")
        return self.runs.noise(self.variance, self.steps, self.uncorrelated)

    @property
    def gradient_bound(self) -> Arrays | None:
        """R_j by parameter and coordinate: ``|g̃_j| ≤ R_j`` almost surely. None if no bound is known."""
        known = self.constants.gradient_bound
        return None if known is None else known.value

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


@dataclass(frozen=True)
class ProblemSetting(Setting):
    """A setting with the problem and the noise that its constants were derived with: what theorems are handed in theory.

    For theorems that need more of f than constants, such as its eigenvalues. L_j is the problem's unless the constants say it.
    """

    problem: Problem
    noise: Noise

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shape of every parameter, by name."""
        return self.problem.shapes

    @property
    def coordinate_smoothness(self) -> Arrays:
        """L_j by parameter and coordinate: the constants', or what the problem says."""
        if self.constants.coordinate_smoothness is not None:
            return self.constants.coordinate_smoothness.value
        return coordinate_smoothness(self.problem)

    def without_problem(self) -> Setting:
        """Constants, law and horizon alone."""
        constants = replace(self.constants, coordinate_smoothness=declared(self.coordinate_smoothness))
        return Setting(constants, self.law, self.steps)
