"""What a metric is: a function of the true gradient and of the parts in use, one number a trial; and how it is said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from frugal_theory.algorithm.run_lengths import RunLengths
from frugal_theory.algorithm.subspaces import Part

__all__ = ["Array", "Metric", "Words", "flat", "squares"]

Array = NDArray[np.float64]


class Metric(Protocol):
    """A metric of one step; evidence holds its running average. ``title``, ``symbol`` and ``linear``, if it has
    them, are its :class:`Words`. One that needs the iterate has a method ``at(x) -> Metric``, called at every step."""

    def __call__(self, gradients: Mapping[str, Array], parts: Mapping[str, Part], runs: RunLengths | None, step: int) -> Array:
        """The metric, shape (trials,), at the 0-based step, given ∇f at the iterate and the parts of that step."""
        ...


class Words(NamedTuple):
    """How tables and figures say a metric: what its running average is, and what a line of it is called among others.

    ``linear``: it grows no faster than the gradient, and has a third moment if the noise has.
    """

    title: str
    symbol: str
    linear: bool = False


def squares(gradient: Array) -> Array:
    """Σ g² over everything but the trial axis."""
    rows = flat(gradient)
    return np.einsum("ti,ti->t", rows, rows)


def flat(gradient: Array) -> Array:
    """Shape (trials, coordinates)."""
    return gradient.reshape(gradient.shape[0], -1)
