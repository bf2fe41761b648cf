"""Noise that a tree can follow: at every step each coordinate has two values, with mean zero and variance σ² exactly.

P3–P5 allow more than a law: given the past, what matters is mean and variance. So the skewness may change from step to step,
the sign with the state, and the noise may be silent where it would do good.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from frugal_theory.problems.problem import Problem

__all__ = ["TURNS", "Outcome", "TwoPoint"]

Array = NDArray[np.float64]

TURNS = ("fixed", "by place", "by gradient")
"""What the noise's sign follows: nothing, that of x − x¹ in the coordinate, that of the gradient in it."""

Outcome = tuple[Array, Array]
"""The probability of an outcome at every node, shape (nodes,), and the stochastic gradient there, shape (nodes, d)."""


@dataclass(frozen=True)
class TwoPoint:
    """g_j + σ_j η, η = √((1−q)/q) with probability q, −√(q/(1−q)) otherwise; q may differ from step to step.

    ``sigma``: σ_j, shape (d,). ``chances``: q by step. ``turn``: one of :data:`TURNS`, by coordinate. ``loudest``: where
    |g_j| > ``loudest`` · σ_j there is no noise. ``together``: one η for all coordinates, or one each.

    ``symmetric_unimodal``: a coordinate that the rule sees by its sign alone has the law of Gauss's inequality in place of
    two points: 0 with probability 1 − w, uniform on ±σ√(3/w) with probability w = q. A sign leaves two outcomes of it, so that
    it is followed exactly, too. What is on the set keeps two points, ±σ: there the proofs use the variance alone.
    """

    sigma: Array
    chances: tuple[float, ...]
    turn: tuple[str, ...]
    loudest: float
    together: bool
    symmetric_unimodal: bool = False

    @property
    def uncorrelated(self) -> bool:
        """Whether no two coordinates have anything to do with each other."""
        return not self.together or len(self.sigma) == 1 or self.symmetric_unimodal

    def variance(self, problem: Problem) -> dict[str, Array]:
        """σ_j²."""
        split = problem.partition  # type: ignore[attr-defined]  # all of this package's vectors have one
        found: dict[str, Array] = split.split(self.sigma**2)
        return found

    def gradient_bound(self, problem: Problem) -> dict[str, Array] | None:
        """R_j ≥ |g̃_j|, where the gradient is bounded."""
        largest = getattr(problem, "largest_gradient", np.array([np.inf]))
        if not np.isfinite(largest).all():
            return None
        odds = np.array(self.chances)
        reach = (
            np.sqrt(np.maximum((1 - odds) / odds, odds / (1 - odds)).max())
            if not self.symmetric_unimodal
            else np.sqrt(3 / odds.min())
        )
        split = problem.partition  # type: ignore[attr-defined]
        found: dict[str, Array] = split.split(largest + self.sigma * reach)
        return found

    def sample(
        self, rng: np.random.Generator, problem: Problem, x: Mapping[str, Array], gradient: Mapping[str, Array]
    ) -> dict[str, Array]:
        """A draw at one of the steps, each as likely: for tests of premises; a tree takes every outcome."""
        split = problem.partition  # type: ignore[attr-defined]
        place, slope = split.join(x), split.join(gradient)
        shape = slope.shape[:-1]
        chance = np.array(self.chances)[rng.integers(len(self.chances), size=shape)]
        if self.symmetric_unimodal:
            wide = np.sqrt(3 / chance[..., None]) * rng.uniform(-1, 1, slope.shape)
            wide = np.where(rng.random(slope.shape) < chance[..., None], wide, 0.0)
            found: dict[str, Array] = split.split(slope + self.sigma * wide)
            return found
        size = (*shape, 1) if self.together else slope.shape
        first = np.broadcast_to(rng.random(size) < chance[..., None], slope.shape)
        high, low = np.sqrt((1 - chance) / chance)[..., None], -np.sqrt(chance / (1 - chance))[..., None]
        drawn: dict[str, Array] = split.split(slope + self._scale(place, slope) * np.where(first, high, low))
        return drawn

    def outcomes(self, step: int, place: Array, slope: Array, signs: NDArray[np.bool_]) -> list[Outcome]:
        """All that may happen at the 0-based step. ``signs``: which coordinates are seen by their sign alone, (nodes, d)."""
        nodes, dimension = slope.shape
        if not np.any(self.sigma):
            return [(np.ones(nodes), slope)]
        q = 0.5 if self.symmetric_unimodal else self.chances[step]
        pair = np.sqrt((1 - q) / q), -np.sqrt(q / (1 - q))
        scale = self._scale(place, slope)
        chance = np.full((2, nodes, dimension), [[[q]], [[1 - q]]])
        value = np.stack([slope + scale * eta for eta in pair])
        if self.symmetric_unimodal:
            up = self._upwards(self.chances[step], slope)
            chance = np.where(signs, np.stack([up, 1 - up]), chance)
            value = np.where(signs, np.stack([np.ones_like(slope), -np.ones_like(slope)]), value)
            value = np.where(signs & (self.sigma == 0), slope, value)
        if dimension == 1 or not self.uncorrelated:
            return [(chance[i, :, 0], value[i]) for i in range(2)]
        found: list[Outcome] = []
        for which in np.ndindex(*(2,) * dimension):
            columns = range(dimension)
            odds = np.prod([chance[which[j], :, j] for j in columns], axis=0)
            found.append((odds, np.stack([value[which[j], :, j] for j in columns], axis=-1)))
        return found

    def _scale(self, place: Array, slope: Array) -> Array:
        """σ_j with its sign, 0 where the noise is silent; shape of ``slope``."""
        turned = {
            "fixed": np.ones_like(slope),
            "by place": np.where(place >= 0, 1.0, -1.0),
            "by gradient": np.where(slope >= 0, 1.0, -1.0),
        }
        sign = np.stack([turned[turn][..., j] for j, turn in enumerate(self.turn)], axis=-1)
        loud = self.symmetric_unimodal | (np.abs(slope) <= self.loudest * np.where(self.sigma > 0, self.sigma, 1.0))
        return np.asarray(sign * self.sigma * loud)

    def _upwards(self, weight: float, slope: Array) -> Array:
        """P(g_j + ξ_j > 0); where g_j = 0 the mass at 0 counts as a very narrow interval."""
        width = np.where(self.sigma > 0, self.sigma, 1.0) * np.sqrt(3 / weight)
        even = np.clip((slope + width) / (2 * width), 0, 1)
        return np.asarray(weight * even + (1 - weight) * np.heaviside(slope, 0.5))
