"""What a problem and a noise offer. Yours needs nothing more to be simulated and verified.

Arrays of a problem are dicts from parameter names to arrays. Every method accepts leading trial axes: a parameter of
shape (3, 4) may come as (trials, 3, 4), and its value is then an array of shape (trials,).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

__all__ = ["FiniteSum", "Noise", "Problem", "read_only"]

Array = NDArray[np.float64]
Arrays = dict[str, Array]


@runtime_checkable
class Problem(Protocol):
    """A smooth function f with what the theorems need to know of it."""

    shapes: Mapping[str, tuple[int, ...]]
    """The shape of every parameter, by name, without trial axes."""

    smoothness: float
    """L of premise P1: ‖∇f(x) − ∇f(y)‖ ≤ L‖x − y‖ for all x, y."""

    infimum: float
    """f* of premise P2: the infimum of f, or a lower bound of it (the bounds then hold all the more)."""

    def start(self, rng: np.random.Generator) -> Arrays:
        """The starting point x¹, one for all trials."""
        ...

    def value(self, x: Mapping[str, Array]) -> Array:
        """f(x), of the shape of the trial axes (a 0-d array or float without them)."""
        ...

    def gradient(self, x: Mapping[str, Array]) -> Arrays:
        """∇f(x), by name, of the shapes of ``x``."""
        ...


@runtime_checkable
class FiniteSum(Problem, Protocol):
    """f = (1/n) Σ f_i, so that a mini-batch gives a stochastic gradient."""

    samples: int
    """n."""

    def batch_gradient(self, x: Mapping[str, Array], batch: NDArray[np.int64]) -> Arrays:
        """The mean of ∇f_i(x) over the samples in ``batch``, shape (..., batch_size), one batch a trial."""
        ...

    def sample_variance(self) -> Arrays:
        """For every coordinate an upper bound, over all x, of the variance of ∂_j f_i(x) for uniformly drawn i."""
        ...


@runtime_checkable
class Noise(Protocol):
    """Turns a gradient into a stochastic one: unbiased (P3) and independent from step to step (P5)."""

    def variance(self, problem: Problem) -> Arrays:
        """σ_j² of premise P4 by name and coordinate: an upper bound of the variance over all x; inf if there is none."""
        ...

    def sample(
        self, rng: np.random.Generator, problem: Problem, x: Mapping[str, Array], gradient: Mapping[str, Array]
    ) -> Arrays:
        """A stochastic gradient at x, given the gradient there; arrays with the trial axes of ``gradient``."""
        ...


def read_only(arrays: Mapping[str, Array]) -> Arrays:
    """Views that cannot be written to: what a problem, a noise, a metric or a theorem is given stays what it is.

    >>> read_only({"x": np.ones(2)})["x"].flags.writeable
    False
    """
    views = {name: np.asarray(value).view() for name, value in arrays.items()}
    for view in views.values():
        view.flags.writeable = False
    return views
