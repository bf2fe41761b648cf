"""Exact expectations: a million coordinates, and a thousand cells of a sweep, against plain NumPy passes."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from frugal_theory.evidence.exact.diagonal import redrawn
from frugal_theory.evidence.exact.linear import updates

Array = NDArray[np.float64]

MILLION, STEPS, ROUNDS = 10**6, 1000, 3
PASSES = 20

DIMENSION, SWEEP_STEPS = 1000, 10_000
BETAS = (0.0, 0.5, 0.8, 0.9, 0.99)
PROBABILITIES = (0.0, 0.1, 0.25, 0.5, 1.0)
LEARNING_RATES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
EXPONENTS = (0.0, 0.5, 1.0, 1.5, 2.0)


def main() -> None:
    """Print seconds, and the time of one step as a multiple of one pass x ← 0.999·x over the same arrays."""
    rng = np.random.default_rng(0)
    start = rng.standard_normal(MILLION)
    print(f"{MILLION:,} coordinates × {STEPS:,} steps, λ_i = 1/i, p = 0.25; medians of {ROUNDS} interleaved rounds")
    gaps = (1, 10, 200, 1000)
    times: dict[int, list[float]] = {gap: [] for gap in gaps}
    passes: dict[int, list[float]] = {gap: [] for gap in gaps}
    moments = np.ones((3, MILLION))  # E x², E xm, E m²
    for _ in range(ROUNDS):
        for gap in gaps:
            passes[gap].append(_seconds(lambda: _pass(moments)) / PASSES)
            times[gap].append(_seconds(lambda gap=gap: _million(start, gap)))
    for gap in gaps:
        _report(f"set redrawn every {gap} steps", times[gap], [STEPS * p for p in passes[gap]])

    cells = list(itertools.product(BETAS, PROBABILITIES, LEARNING_RATES, EXPONENTS))
    print(f"a sweep of {len(cells):,} cells (β × p × α × spectrum), {DIMENSION:,} coordinates × {SWEEP_STEPS:,} steps each")
    small = np.ones((3, DIMENSION))
    one_pass = statistics.median(_seconds(lambda: _pass(small)) / PASSES for _ in range(50))
    seconds = _seconds(lambda: [_cell(start[:DIMENSION], *cell) for cell in cells])
    _report("the whole sweep, every step of it", [seconds], [len(cells) * SWEEP_STEPS * one_pass])


def _million(start: Array, gap: int) -> None:
    eigenvalues = 1 / np.arange(1, MILLION + 1)
    redrawn(eigenvalues, 0.01, start, 0.25, updates(0.3, 0.9), steps=STEPS, update_gap=gap)


def _cell(start: Array, beta: float, probability: float, learning_rate: float, exponent: float) -> None:
    eigenvalues = np.arange(1, DIMENSION + 1) ** -exponent
    redrawn(eigenvalues, 0.01, start, probability, updates(learning_rate, beta), steps=SWEEP_STEPS)


def _pass(moments: Array) -> None:
    for _ in range(PASSES):
        np.multiply(moments, 0.999, out=moments)


def _report(name: str, times: list[float], passes: list[float]) -> None:
    ratio = statistics.median(a / b for a, b in zip(times, passes, strict=True))
    print(
        f"  {name:34} {statistics.median(times):7.2f} s   one pass a step over the moments "
        f"{statistics.median(passes):7.2f} s   ratio {ratio:6.2f}",
        flush=True,
    )


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
