"""How often the intervals of evidence miss, over how often they may. The table of docs/theory/statistics.md.

``python -m benchmarks intervals``, some minutes on one core. χ²_1 is sampled where the misses are (importance sampling,
as in :func:`frugal_theory.evidence.few_trials.critical_values`), so that misses of one in 10⁶ can be counted; the other
laws are drawn as they are, and show where the limits lie.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import skew

from frugal_theory.evidence.intervals import mean_interval
from frugal_theory.studies.study import Answer, Run

Array = NDArray[np.float64]
Law = Callable[[np.random.Generator, tuple[int, int]], Array]

CONFIDENCES = (0.99, 0.999, 0.9999, 0.99999, 0.999999)
TRIALS = (4, 8, 16, 32, 64, 128, 256, 512)
TILTS = (1.0, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.5, 0.35, 0.2, 0.1, 0.05, 0.02, 0.01)
DRAWS = 2**24
"""Numbers drawn for a line of the table, by law and by tilt."""

ALLOWED = 1.1
"""Misses over those that may be, as far as DRAWS numbers tell."""

CHI_SQUARED = "χ²_1, √8"
"""The law that the intervals are made for."""

LAWS: dict[str, tuple[Law, float]] = {
    "normal, skewness 0": (lambda rng, shape: 3 + rng.standard_normal(shape), 3.0),
    "exponential, 2": (lambda rng, shape: rng.standard_exponential(shape), 1.0),
    "exponential to the left, −2": (lambda rng, shape: 3 - rng.standard_exponential(shape), 2.0),
    "lognormal, 6.2": (lambda rng, shape: rng.lognormal(size=shape), float(np.exp(0.5))),
}


def missed(samples: Array, mean: float, confidence: float) -> NDArray[np.bool_]:
    """Whether the interval of each row does not hold the mean."""
    average, deviation = samples.mean(axis=1), samples.std(axis=1, ddof=1)
    lower, upper = mean_interval(average, deviation, skew(samples, axis=1), samples.shape[1], confidence)
    return np.asarray((lower > mean) | (upper < mean))


class Intervals:
    """A row a law, number of trials and confidence: ``ratio`` of the misses to those allowed."""

    name = "intervals"
    question = "Do intervals miss at most as often as they may?"
    by_cell = False

    def measure(self, _: None, run: Run) -> pd.DataFrame:
        """χ²_1 by importance sampling, the other laws as they are."""
        tasks = [(law, trials) for law in (CHI_SQUARED, *LAWS) for trials in TRIALS]
        return pd.concat(run.each(misses, tasks), ignore_index=True)

    def draw(self, _: pd.DataFrame) -> dict[str, Any]:
        """A table of hundreds of ratios is not drawn."""
        return {}

    def answer(self, table: pd.DataFrame) -> Answer:
        """By the law that the intervals are made for; the others show where the limits lie."""
        made_for = table[table["law"] == CHI_SQUARED]["ratio"]
        most = table.loc[table["ratio"].idxmax()]
        sentence = (
            f"For {CHI_SQUARED} they miss at most {made_for.max():.2f} times as often as they may; most often, "
            f"{most['ratio']:.2f} times, for {most['law']} at {most['trials']} trials and confidence {most['confidence']:g}."
        )
        return Answer(sentence, "yes" if made_for.max() <= ALLOWED else "no")


def misses(law: str, trials: int) -> pd.DataFrame:
    """A row a confidence; every law and number of trials draws numbers of its own."""
    rng = np.random.default_rng([[CHI_SQUARED, *LAWS].index(law), trials])
    if law == CHI_SQUARED:
        ratios = _tilted(rng, trials)
    else:
        draw, mean = LAWS[law]
        samples = draw(rng, (DRAWS // trials, trials))
        ratios = [float(missed(samples, mean, c).mean()) / (1 - c) for c in CONFIDENCES[:4]]
    found = zip(CONFIDENCES, ratios, strict=False)
    return pd.DataFrame([{"law": law, "trials": trials, "confidence": c, "ratio": ratio} for c, ratio in found])


def _tilted(rng: np.random.Generator, trials: int) -> list[float]:
    rows = max(1000, DRAWS // trials // 4)
    ratios, tilted = [], []
    for tilt in TILTS:
        x = tilt * rng.standard_normal((rows, trials)) ** 2
        weight = np.exp(trials / 2 * np.log(tilt) - x.sum(axis=1) * (1 - 1 / tilt) / 2)
        tilted.append([weight * missed(x, 1.0, c) for c in CONFIDENCES])
    for i, confidence in enumerate(CONFIDENCES):
        # A scale that is too small sees none of the misses that count, and is sure of it; of the others the surest.
        seen = [(w[i].std() / w[i].mean() / np.sqrt(rows), w[i].mean()) for w in tilted if np.any(w[i])]
        sure = [(error, share) for error, share in seen if error < 0.1]
        most = max((share for _, share in sure), default=0.0)
        best = min(((error, share) for error, share in sure if share > 0.7 * most), default=(0.0, np.nan))
        ratios.append(float(best[1]) / (1 - confidence))
    return ratios


STUDY = Intervals()
