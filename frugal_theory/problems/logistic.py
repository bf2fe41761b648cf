"""ℓ2-regularised logistic regression on real data that scikit-learn ships, so that nothing is downloaded."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from frugal_theory import config
from frugal_theory.config.dataset import is_file, read
from frugal_theory.config.registry import Kind
from frugal_theory.problems.coordinates import dominating_diagonal
from frugal_theory.problems.partition import Partition, starting_vector

__all__ = ["Logistic", "largest_variance", "signed_features"]

Array = NDArray[np.float64]
Arrays = dict[str, Array]

ROUNDING = 1e-13
"""How exactly f can be evaluated, as a fraction of it: Newton's method ends there, and the bound of f* allows for it."""


class Logistic:
    """f(x) = (1/n) Σ_i log(1 + exp(−z_iᵀx)) + (μ/2)‖x‖², z_i = y_i a_i, y_i = ±1, no intercept.

    With s_i = 1/(1 + exp(z_iᵀx)), the probability of the wrong label, in (0, 1):

    - ∇f(x) = −(1/n) Σ s_i z_i + μx.
    - ∇²f(x) = (1/n) Σ s_i(1 − s_i) z_i z_iᵀ + μI, and s(1 − s) <= 1/4 with equality at s = 1/2. So
      L = λ_max(ZᵀZ)/(4n) + μ, attained at x = 0, where every s_i is 1/2: no smaller constant will do.
    - f* for μ > 0: f is μ-strongly convex, so f(y) >= f(x) + ⟨∇f(x), y − x⟩ + (μ/2)‖y − x‖² for all y; minimising the
      right-hand side over y gives f* >= f(x) − ‖∇f(x)‖²/(2μ) at *any* x. It is evaluated along Newton's method and
      lowered by the rounding of f, which makes ``infimum`` a lower bound that is off by no more than that.
      For μ = 0 the infimum need not be attained (separable data), and ``infimum`` is 0, which every loss is above.

    ``signed_features``: Z, shape (n, d), its rows the z_i. ``l2``: μ >= 0. ``start``: "normal", "ones" or d numbers.
    ``blocks``: the number of parameters that x is cut into. Raises ValueError for Z of another shape or l2 < 0.
    """

    def __init__(self, signed_features: Array, l2: float = 0.0, start: config.Start = "normal", blocks: int = 1) -> None:
        self.signed_features = np.array(signed_features, dtype=np.float64)
        if self.signed_features.ndim != 2 or self.signed_features.size == 0:
            raise ValueError(f"signed_features has shape {self.signed_features.shape}; (samples, dimension) is allowed")
        if not l2 >= 0:
            raise ValueError(f"l2 = {l2}: a number >= 0 is allowed")
        self.l2 = float(l2)
        self.samples: int
        self.samples, dimension = self.signed_features.shape
        self.partition = Partition(dimension, blocks)
        self.shapes: Mapping[str, tuple[int, ...]] = self.partition.shapes
        self.smoothness: float = float(np.linalg.norm(self.signed_features, 2) ** 2 / (4 * self.samples) + self.l2)
        self._start = start
        self.infimum: float = self._lower_bound() if self.l2 > 0 else 0.0

    def coordinate_smoothness(self) -> Arrays:
        """L_j with 0 ⪯ ∇²f ⪯ ZᵀZ/(4n) + μI ⪯ diag(L_j)."""
        largest = self.signed_features.T @ self.signed_features / (4 * self.samples)
        return self.partition.split(dominating_diagonal(largest) + self.l2)

    def start(self, rng: np.random.Generator) -> Arrays:
        """x¹; the same vector whatever the blocks."""
        return self.partition.split(starting_vector(self._start, self.partition.dimension, rng))

    def value(self, x: Mapping[str, Array]) -> Array:
        """f(x), of the shape of the trial axes."""
        return self._value(self.partition.join(x))

    def gradient(self, x: Mapping[str, Array]) -> Arrays:
        """∇f(x), by block."""
        return self.partition.split(self._gradient(self.partition.join(x)))

    def batch_gradient(self, x: Mapping[str, Array], batch: NDArray[np.int64]) -> Arrays:
        """−(1/b) Σ_{i in batch} s_i z_i + μx: the mean of ∇f_i(x) over the batch, shape (..., b); μx is in every ∇f_i."""
        vector = self.partition.join(x)
        rows = self.signed_features[batch]
        wrong = wrong_probability((rows @ vector[..., None])[..., 0])
        mean = (wrong[..., None, :] @ rows)[..., 0, :] / batch.shape[-1]
        return self.partition.split(self.l2 * vector - mean)

    def sample_variance(self) -> Arrays:
        """For every coordinate a bound, over all x, of Var_i ∂_j f_i(x).

        ∂_j f_i(x) = −s_i z_ij + μx_j. The second term is the same for all i and drops out of the variance; the first
        lies between 0 and −z_ij because 0 < s_i < 1. :func:`largest_variance` does the rest.
        """
        return self.partition.split(largest_variance(-self.signed_features))

    def sample_range(self) -> tuple[Arrays, float]:
        """Bounds, over all x and i, of |∂_j f_i(x) − ∂_j f(x)| by coordinate, and of ‖∇f_i(x) − ∇f(x)‖.

        −s_i z_ij lies between 0 and −z_ij, and its mean over i between the means of those of either sign.
        """
        ends = -self.signed_features
        below, above = np.minimum(ends, 0.0), np.maximum(ends, 0.0)
        reach = np.maximum(above.max(axis=0) - below.mean(axis=0), above.mean(axis=0) - below.min(axis=0))
        lengths = np.linalg.norm(ends, axis=1)
        return self.partition.split(reach), float(lengths.max() + lengths.mean())

    def sample_gradient_bound(self) -> Arrays | None:
        """For every coordinate max_i |z_ij|, as 0 < s_i < 1. None for μ > 0: |μx_j| has no bound."""
        return None if self.l2 > 0 else self.partition.split(np.abs(self.signed_features).max(axis=0))

    def gradient_bound(self) -> Arrays | None:
        """For every coordinate a bound of |∂_j f|: −∂_j f is a mean of z_ij, each times a number between 0 and 1.

        The larger of the means of their positive and of their negative parts. None for μ > 0.
        """
        if self.l2 > 0:
            return None
        features = self.signed_features
        return self.partition.split(np.maximum(np.maximum(features, 0).mean(axis=0), np.maximum(-features, 0).mean(axis=0)))

    def _value(self, vector: Array) -> Array:
        losses = log_one_plus_exp(-(vector @ self.signed_features.T))
        return np.asarray(losses.mean(axis=-1) + self.l2 / 2 * (vector * vector).sum(axis=-1))

    def _gradient(self, vector: Array) -> Array:
        wrong = wrong_probability(vector @ self.signed_features.T)
        return self.l2 * vector - wrong @ self.signed_features / self.samples

    def _hessian(self, vector: Array) -> Array:
        wrong = wrong_probability(self.signed_features @ vector)
        weighted = self.signed_features * (wrong * (1 - wrong))[:, None]
        hessian: Array = weighted.T @ self.signed_features / self.samples + self.l2 * np.eye(vector.size)
        return hessian

    def _lower_bound(self) -> float:
        """The largest f(x) − ‖∇f(x)‖²/(2μ), less rounding, along Newton's method with step halving, started at 0."""
        x = np.zeros(self.partition.dimension)
        value, gradient, bound = self._value(x), self._gradient(x), 0.0
        for _ in range(100):
            slack = gradient @ gradient / (2 * self.l2)
            bound = max(bound, float((1 - ROUNDING) * value - slack))
            if slack < ROUNDING * value:
                break
            direction = np.linalg.solve(self._hessian(x), gradient)
            for step in 0.5 ** np.arange(30):
                new = x - step * direction
                new_value, new_gradient = self._value(new), self._gradient(new)
                if new_value < (1 - ROUNDING) * value or np.linalg.norm(new_gradient) < np.linalg.norm(gradient) / 2:
                    break
            else:  # neither f nor its gradient gets smaller: this is the minimum, up to rounding
                break
            x, value, gradient = new, new_value, new_gradient
        return bound


