"""Critical values for the mean of few skewed averages, calibrated on the most skewed law that ‖g‖² of a linear run can have.

On a quadratic with Gaussian noise and given sets, ‖gᵏ‖² and its averages are forms Σ λ_i(z_i + δ_i)² with λ_i ≥ 0 and standard
normal z_i. Their skewness is at most √8, with equality for a single χ²_1 (docs/theory/statistics.md). So the studentized mean
T = √n (x̄ − μ)/s of n draws of χ²_1 is the reference: its lower tail is where an average looks much smaller, and much
surer, than it is. ``CRITICAL`` holds c with P(T < −c) = p, found by importance sampling (:func:`critical_values`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["CRITICAL", "LEVELS", "REFERENCE_SKEWNESS", "TRIALS", "critical_value", "critical_values", "enough"]

Array = NDArray[np.float64]

REFERENCE_SKEWNESS = 8**0.5
"""Of χ²_1."""

TRIALS = (3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
LEVELS = (0.3, 0.1, 0.03, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9)

CRITICAL = (
    (1.999, 8.204, 24.35, 56.64, 288.5, 1361, 6458, 3.154e4, 1.525e5, 7.732e5, 3.9e6),
    (1.579, 5.651, 13.99, 27.83, 99.37, 325.1, 1061, 3394, 1.06e4, 3.363e4, 1.141e5),
    (1.229, 3.916, 8.245, 14.16, 36.8, 86.06, 188.1, 416.7, 908.5, 1936, 4266),
    (1.055, 3.21, 6.321, 10.15, 22.59, 45.19, 84.72, 155.4, 282, 507.4, 906.3),
    (0.9009, 2.592, 4.761, 7.146, 13.85, 23.62, 38.14, 59.48, 90.99, 136.8, 204),
    (0.8328, 2.307, 4.08, 5.898, 10.65, 16.99, 25.44, 36.57, 51.65, 71.45, 98.68),
    (0.7531, 2.032, 3.434, 4.797, 8.009, 11.89, 16.51, 22.17, 28.94, 37.4, 47.46),
    (0.7073, 1.874, 3.121, 4.258, 6.841, 9.758, 13.15, 17.06, 21.52, 26.73, 32.61),
    (0.6679, 1.725, 2.794, 3.728, 5.754, 7.9, 10.22, 12.78, 15.48, 18.55, 21.97),
    (0.6406, 1.651, 2.624, 3.465, 5.205, 7.003, 8.887, 10.86, 12.97, 15.23, 17.67),
    (0.6222, 1.561, 2.436, 3.18, 4.659, 6.119, 7.562, 9.087, 10.63, 12.22, 13.86),
    (0.6, 1.514, 2.341, 3.032, 4.374, 5.66, 6.905, 8.196, 9.485, 10.82, 12.15),
    (0.5845, 1.471, 2.234, 2.864, 4.06, 5.176, 6.255, 7.297, 8.351, 9.402, 10.46),
    (0.579, 1.434, 2.184, 2.775, 3.897, 4.922, 5.896, 6.84, 7.767, 8.671, 9.595),
    (0.5678, 1.402, 2.12, 2.678, 3.721, 4.647, 5.512, 6.332, 7.139, 7.924, 8.688),
    (0.563, 1.386, 2.076, 2.628, 3.615, 4.494, 5.3, 6.065, 6.804, 7.511, 8.214),
)
"""c for every number of trials (rows) and level p (columns); ``python -m frugal_theory.evidence.few_trials`` prints it.

The last entry of the first row is extrapolated along its slope: three draws hardly ever come out that close."""

TILTS = (1.0, 0.8, 0.65, 0.5, 0.35, 0.2, 0.1, 0.05, 0.02, 0.01, 0.003, 0.001)
"""Scales θ at which draws are made: the tail of T comes from samples that are small altogether."""


def enough(trials: int, confidence: float) -> bool:
    """Whether Hall's correction with the estimated skewness covers χ²_1 at this confidence: n ≥ 1.5 ln²(1 − confidence).

    Measured: there it misses at most 1.1 times as often as it should, from 99 % to 1 − 10⁻⁶ (docs/theory/statistics.md).
    """
    return trials >= 1.5 * np.log(1 - confidence) ** 2


@lru_cache
def critical_value(trials: int, level: float) -> float:
    """c with P(T < −c) = ``level`` for ``trials`` draws of χ²_1, between the entries of ``CRITICAL`` log-log-linearly.

    Beyond the table the nearest row, and the last slope in the level, go on: both err to the safe side.
    """
    table = np.log(np.array(CRITICAL))
    rows = np.array([_along(np.log(LEVELS)[::-1], row[::-1], np.log(min(level, LEVELS[0]))) for row in table])
    return float(np.exp(np.interp(np.log(trials), np.log(TRIALS), rows)))


def critical_values(trials: int, levels: Sequence[float], draws: int, rng: np.random.Generator) -> list[float]:
    """The row of ``CRITICAL`` for ``trials``, by importance sampling with ``draws`` samples at each scale θ.

    x = θ χ²_1 has likelihood ratio θ^{n/2} exp(−½ Σ x (1 − 1/θ)) to χ²_1. For each level the θ with the smallest
    relative error is used; nan where none sees 20 samples in the tail.
    """
    tails = []
    for tilt in TILTS:
        x = tilt * rng.standard_normal((draws, trials)) ** 2
        weight = np.exp(trials / 2 * np.log(tilt) - x.sum(axis=1) * (1 - 1 / tilt) / 2)
        t = np.sqrt(trials) * (x.mean(axis=1) - 1) / x.std(axis=1, ddof=1)
        order = np.argsort(t)
        probability = np.cumsum(weight[order]) / draws
        error = np.sqrt(np.cumsum(weight[order] ** 2)) / draws
        tails.append((t[order], probability, error / probability))
    row = []
    for level in levels:
        found = [(relative[i], -t[i]) for t, p, relative in tails if 20 <= (i := int(np.searchsorted(p, level))) < draws]
        row.append(float(min(found)[1]) if found else float("nan"))
    return row


def _along(at: Array, values: Array, point: float) -> float:
    """Linear interpolation; below the first point its slope goes on."""
    if point < at[0]:
        return float(values[0] + (values[1] - values[0]) / (at[1] - at[0]) * (point - at[0]))
    return float(np.interp(point, at, values))


if __name__ == "__main__":
    for n in TRIALS:
        row = critical_values(n, LEVELS, 100_000, np.random.default_rng(0))
        print("    (" + ", ".join(f"{c:.4g}" for c in row) + "),", flush=True)
