"""Monte Carlo: time per coordinate update against drawing the same noise, interleaved in one run.

The default path (SGDM on a set of coordinates, SGD off it, a separable quadratic) on one core and on two, beside NumPy's
reference of it; then the other paths, each against what it costs to draw its own noise. Where a gradient is made of matrix
products it alone may cost more than that, so it stands in a column of its own.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from frugal_theory.config.load import parse
from frugal_theory.evidence.monte_carlo.simulation import WORTH_COMPILING, Simulation, run, simulation
from frugal_theory.instance import instance_of

EXPERIMENT = """
name = "bench"
[algorithm]
learning_rate = 0.005
density = 0.5
update_gap = 10
subspace = "coordinates"
state_full = "sgdm"
state_free = "sgd"
[problem]
kind = "quadratic"
dimension = 1000
[noise]
kind = "gaussian"
"""

TRIALS, STEPS, ROUNDS = 256, 200, 5
"""The default path: 5 · 10⁷ coordinate updates a round."""

OTHER_TRIALS = 64
"""The other paths: as many steps as make just enough updates to be compiled, or a quarter of that without a compiler."""

MATRIX = {"problem": {"kind": "matrix", "rows": 60, "columns": 50}}
LOGISTIC = {"problem": {"kind": "logistic", "dataset": "breast-cancer"}}
OTHERS: dict[str, dict[str, Any]] = {
    "T = 1": {"algorithm.update_gap": 1},
    "blocks": {"algorithm.subspace": "blocks", "problem.blocks": 10},
    "signSGD off the set": {"algorithm.state_free": "signsgd"},
    "AdamW on the set": {"algorithm.state_full": "adamw", "algorithm.state_free": "signsgd"},
    "Lion on the set": {"algorithm.state_full": "lion", "algorithm.state_free": "signsgd"},
    "Student-t noise": {"noise": {"kind": "student-t", "degrees_of_freedom": 5.0}},
    "rotated quadratic, d = 100": {"problem": {"kind": "quadratic", "dimension": 100, "rotated": True}},
    "columns of a 60 × 50 matrix": {**MATRIX, "algorithm.subspace": "columns"},
    "random basis of a 60 × 50 matrix": {**MATRIX, "algorithm.subspace": "random"},
    "svd basis of a 60 × 50 matrix": {**MATRIX, "algorithm.subspace": "svd", "algorithm.update_gap": 50},
    "nonconvex, d = 100, 200 samples": {"problem": {"kind": "nonconvex", "dimension": 100, "samples": 200}},
    "logistic, Gaussian noise": LOGISTIC,
    "logistic, mini-batches of 8": {**LOGISTIC, "noise": {"kind": "minibatch", "batch_size": 8}},
}


def main() -> None:
    """Print nanoseconds per coordinate update and ratios, medians of interleaved rounds."""
    default = _simulation({}, TRIALS, STEPS)
    count = default.updates
    how = "compiled" if default.compiled else 'without numba (extra "fast")'
    print(f"default path, {how}: d = 1000, {TRIALS} trials × {STEPS} steps, medians of {ROUNDS} interleaved rounds")
    work: dict[str, Callable[[], object]] = {
        "drawing the noise, NumPy's default generator": lambda: _normals(np.random.PCG64(0), default),
        "drawing the noise, SFC64": lambda: _normals(np.random.SFC64(0), default),
        "NumPy reference, one core": lambda: _evidence(replace(default, compiled=False), 1),
        "ours, one core": lambda: _evidence(default, 1),
        "ours, two cores": lambda: _evidence(default, 2),
    }
    rounds = _interleaved(work)
    for name, times in rounds.items():
        ratio = statistics.median(a / b for a, b in zip(times, rounds["drawing the noise, SFC64"], strict=True))
        print(f"  {name:46} {1e9 * statistics.median(times) / count:6.1f} ns   ratio to drawing with SFC64 {ratio:5.2f}")
    pairs = zip(rounds["ours, one core"], rounds["ours, two cores"], strict=True)
    print(f"  two cores are {statistics.median(one / two for one, two in pairs):.2f} times as fast as one")

    print("other paths, one core: ns a coordinate update, and its ratio to drawing that coordinate's noise")
    print(f"  {'':34} {'':9} {'ours':>7} {'noise':>7} {'gradient':>9} {'ratio':>7} {'less the gradient':>19}")
    for name, overrides in OTHERS.items():
        ready = _other(overrides)
        work = {
            "noise": lambda s=ready: _noise(s),
            "gradient": lambda s=ready: _gradient(s),
            "ours": lambda s=ready: _evidence(s, 1),
        }
        rounds = _interleaved(work, 3)
        ns = {key: 1e9 * statistics.median(value) / ready.updates for key, value in rounds.items()}
        every = list(zip(rounds["ours"], rounds["gradient"], rounds["noise"], strict=True))
        ratio = statistics.median(ours / noise for ours, _, noise in every)
        rest = statistics.median((ours - gradient) / noise for ours, gradient, noise in every)
        kind = "compiled" if ready.compiled else "NumPy"
        print(
            f"  {name:34} {kind:9} {ns['ours']:7.1f} {ns['noise']:7.1f} {ns['gradient']:9.1f} {ratio:7.2f} {rest:19.2f}",
            flush=True,
        )


def _other(overrides: dict[str, Any]) -> Simulation:
    """As few updates as are compiled, if they are, else a quarter."""
    size = _simulation(overrides, OTHER_TRIALS, 1).updates
    whole = _simulation(overrides, OTHER_TRIALS, math.ceil(WORTH_COMPILING / size))
    return whole if whole.compiled else _simulation(overrides, OTHER_TRIALS, max(50, whole.steps // 4))


def _simulation(overrides: dict[str, Any], trials: int, steps: int) -> Simulation:
    size = {"simulation.steps": steps, "simulation.trials": trials}
    return simulation(instance_of(parse(EXPERIMENT, "bench", {**overrides, **size})))


def _evidence(ready: Simulation, jobs: int) -> object:
    return next(run([ready], jobs=jobs))


def _normals(bits: Any, ready: Simulation) -> None:
    rng, out = np.random.Generator(bits), np.empty((32, 1000))
    for _ in range(ready.steps * ready.trials // len(out)):
        rng.standard_normal(out=out)


def _noise(ready: Simulation) -> None:
    """What Noise.sample costs, for all trials of a batch at once, at the start."""
    rng = np.random.Generator(np.random.SFC64(0))
    for x in _batches(ready):
        gradient = ready.instance.problem.gradient(x)
        for _ in range(ready.steps):
            ready.instance.noise.sample(rng, ready.instance.problem, x, gradient)


def _gradient(ready: Simulation) -> None:
    """What Problem.gradient costs, in the same way; on a separable problem the compiled path does without it."""
    for x in _batches(ready):
        for _ in range(ready.steps):
            ready.instance.problem.gradient(x)


def _batches(ready: Simulation) -> Iterator[dict[str, Any]]:
    """x¹ of every batch."""
    for batch in ready.batches:
        yield {name: np.repeat(value[None], len(batch), axis=0) for name, value in ready.instance.start.items()}


def _interleaved(work: dict[str, Callable[[], object]], rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Seconds of every piece of work, round by round; the first round, which compiles, is not counted."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for number in range(rounds + 1):
        for name, piece in work.items():
            began = time.perf_counter()
            piece()
            if number:
                times[name].append(time.perf_counter() - began)
    return times


if __name__ == "__main__":
    main()