def log_one_plus_exp(t: Array) -> Array:
    """log(1 + eᵗ) without overflow: it is t for t > 35, to the last bit. Complex t is cut by its real part."""
    return np.log1p(np.exp(np.minimum(t, 35))) + np.maximum(t - 35, 0)


def wrong_probability(margin: Array) -> Array:
    """1/(1 + eᵗ) without overflow: below e⁻⁷⁰⁰ it stays there. Complex t is cut by its real part."""
    t = np.array(np.minimum(margin, 700))  # one array for all of it: this is most of the work of a run
    np.exp(t, out=t)
    t += 1
    return np.divide(1, t, out=t)


def largest_variance(ends: Array) -> Array:
    """For every column j a bound of Var_i v_ij over all v_ij between 0 and c_ij. ``ends``: c, shape (n, d); returns (d,).

    The variance is at most the mean squared distance from any number t, and a squared distance is convex, so largest
    at an end: Var <= (1/n) Σ max(t², (c_i − t)²) = t² + (1/n) Σ max(0, c_i(c_i − 2t)) for *every* t. t = 0 gives the
    second moment. The right-hand side is convex in t; its derivative, 2t − (2/n) Σ c_i [c_i(c_i − 2t) > 0], is zero
    between −max|c| and max|c|, where bisection finds it. Wherever bisection stops, the value is a valid bound.
    """
    high = np.abs(ends).max(axis=0)
    low = -high
    for _ in range(60):
        middle = (low + high) / 2
        rising = middle > np.where(ends * (ends - 2 * middle) > 0, ends, 0).mean(axis=0)
        low, high = np.where(rising, low, middle), np.where(rising, middle, high)
    bound: Array = high**2 + np.maximum(0, ends * (ends - 2 * high)).mean(axis=0)
    return bound


