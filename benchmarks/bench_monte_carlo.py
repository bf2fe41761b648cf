"""Monte Carlo: time per coordinate update against drawing the same noise, interleaved in one run.

The default path (SGDM on a set of coordinates, SGD off it, a separable quadratic) on one core and on two, beside NumPy's
reference of it; then the other paths, each against what it costs to draw its own noise.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from frugal_theory.evidence.monte_carlo import Simulation, run, simulation
from frugal_theory.loading import parse
from frugal_theory.verify import setting_of

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
"""The default path, and those like it: 5 · 10⁷ coordinate updates a round."""

MATRIX = {"problem": {"kind": "matrix", "rows": 60, "columns": 50}}
LOGISTIC = {"problem": {"kind": "logistic", "dataset": "breast-cancer"}, "noise": {"kind": "minibatch", "batch_size": 8}}
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
    "logistic, mini-batches of 8": LOGISTIC,
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

    print("other paths, one core: a coordinate update over drawing that coordinate's noise")
    for name, overrides in OTHERS.items():
        ready = _other(overrides)
        rounds = _interleaved({"draw": lambda s=ready: _noise(s), "run": lambda s=ready: _evidence(s, 1)}, 3)
        ratio = statistics.median(a / b for a, b in zip(rounds["run"], rounds["draw"], strict=True))
        times = {key: 1e9 * statistics.median(value) / ready.updates for key, value in rounds.items()}
        kind = "compiled" if ready.compiled else "NumPy"
        print(f"  {name:34} {kind:9} {times['run']:8.1f} ns   its noise {times['draw']:7.1f} ns   ratio {ratio:6.2f}")


def _other(overrides: dict[str, Any]) -> Simulation:
    """As many updates as the default path if it is compiled, else a fifth."""
    whole = _simulation(overrides, TRIALS, STEPS)
    return whole if whole.compiled else _simulation(overrides, 64, max(50, STEPS // 2))


def _simulation(overrides: dict[str, Any], trials: int, steps: int) -> Simulation:
    setting = setting_of(parse(EXPERIMENT, "bench", overrides))
    return simulation(
        setting.problem, setting.noise, setting.algorithm, learning_rate=setting.alpha, steps=steps, trials=trials
    )


def _evidence(ready: Simulation, jobs: int) -> object:
    return next(run([ready], jobs=jobs))


def _normals(bits: Any, ready: Simulation) -> None:
    rng, out = np.random.Generator(bits), np.empty((32, 1000))
    for _ in range(ready.steps * ready.trials // len(out)):
        rng.standard_normal(out=out)


def _noise(ready: Simulation) -> None:
    """What Noise.sample costs, for all trials of a batch at once, at the start."""
    problem, rng = ready.problem, np.random.Generator(np.random.SFC64(0))
    start = problem.start(rng)
    for batch in ready.batches:
        x = {name: np.repeat(value[None], len(batch), axis=0) for name, value in start.items()}
        gradient = problem.gradient(x)
        for _ in range(ready.steps):
            ready.noise.sample(rng, problem, x, gradient)


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
