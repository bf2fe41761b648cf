"""Algorithm 2 on a quadratic as one linear recursion, and the second moments that come of it in the four cases."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import threadpool_limits

from frugal_theory.algorithm.run_lengths import RunLengths
from frugal_theory.algorithm.selection import budget
from frugal_theory.algorithm.step import freezes
from frugal_theory.algorithm.subspaces import directions
from frugal_theory.config import Algorithm
from frugal_theory.evidence.evidence import Evidence
from frugal_theory.evidence.exact import dense as exact_dense
from frugal_theory.evidence.exact import diagonal as exact_diagonal
from frugal_theory.evidence.exact.draws import Draws
from frugal_theory.evidence.exact.linear import Updates, momentum, updates
from frugal_theory.evidence.moments import Moments, sampled
from frugal_theory.instance import Instance
from frugal_theory.metrics import GrowingNorm, Metric, RegularisedNorm
from frugal_theory.problems.noise import Gaussian, NoNoise, StudentT
from frugal_theory.problems.quadratic import Quadratic

__all__ = ["METRICS", "Recursion", "recursion", "running"]

Array = NDArray[np.float64]

METRICS = ("squared_gradient_norm", "weighted_squared_gradient_norm")
"""The metrics that are quadratic in the gradient, and so exact."""

BATCH_ENTRIES = 2**16
"""Entries of a batch of d × d moment matrices, one a trial: they fit a core's cache."""


def recursion(instance: Instance, learning_rate: float, *, any_noise: bool = False) -> Recursion:
    """The recursion of an instance. ``any_noise``: only its variances are read, so it need not be additive.

    Raises ValueError for what is not Algorithm 2 on a :class:`Quadratic` with additive noise of finite variance.
    """
    problem, noise, setting = instance.problem, instance.noise, instance.setting
    if type(problem) is not Quadratic:  # what derives from it may have another gradient
        raise ValueError(f'the problem is {type(problem).__name__}; problem.kind = "quadratic" is allowed')
    if not any_noise and type(noise) not in (NoNoise, Gaussian, StudentT):
        kind = type(noise).__name__
        raise ValueError(f'{kind} noise is not known to be additive; noise.kind "none", "gaussian", "student-t" are allowed')
    algorithm, runs = setting.algorithm, setting.runs
    if algorithm.weight_decay and freezes(algorithm):
        raise ValueError('blocks that are off the set do not decay under state_free.rule = "none"; weight_decay = 0 is allowed')
    linear = updates(learning_rate, *momentum(algorithm, runs), algorithm.weight_decay)
    assert runs is not None  # momentum() has refused that
    variance = problem.partition.join(setting.variance)
    if not np.isfinite(variance).all():
        raise ValueError("the noise has infinite variance (Student's t needs degrees_of_freedom > 2), so has the gradient")
    return Recursion(problem, algorithm, linear, runs, variance, problem.partition.join(instance.start), setting.steps)


