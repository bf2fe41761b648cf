"""How often the intervals of evidence miss, over how often they may. The table of docs/theory.md, section 5.

``python -m benchmarks.bench_intervals``, some minutes on one core. χ²_1 is sampled where the misses are (importance sampling,
as in :func:`frugal_theory.evidence.few_trials.critical_values`), so that misses of one in 10⁶ can be counted; the other
laws are drawn as they are, and show where the limits lie.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.stats import skew

from frugal_theory.evidence.intervals import mean_interval

Array = NDArray[np.float64]
Law = Callable[[np.random.Generator, tuple[int, int]], Array]

CONFIDENCES = (0.99, 0.999, 0.9999, 0.99999, 0.999999)
TRIALS = (4, 8, 16, 32, 64, 128, 256, 512)
TILTS = (1.0, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.5, 0.35, 0.2, 0.1, 0.05, 0.02, 0.01)
DRAWS = 2**24
"""Numbers drawn for a line of the table, by law and by tilt."""

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


def main() -> None:
    """Print a line for every law and number of trials."""
    print(f"{'law':30s}{'trials':>8s}" + "".join(f"{c:>12g}" for c in CONFIDENCES))
    rng = np.random.default_rng(0)
    for trials in TRIALS:
        rows = max(1000, DRAWS // trials // 4)
        ratios = []
        tilted = []
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
        _line("χ²_1, √8", trials, ratios)
    for law, (draw, mean) in LAWS.items():
        for trials in TRIALS:
            samples = draw(rng, (DRAWS // trials, trials))
            _line(law, trials, [float(missed(samples, mean, c).mean()) / (1 - c) for c in CONFIDENCES[:4]])


def _line(law: str, trials: int, ratios: list[float]) -> None:
    print(f"{law:30s}{trials:8d}" + "".join(f"{r:12.2f}" for r in ratios), flush=True)


if __name__ == "__main__":
    main()
