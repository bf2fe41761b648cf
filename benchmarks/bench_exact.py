"""Exact expectations: a million coordinates, and a thousand cells of a sweep, against plain NumPy passes."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from frugal_theory.evidence.exact.diagonal import redrawn
from frugal_theory.evidence.exact.linear import updates
from frugal_theory.studies.figures import bars
from frugal_theory.studies.study import Answer, Run

Array = NDArray[np.float64]

MILLION, STEPS, ROUNDS = 10**6, 1000, 3
PASSES = 20

FEW = 5.0
"""Passes over the moments that a step may take."""

DIMENSION, SWEEP_STEPS = 1000, 10_000
BETAS = (0.0, 0.5, 0.8, 0.9, 0.99)
PROBABILITIES = (0.0, 0.1, 0.25, 0.5, 1.0)
LEARNING_RATES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
EXPONENTS = (0.0, 0.5, 1.0, 1.5, 2.0)


class Exact:
    """A row a piece of work: its ``seconds``, those of one pass a step over its arrays, ``passes``, and their ``ratio``."""

    name = "exact"
    question = "Does a step of exact expectations take at most a few passes over its arrays?"
    by_cell = False

    def measure(self, _: None, run: Run) -> pd.DataFrame:
        """A million coordinates by T, in interleaved rounds, then a sweep."""
        start = np.random.default_rng(0).standard_normal(MILLION)
        gaps = (1, 10, 200, 1000)
        times: dict[int, list[float]] = {gap: [] for gap in gaps}
        passes: dict[int, list[float]] = {gap: [] for gap in gaps}
        moments = np.ones((3, MILLION))  # E x², E xm, E m²
        run.say(f"{MILLION:,} coordinates × {STEPS:,} steps, {ROUNDS} interleaved rounds")
        for done in range(ROUNDS):
            for gap in gaps:
                passes[gap].append(_seconds(lambda: _pass(moments)) / PASSES)
                times[gap].append(_seconds(lambda gap=gap: _million(start, gap)))
            run.progress(done + 1, ROUNDS)
        rows = [_row(f"set redrawn every {gap} steps", times[gap], [STEPS * p for p in passes[gap]]) for gap in gaps]

        cells = list(itertools.product(BETAS, PROBABILITIES, LEARNING_RATES, EXPONENTS))
        sweep = f"a sweep of {len(cells):,} cells (β × p × α × spectrum)"
        run.say(f"{sweep}, {DIMENSION:,} coordinates × {SWEEP_STEPS:,} steps each")
        small = np.ones((3, DIMENSION))
        one_pass = statistics.median(_seconds(lambda: _pass(small)) / PASSES for _ in range(50))
        seconds = _seconds(lambda: [_cell(start[:DIMENSION], *cell) for cell in cells])
        return pd.DataFrame([*rows, _row(sweep, [seconds], [len(cells) * SWEEP_STEPS * one_pass])])

    def draw(self, table: pd.DataFrame) -> dict[str, Any]:
        """A bar a piece of work."""
        return {"exact": bars("Exact expectations: time of a step", "over one pass over the moments", table, ["ratio"])}

    def answer(self, table: pd.DataFrame) -> Answer:
        """Yes if none takes more than FEW."""
        most = float(table["ratio"].max())
        return Answer(f"A step takes at most {most:.2f} passes over its arrays.", "yes" if most <= FEW else "no")


def _million(start: Array, gap: int) -> None:
    eigenvalues = 1 / np.arange(1, MILLION + 1)
    redrawn(eigenvalues, 0.01, start, 0.25, updates(0.3, 0.9), steps=STEPS, update_gap=gap)


def _cell(start: Array, beta: float, probability: float, learning_rate: float, exponent: float) -> None:
    eigenvalues = np.arange(1, DIMENSION + 1) ** -exponent
    redrawn(eigenvalues, 0.01, start, probability, updates(learning_rate, beta), steps=SWEEP_STEPS)


def _pass(moments: Array) -> None:
    for _ in range(PASSES):
        np.multiply(moments, 0.999, out=moments)


def _row(name: str, times: list[float], passes: list[float]) -> dict[str, Any]:
    ratio = statistics.median(a / b for a, b in zip(times, passes, strict=True))
    return {"work": name, "seconds": statistics.median(times), "passes": statistics.median(passes), "ratio": ratio}


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


STUDY = Exact()
