"""Metrics: what is measured along a run, and bounded by theorems. One file each: its formula, its name and its words."""

from frugal_theory.config.registry import Registry
from frugal_theory.metrics.adaptive_norm import WORDS as ADAPTIVE
from frugal_theory.metrics.adaptive_norm import AdaptiveNorm
from frugal_theory.metrics.gradient_one_norm import WORDS as ONE_NORM
from frugal_theory.metrics.gradient_one_norm import gradient_one_norm
from frugal_theory.metrics.growing_norm import WORDS as GROWING
from frugal_theory.metrics.growing_norm import GrowingNorm
from frugal_theory.metrics.hybrid_norm import WORDS as HYBRID
from frugal_theory.metrics.hybrid_norm import HybridNorm
from frugal_theory.metrics.hybrid_one_norm import WORDS as BY_SIDES
from frugal_theory.metrics.hybrid_one_norm import HybridOneNorm
from frugal_theory.metrics.median_norm import WORDS as BY_MEDIANS
from frugal_theory.metrics.median_norm import MedianNorm
from frugal_theory.metrics.metric import Metric, Words
from frugal_theory.metrics.regularised_norm import WORDS as REGULARISED
from frugal_theory.metrics.regularised_norm import RegularisedNorm
from frugal_theory.metrics.sign_norm import WORDS as BY_SIGNS
from frugal_theory.metrics.sign_norm import SignNorm
from frugal_theory.metrics.squared_gradient_norm import WORDS as SQUARED
from frugal_theory.metrics.squared_gradient_norm import squared_gradient_norm
from frugal_theory.metrics.weighted_squared_gradient_norm import WORDS as WEIGHTED
from frugal_theory.metrics.weighted_squared_gradient_norm import weighted_squared_gradient_norm

__all__ = [
    "METRICS",
    "AdaptiveNorm",
    "GrowingNorm",
    "HybridNorm",
    "HybridOneNorm",
    "MedianNorm",
    "Metric",
    "RegularisedNorm",
    "SignNorm",
    "Words",
    "add_metric",
    "gradient_one_norm",
    "squared_gradient_norm",
    "weighted_squared_gradient_norm",
    "words",
]

METRICS: Registry[Metric] = Registry(
    "metric",
    "frugal_theory.metrics:METRICS",
    {
        name: f"frugal_theory.metrics.{name}:{name}"
        for name in ("squared_gradient_norm", "weighted_squared_gradient_norm", "gradient_one_norm")
    },
)
"""The metrics that need no setting. A theorem that bounds another has a method ``measure(setting)`` that returns it."""

_WORDS: dict[str, Words] = {
    **SQUARED,
    **WEIGHTED,
    **ONE_NORM,
    **BY_SIGNS,
    **HYBRID,
    **GROWING,
    **REGULARISED,
    **BY_SIDES,
    **BY_MEDIANS,
    **ADAPTIVE,
}


def add_metric(name: str, metric: Metric) -> Metric:
    """Add a metric that needs no setting. Raises ValueError if the name is taken."""
    return METRICS.add(name, metric)


def words(name: str) -> Words:
    """How the metric of that name is said. One that was added is said by its ``title`` and ``symbol`` if it has them, else, as
    a theorem's own, by its name.

    >>> words("gradient_one_norm").symbol
    'ℓ1'
    >>> words("largest_coordinate").title
    'largest coordinate'
    """
    if name in _WORDS:
        return _WORDS[name]
    added, own = METRICS.get(name), name.replace("_", " ")
    return Words(getattr(added, "title", own), getattr(added, "symbol", own), getattr(added, "linear", False))
