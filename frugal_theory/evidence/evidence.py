"""Evidence: a measured metric for every step, with its uncertainty and where it came from."""

from __future__ import annotations

import html
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from frugal_theory.evidence.intervals import mean_interval

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ARRAYS", "KEPT", "Evidence", "Source"]

Array = NDArray[np.float64]
Source = Literal["monte_carlo", "exact", "worst_case", "training"]

ARRAYS = ("steps", "mean", "lower", "upper", "deviation", "skewness")
"""The fields of Evidence that have an entry for every step."""

KEPT = (*ARRAYS, "values")
"""All its arrays."""


@dataclass(frozen=True)
class Evidence:
    """A metric for k = 1 … K: by default the running average (1/k) Σ_{i≤k} E‖gⁱ‖².

    ``mean``, ``lower`` and ``upper`` have shape (K,) and hold at each single step with ``confidence``. Evidence that
    is exact has lower = mean = upper. ``deviation`` and ``skewness``, shape (K,), are those of one trial;
    :meth:`interval` needs them to give the interval at another confidence. ``values``, shape (trials, horizons), are the
    averages of every trial at the :func:`~frugal_theory.evidence.horizons.judged` horizons, which verdicts are made from: they
    are valid for every law, the interval for the laws of ``docs/theory/statistics.md``.
    """

    source: Source
    steps: NDArray[np.int64]
    mean: Array
    lower: Array
    upper: Array
    metric: str = "squared_gradient_norm"
    confidence: float = 0.99
    trials: int = 1
    deviation: Array | None = None
    skewness: Array | None = None
    notes: tuple[str, ...] = field(default=())
    values: Array | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        last, ends = self.mean[-1], (self.lower[-1], self.upper[-1])
        within = "exactly" if ends[0] == ends[1] == last else f"in [{ends[0]:.4g}, {ends[1]:.4g}] with {self.confidence:g}"
        trials = f", {self.trials} trials" if self.trials > 1 else ""
        return f"<evidence {self.source}{trials}: {self.metric} {last:.4g} at k = {self.steps[-1]}, {within}>"

    def _repr_html_(self) -> str:
        return f"<code>{html.escape(repr(self))}</code>"

    def interval(self, confidence: float) -> tuple[Array, Array]:
        """Lower and upper end, shape (K,), of the interval that covers E at each single step with ``confidence``."""
        if self.deviation is None:
            return self.lower, self.upper
        return mean_interval(self.mean, self.deviation, self.skewness, self.trials, confidence)

    def at(self, step: int) -> Evidence:
        """The evidence of a single step, given by its 0-based number; its arrays have shape (1,)."""
        one = {name: value[step : step + 1] for name in ARRAYS if (value := getattr(self, name)) is not None}
        return replace(self, **one)

    def frame(self) -> pd.DataFrame:
        """Tidy table: one row a step, columns source, metric, step, mean, lower, upper."""
        import pandas as pd

        return pd.DataFrame(
            {
                "source": self.source,
                "metric": self.metric,
                "step": self.steps,
                "mean": self.mean,
                "lower": self.lower,
                "upper": self.upper,
            }
        )
