"""How far noise reaches beyond its variance: fourth moments, tail index, and how much of the declared variance has been seen.

Intervals around averages of ‖g‖² need to know whether trials show what there is. Rare jumps and heavy tails hide: with a jump
in 5000 draws 64 trials of 100 steps may see none. What a noise of this package has is known (``kurtosis(problem)``, an upper
bound derived with it); of others it is estimated from the draws that the premises are tested with, and the limits say what
those draws can say and no more: an event rarer than ``unseen`` may be missing from all of them, and then carries at most
the share 1 − ``shown_lower`` of the declared variance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from frugal_theory.instance import Instance
from frugal_theory.premises.draws import Draws, declared_variance
from frugal_theory.problems.noise import FourthMoments

__all__ = ["LEVEL", "Tail", "noise_tail"]

Array = NDArray[np.float64]

LEVEL = 1e-3 / 5
"""The probability that any limit of a tail misses, where it is a limit at all (:class:`Tail`)."""

DEPTHS = (0.02, 0.005, 0.001)
"""Shares of the draws that count as the tail; the deepest that has values enough says its index."""

LEAST_TAIL, LEAST_VALUES = 5, 100
"""At least so many values a coordinate, and so many in all."""


@dataclass(frozen=True)
class Tail:
    """What is known of the noise beyond its variance. Moments are by E‖ξ‖⁴ over the tested coordinates.

    ``known``: upper bounds over all x that come with the noise, of E‖ξ‖⁴/σ⁴ and of the largest E ξ_j⁴/σ_j⁴, in terms of the
    declared variances; None if nobody has said. ``draws``: their number at the point that has the most, and ``unseen`` the
    probability below which an event may have been missed there.
    ``fourth``, ``fourth_upper``: the largest E‖ξ‖⁴/σ⁴ of any point, declared σ², and its upper limit; ``kurtosis`` and
    ``kurtosis_upper`` the same by the noise's own variance, E‖ξ‖⁴/(E‖ξ‖²)²; ``coordinate_kurtosis`` and its limit for the
    coordinate where it is largest. Limits hold for laws whose large values are among the draws: jumps by a two-point law are
    covered once one has come up. They say nothing where there is no fourth moment, which ``index`` must tell.
    ``index``: a lower limit of the tail index, of ‖ξ‖ and of coordinates; inf where values do not spread beyond quantiles.
    Up to 4 there may be no fourth moment, up to 6 no third one of ‖ξ‖². Mixtures with rare jumps look like small indices, too.
    ``shown``, ``shown_lower``: the smallest share of the declared σ² that any point shows, and its lower limit. Of a σ² that is
    a bound over all x a small share is no fault; of one that is attained it says that the rest comes in jumps not yet seen.
    """

    known: FourthMoments | None
    draws: int
    unseen: float
    fourth: float
    fourth_upper: float
    kurtosis: float
    kurtosis_upper: float
    coordinate_kurtosis: float
    coordinate_kurtosis_upper: float
    index: float
    shown: float
    shown_lower: float

    @property
    def q(self) -> float:
        """An upper bound of E‖ξ‖⁴/σ⁴: the one that comes with the noise, or else the draws' upper limit."""
        return self.fourth_upper if self.known is None else self.known.whole


def noise_tail(instance: Instance, drawn: Sequence[Draws], level: float = LEVEL) -> Tail:
    """The tail of the instance's noise, from draws of it at some points (:func:`~frugal_theory.premises.draws.draw`)."""
    known = known_moments(instance)
    declared = declared_variance(instance)
    whole = float(declared.sum())
    finite = [at for at in drawn if at.finite and len(at.flat) > 1]
    if not finite or not math.isfinite(whole):
        nothing = (math.nan, math.inf)
        return Tail(known, 0, 1.0, *nothing, *nothing, *nothing, 0.0, 0.0, 0.0)
    single = level / (5 * len(finite))
    found = [_at(np.where(np.abs(at.flat) > at.rounding, at.flat, 0.0), whole, single) for at in finite]
    many = max(len(at.flat) for at in finite)
    largest = {name: max(row[name] for row in found) for name in found[0] if name not in ("index", "shown", "shown_lower")}
    smallest = {name: min(row[name] for row in found) for name in ("index", "shown", "shown_lower")}
    return Tail(known, many, min(1.0, math.log(1 / single) / many), **largest, **smallest)