@dataclass(frozen=True)
class Recursion:
    """Algorithm 2 on a quadratic, with everything as one vector: shapes (d,) in the order of the parameters."""

    problem: Quadratic
    algorithm: Algorithm
    updates: Updates
    runs: RunLengths
    variance: Array
    start: Array
    steps: int

    @property
    def dimension(self) -> int:
        """Entries of all parameters."""
        return self.start.size

    @property
    def vectors(self) -> tuple[Array, Array, Array]:
        """A, σ² and x¹, as the dense recursions take them."""
        return self.problem.hessian(), self.variance, self.start

    @property
    def by_eigenvector(self) -> bool:
        """Whether the set is a set of eigenvectors, or all or nothing, so that a rotated quadratic decouples too."""
        return (self.algorithm.subspace == "eigen" and self.algorithm.set is None) or self.runs.full or self.runs.empty

    @property
    def decouples(self) -> bool:
        """Whether coordinates (or eigen-directions) move by themselves, whatever the joint law of the sets."""
        return self.by_eigenvector or (self.problem.separable and self.runs.law != "turning")

    # --- coordinates that decouple: cases 1, 2 and 3 ---------------------------------------------------------

    def own(self, metric: Metric) -> Array:
        """E of a metric that depends on the setting, for k = 1 … steps, where nothing, or everything, is selected."""
        if isinstance(metric, GrowingNorm):
            return metric.weights(self.steps) * self.redrawn(METRICS[0])
        assert isinstance(metric, RegularisedNorm)  # has_expectation() has said so
        return self.redrawn(METRICS[0], (1 + metric.decay / self.problem.eigenvalues) ** 2)

    def redrawn(self, metric: str, scale: ArrayLike = 1.0) -> Array:
        """E of the metric for k = 1 … steps where sets are fixed, or drawn anew every period.

        ``scale``: where nothing or everything is selected, what every eigen-direction's square is multiplied by.
        """
        gap = self.gap
        plain = metric == "squared_gradient_norm"
        beta, off = self.runs.beta, 1.0 if plain else self.runs.off_set_weight
        weights: list[tuple[ArrayLike, ArrayLike]] = [(scale, off * np.asarray(scale))]
        if leaky := not plain and self.runs.law == "redrawn" and beta > 0:
            # E[β^r | j in the set] is β^(steps to the period's end) times a factor of the coordinate.
            weights.append((self.leak(gap - 1) / beta, 0.0))
        variance, start, share = self.coordinates
        values = exact_diagonal.redrawn(
            self.problem.eigenvalues,
            variance,
            start,
            share,
            self.updates,
            steps=self.steps,
            update_gap=gap,
            weights=weights,
        )
        if not leaky:
            return values[0]
        with np.errstate(invalid="ignore"):  # ∞ − ∞ of a run that diverges
            return exact_diagonal.clean(values[0] - beta ** (gap - np.arange(self.steps) % gap) * values[1])

    @property
    def gap(self) -> int:
        """The steps of a period, of sets that are drawn."""
        return 1 if self.runs.law == "fixed" else self.algorithm.update_gap

    @property
    def coordinates(self) -> tuple[Array, Array, Array]:
        """σ_j², x_j¹ and the probability to be in the set, of the coordinates or eigen-directions that decouple."""
        variance, start, share = self.variance, self.start, self.flat(self.runs.share)
        if self.by_eigenvector and not self.problem.separable:
            vectors = self.problem.rotation
            assert vectors is not None  # it is not separable
            variance, start = variance @ vectors**2, start @ vectors
        if self.by_eigenvector and not (self.runs.full or self.runs.empty):
            share = np.zeros(self.dimension)
            leading = np.argsort(-self.problem.eigenvalues, kind="stable")[: directions(self.algorithm, (self.dimension,))[2]]
            share[leading] = 1.0
        return variance, start, share

    def settled(self) -> float:
        """lim E‖g‖², averaged over a period, where sets are fixed, or drawn anew every period."""
        variance, _, share = self.coordinates
        return float(exact_diagonal.settled(self.problem.eigenvalues, variance, share, self.updates, update_gap=self.gap).sum())

    def scheduled(self, metric: str) -> Array:
        """E of the metric for k = 1 … steps along a known sequence of sets."""
        squares = exact_diagonal.scheduled(
            self.problem.eigenvalues,
            self.variance,
            self.start,
            self.members,
            self.updates,
            steps=self.steps,
            update_gap=self.algorithm.update_gap,
        )
        return np.array([np.sum(square * self.mean_weight(metric, k)) for k, square in enumerate(squares)])

    # --- the joint law matters: cases 1 and 2 ------------------------------------------------------------------

    def inclusion(self) -> Callable[[int], exact_dense.Inclusion] | None:
        """The law of the momentum set by period, where one recursion is exact; None in case 4."""
        algorithm, shapes = self.algorithm, self.problem.shapes
        if self.runs.law in ("fixed", "scheduled"):
            return lambda period: exact_dense.known(self.members(period))
        if self.runs.law == "turning" or algorithm.update_gap > 1 or algorithm.subspace not in ("coordinates", "randk"):
            return None
        if algorithm.subspace == "coordinates" and algorithm.sampling == "independent":
            law = exact_dense.independent(self.flat(self.runs.share))
        else:
            sizes = [size for (size,) in shapes.values()]
            law = exact_dense.fixed_size([(budget(algorithm.density, size), size) for size in sizes])
        return lambda _: law

    def observe(
        self, moments: Iterable[Array], metrics: Sequence[str], weight: Callable[[str, int], Array]
    ) -> dict[str, Array]:
        """E of every metric for k = 1 … steps, shape (…, steps), from E[g gᵀ] and the weights (…, d) or (…, d, d)."""
        found: dict[str, list[Array]] = {name: [] for name in metrics}
        with threadpool_limits(limits=1), np.errstate(over="ignore", invalid="ignore"):
            for k, moment in zip(range(self.steps), moments, strict=False):
                diagonal = np.diagonal(moment, axis1=-2, axis2=-1)
                for name in metrics:
                    w = weight(name, k)
                    total = np.sum(moment * w, axis=(-2, -1)) if w.ndim == moment.ndim else np.sum(diagonal * w, axis=-1)
                    found[name].append(total)
        return {name: exact_diagonal.clean(np.stack(values, axis=-1)) for name, values in found.items()}

    def mean_weight(self, metric: str, step: int) -> Array:
        """E W_j at the 0-based step, shape (d,), where x is independent of the set."""
        if metric == "squared_gradient_norm":
            return np.ones(self.dimension)
        share = self.flat(self.runs.probability(step // self.algorithm.update_gap))
        return share * (1 - self.leak(step)) + (1 - share) * self.runs.off_set_weight

    # --- exact over the noise, Monte Carlo over the sets: case 4 ------------------------------------------------

    def average_over_sets(self, metrics: Sequence[str], trials: int, confidence: float) -> dict[str, Evidence]:
        """Evidence over ``trials`` trials of the sets, those that Monte Carlo draws too."""
        size = max(1, min(trials, BATCH_ENTRIES // self.dimension**2))
        merged: dict[str, Moments] = {}
        for first in range(0, trials, size):
            batch = np.arange(first, min(first + size, trials))
            found = self._batch(metrics, batch)
            with np.errstate(over="ignore", invalid="ignore"):
                parts = {name: Moments.of(running(found[name])) for name in metrics}
                merged = {name: merged[name].merge(parts[name]) if merged else parts[name] for name in metrics}
        note = f"exact over the noise, an average over {trials} trials of the momentum sets"
        return {name: sampled("exact", name, moments, confidence, (note,)) for name, moments in merged.items()}

    def _batch(self, metrics: Sequence[str], trials: NDArray[np.int64]) -> dict[str, Array]:
        draws = Draws(self.algorithm, self.problem.shapes, trials)
        gap = self.algorithm.update_gap
        if self.runs.law == "turning":
            moments = exact_dense.along_projectors(*self.vectors, draws.turn, self.updates, update_gap=gap)
        else:
            moments = exact_dense.along_masks(*self.vectors, draws.inclusion, self.updates, update_gap=gap)

        def weight(metric: str, step: int) -> Array:
            off = self.runs.off_set_weight
            if metric == "squared_gradient_norm":
                return np.ones(self.dimension)
            outside = np.eye(self.dimension) if self.runs.law == "turning" else np.ones(self.dimension)
            return (1 - self.leak(step) - off) * draws.current + off * outside

        return self.observe(moments, metrics, weight)

    # --- everything as one vector -----------------------------------------------------------------------------

    def flat(self, arrays: Mapping[str, Array]) -> Array:
        """Arrays that broadcast to the parameters' shapes, as one vector (d,)."""
        return np.concatenate([np.broadcast_to(arrays[name], shape) for name, shape in self.problem.shapes.items()])

    def leak(self, step: int) -> Array:
        """λ_j = E[β^r | j in the set] at the 0-based step, shape (d,)."""
        return self.flat(self.runs.leak(step))

    def members(self, period: int) -> NDArray[np.bool_]:
        """The momentum set of a period, shape (d,), where it is known."""
        return self.flat(self.runs.probability(period)) > 0.5


def running(values: Array) -> Array:
    """Running averages along the last axis."""
    with np.errstate(over="ignore"):
        return np.asarray(np.cumsum(values, axis=-1) / np.arange(1, values.shape[-1] + 1))
