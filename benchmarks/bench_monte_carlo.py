"""Monte Carlo: time per coordinate update against drawing the same noise, interleaved in one run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np

from frugal_theory.evidence.monte_carlo import monte_carlo
from frugal_theory.loading import parse
from frugal_theory.verify import setting_of

EXPERIMENT = """
name = "bench"
[algorithm]
learning_rate = 0.005
density = {density}
update_gap = {gap}
subspace = "{subspace}"
state_full = "sgdm"
state_free = "sgd"
[problem]
kind = "{kind}"
{size}
[noise]
kind = "{noise}"
"""

VECTOR = {"kind": "quadratic", "size": "dimension = 1000", "noise": "gaussian"}
CASES = {
    "sgd/sgdm on coordinates, T = 10": VECTOR | {"subspace": "coordinates", "density": 0.5, "gap": 10},
    "sgd/sgdm on coordinates, T = 1": VECTOR | {"subspace": "coordinates", "density": 0.5, "gap": 1},
    "sgd alone": VECTOR | {"subspace": "coordinates", "density": 0.0, "gap": 10},
    "blocks": VECTOR | {"subspace": "blocks", "density": 0.5, "gap": 10},
    "random basis, 60 × 50 matrix": VECTOR
    | {"subspace": "random", "density": 0.5, "gap": 10, "kind": "matrix", "size": "rows = 60\ncolumns = 50"},
    "logistic, mini-batches of 8": {
        "kind": "logistic",
        "size": "",
        "noise": "minibatch",
        "subspace": "coordinates",
        "density": 0.5,
        "gap": 10,
    },
}
STEPS, TRIALS, ROUNDS = 100, 64, 5


def main() -> None:
    """Print nanoseconds per coordinate update and the ratio to drawing one normal number."""
    print(f"{TRIALS} trials × {STEPS} steps, one process, medians of {ROUNDS} interleaved rounds")
    work = {name: _run(**case) for name, case in CASES.items()}
    times: dict[str, list[float]] = {name: [] for name in work}
    draws: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(ROUNDS):
        for name, (run, dimension) in work.items():
            draws[name].append(_seconds(lambda d=dimension: _draw(d)) / (STEPS * TRIALS * dimension))
            times[name].append(_seconds(run) / (STEPS * TRIALS * dimension))
    for name in work:
        run_time, draw_time = statistics.median(times[name]), statistics.median(draws[name])
        ratio = statistics.median(a / b for a, b in zip(times[name], draws[name], strict=True))
        print(f"  {name:34} {1e9 * run_time:8.1f} ns   drawing a normal {1e9 * draw_time:6.1f} ns   ratio {ratio:6.2f}")


def _run(**case: object) -> tuple[Callable[[], object], int]:
    setting = setting_of(parse(EXPERIMENT.format(**case)))
    dimension = sum(int(np.prod(shape)) for shape in setting.problem.shapes.values())

    def run() -> object:
        keys = {"learning_rate": setting.alpha, "steps": STEPS, "trials": TRIALS}
        return monte_carlo(setting.problem, setting.noise, setting.algorithm, **keys)

    return run, dimension


def _draw(dimension: int) -> None:
    rng = np.random.Generator(np.random.SFC64(0))
    out = np.empty((TRIALS, dimension))
    for _ in range(STEPS):
        rng.standard_normal(out=out)


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