def known_moments(instance: Instance) -> FourthMoments | None:
    """What the noise itself says (``kurtosis(problem)``); None if it does not, or cannot for this problem."""
    say = getattr(instance.noise, "kurtosis", None)
    said = None if say is None else say(instance.problem)
    return None if said is None else FourthMoments(*map(float, said))


def _at(noise: Array, whole: float, level: float) -> dict[str, float]:
    squares = noise**2
    size = squares.sum(axis=1)
    if not size.any():
        names = ("fourth", "fourth_upper", "kurtosis", "kurtosis_upper", "coordinate_kurtosis", "coordinate_kurtosis_upper")
        shown = 1.0 if whole == 0 else 0.0
        return dict.fromkeys(names, 0.0) | {"index": math.inf, "shown": shown, "shown_lower": shown}
    mean, mean_lower, _ = _limits(size[:, None], level)
    second, _, second_upper = _limits(size[:, None] ** 2, level)
    index = min(_index(np.sqrt(size)[None], level), _index(np.abs(noise).T, level))
    by, by_lower, _ = _limits(squares, level / squares.shape[1])
    fourth, _, fourth_upper = _limits(squares**2, level / squares.shape[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        coordinate = np.where(by > 0, fourth / by**2, 0.0)
        coordinate_upper = np.where(by > 0, fourth_upper / np.maximum(by_lower, 0.0) ** 2, 0.0)
    share = whole if whole > 0 else math.inf
    return {
        "fourth": float(second[0]) / share**2,
        "fourth_upper": float(second_upper[0]) / share**2,
        "kurtosis": float(second[0] / mean[0] ** 2),
        "kurtosis_upper": math.inf if mean_lower[0] <= 0 else float(second_upper[0] / mean_lower[0] ** 2),
        "coordinate_kurtosis": float(coordinate.max()),
        "coordinate_kurtosis_upper": float(coordinate_upper.max()),
        "index": index,
        "shown": float(mean[0]) / share,
        "shown_lower": max(0.0, float(mean_lower[0])) / share,
    }


def _limits(values: Array, level: float) -> tuple[Array, Array, Array]:
    """The mean of every column of non-negative ``values`` (n, columns), its lower and its upper limit.

    Below: Student's t, as large values raise the deviation with the mean. Above: t, and the largest value that came up
    times log(1/δ)/n, so that the mean number of k jumps is covered by k + t√k + log(1/δ) from the first one on.
    """
    from scipy.special import stdtrit

    n = len(values)
    mean, error = values.mean(axis=0), values.std(axis=0, ddof=1) / math.sqrt(n)
    t = float(stdtrit(n - 1, 1 - level))
    return mean, mean - t * error, mean + t * error + math.log(1 / level) / n * values.max(axis=0)


def _index(size: Array, level: float) -> float:
    """A lower limit of the tail index α of the rows of ``size`` (rows, n): Hill's (1975) estimate of 1/α and its upper limit.

    Pooled over rows, each with its own threshold; confidence from whole draws as clusters, as in the test of P4. The deepest
    tail with values enough counts: laws with all moments look the lighter, and power laws the truer, the deeper one looks.
    """
    from scipy.special import stdtrit

    size = size[size.max(axis=1, initial=0.0) > 0]
    n = size.shape[1]
    usable = [depth for depth in DEPTHS if len(size) * max(LEAST_TAIL, round(depth * n)) >= LEAST_VALUES]
    depth = min(usable, default=DEPTHS[0])
    kept = max(LEAST_TAIL, round(depth * n))
    if not len(size) or n < 2 * kept:
        return math.inf if not len(size) else 0.0
    at = np.argpartition(size, n - kept - 1, axis=1)[:, n - kept - 1 :]
    values = np.take_along_axis(size, at, axis=1)
    threshold = values[:, :1]  # argpartition puts the (kept + 1)-th largest first
    positive = threshold[:, 0] > 0
    if not positive.any():  # fewer values than that are not 0: jumps so rare that they have no tail to speak of
        return 0.0
    excess, draw = np.log(values[positive, 1:] / threshold[positive]), at[positive, 1:]
    counts = np.bincount(draw.ravel(), minlength=n).astype(float)
    sums = np.bincount(draw.ravel(), weights=excess.ravel(), minlength=n)
    total = counts.sum()
    inverse = float(sums.sum() / total)
    error = math.sqrt(float(np.sum((sums - inverse * counts) ** 2))) / total
    clusters = float(total**2 / np.sum(counts**2))
    if clusters <= 2:
        return 0.0
    upper = inverse + float(stdtrit(clusters - 1, 1 - level)) * error
    return float(1 / upper) if upper > 0 else math.inf
