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
import pandas as pd

from frugal_theory.config.load import parse
from frugal_theory.evidence.monte_carlo.simulation import WORTH_COMPILING, Simulation, run, simulation
from frugal_theory.instance import instance_of
from frugal_theory.studies.figures import bars
from frugal_theory.studies.study import Answer, Run

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

DRAWING, OURS, TWO_CORES = "drawing the noise, SFC64", "ours, one core", "ours, two cores"

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


class MonteCarlo:
    """A row a path: ``nanoseconds`` an update, their ``ratio`` to drawing the noise, ``rest`` the same less the gradient."""

    name = "monte_carlo"
    question = "Does a simulated step take less than drawing its noise with NumPy?"
    by_cell = False

    def measure(self, _: None, run: Run) -> pd.DataFrame:
        """The default path beside drawing its noise, then the others, in medians of interleaved rounds."""
        default = _simulation({}, TRIALS, STEPS)
        work: dict[str, Callable[[], object]] = {
            "drawing the noise, NumPy's default generator": lambda: _normals(np.random.PCG64(0), default),
            DRAWING: lambda: _normals(np.random.SFC64(0), default),
            "NumPy reference, one core": lambda: _evidence(replace(default, compiled=False), 1),
            OURS: lambda: _evidence(default, 1),
            TWO_CORES: lambda: _evidence(default, 2),
        }
        run.say("default path")
        rounds = _interleaved(work)
        found: list[dict[str, Any]] = []
        for name, times in rounds.items():
            ratio = statistics.median(a / b for a, b in zip(times, rounds[DRAWING], strict=True))
            compiled = default.compiled and name in (OURS, TWO_CORES)
            ns = 1e9 * statistics.median(times) / default.updates
            found.append({"path": name, "compiled": compiled, "nanoseconds": ns, "ratio": ratio})
        for done, (name, overrides) in enumerate(OTHERS.items(), start=1):
            run.say(name)
            found.append({"path": name, **_against_its_noise(_other(overrides))})
            run.progress(done, len(OTHERS))
        return pd.DataFrame(found)

    def draw(self, table: pd.DataFrame) -> dict[str, Any]:
        """A bar a path."""
        title = "Monte Carlo: time of a coordinate update"
        return {"monte_carlo": bars(title, "over drawing that coordinate's noise", table, ["ratio"], left=330)}

    def answer(self, table: pd.DataFrame) -> Answer:
        """Yes if the default path does."""
        ratio, others = table.set_index("path")["ratio"], table[table["path"].isin(OTHERS)]["ratio"]
        sentence = (
            f"The default path takes {ratio[OURS]:.2f} of the time of drawing its noise with SFC64 alone on one core, "
            f"{ratio[TWO_CORES]:.2f} on two; the other paths {others.min():.2f} to {others.max():.2f}."
        )
        return Answer(sentence, "yes" if ratio[OURS] < 1 else "no")


def _against_its_noise(ready: Simulation) -> dict[str, Any]:
    """What a path costs beside its noise and its gradient, per coordinate update."""
    work: dict[str, Callable[[], object]] = {
        "noise": lambda: _noise(ready),
        "gradient": lambda: _gradient(ready),
        "ours": lambda: _evidence(ready, 1),
    }
    rounds = _interleaved(work, 3)
    ns = {key: 1e9 * statistics.median(value) / ready.updates for key, value in rounds.items()}
    every = list(zip(rounds["ours"], rounds["gradient"], rounds["noise"], strict=True))
    return {
        "compiled": ready.compiled,
        "nanoseconds": ns["ours"],
        "ratio": statistics.median(ours / noise for ours, _, noise in every),
        "noise": ns["noise"],
        "gradient": ns["gradient"],
        "rest": statistics.median((ours - gradient) / noise for ours, gradient, noise in every),
    }


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


STUDY = MonteCarlo()