def signed_features(dataset: str, label: str | None = None) -> Array:
    """Z, shape (n, d): the features of a data set times its labels ±1; read-only, as it is kept.

    ``dataset``: a bundled one, or the path of a file of the user's (:func:`frugal_theory.config.dataset.read`). Features are
    shifted to mean 0 and scaled to variance 1; one that is constant becomes 0. "breast-cancer": 569 samples, 30 features,
    benign is +1 (Wolberg, Street & Mangasarian 1995). "digits": 1797 samples, 64 pixels, odd is +1, even is −1 (Alpaydin &
    Kaynak 1998).
    """
    return _signed(*read(dataset, label)) if is_file(dataset) else _bundled_signed(dataset)


@lru_cache
def _bundled_signed(dataset: str) -> Array:
    return _signed(*_bundled(dataset))


def _signed(features: Array, target: Array) -> Array:
    deviation = features.std(axis=0)
    standard = (features - features.mean(axis=0)) / np.where(deviation > 0, deviation, 1)
    signed: Array = standard * (2.0 * target - 1.0)[:, None]
    signed.flags.writeable = False
    return signed


def _bundled(dataset: str) -> tuple[Array, Array]:
    """Features and targets (0 or 1) of a data set that comes with scikit-learn, read from its table: importing scikit-learn
    takes seconds. A release that keeps its tables elsewhere is asked itself."""
    spec = find_spec("sklearn")
    folders = (spec and spec.submodule_search_locations) or ["."]
    file = Path(folders[0]) / "datasets" / "data" / {"breast-cancer": "breast_cancer.csv", "digits": "digits.csv.gz"}[dataset]
    if file.is_file():
        table = np.loadtxt(file, delimiter=",", skiprows=1 if dataset == "breast-cancer" else 0)
        features, target = table[:, :-1], table[:, -1]
    else:
        from sklearn import datasets

        load = datasets.load_breast_cancer if dataset == "breast-cancer" else datasets.load_digits
        features, target = load(return_X_y=True)
    return features, target if dataset == "breast-cancer" else target % 2


def from_config(problem: config.Logistic, blocks: int) -> Logistic:
    """The regression of a ``[problem]`` table."""
    return Logistic(signed_features(problem.dataset, problem.label), problem.l2, problem.start, blocks)


KIND = Kind(config.Logistic, lambda table, blocks, _: from_config(table, blocks))
