"""What it costs to walk along the run, and to test the premises there, against the simulation of the same cell.

``python -m benchmarks premises_path``; processor time, the least of a few rounds, for a problem and a noise of one's own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pandas as pd

from frugal_theory.config.load import parse
from frugal_theory.evidence.monte_carlo.simulation import simulation
from frugal_theory.instance import Instance, instance_of
from frugal_theory.premises.check import LEVEL, PREMISES
from frugal_theory.premises.grounds import Grounds
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
dimension = 100
[noise]
kind = "gaussian"
[simulation]
steps = 2000
trials = 64
"""

CELLS: dict[str, dict[str, Any]] = {
    "d = 100, 2000 steps, 64 trials": {},
    "SGD": {"algorithm.density": 0.0},
    "T = 1": {"algorithm.update_gap": 1},
    "200 steps, 32 trials": {"simulation.steps": 200, "simulation.trials": 32},
    "2000 steps, 512 trials": {"simulation.trials": 512},
    "d = 1000": {"problem.dimension": 1000},
    "random basis, d = 50": {"algorithm.subspace": "random", "problem.dimension": 50},
    "logistic, mini-batches of 8": {"problem": {"kind": "logistic"}, "noise": {"kind": "minibatch", "batch_size": 8}},
}

ROUNDS = 3


class PremisesPath:
    """A row a cell: seconds of the ``walk``, of the ``tests`` along it and of the ``simulation``, and their ``ratio``."""

    name = "premises_path"
    question = "Do the premises along the run cost at most a fifth of the simulation?"
    by_cell = False

    def measure(self, _: None, run: Run) -> pd.DataFrame:  # noqa: ARG002
        """One cell after the other, in this process."""
        rows = []
        for name, changes in CELLS.items():
            made = own(instance_of(parse(EXPERIMENT, overrides=changes)))
            ready = replace(simulation(made), compiled=False)
            walked = least(lambda made=made: Grounds(made, LEVEL, PREMISES).path)
            tests = least(_along, lambda made=made: prepared(made))
            simulated = least(lambda ready=ready: [ready.run(batch) for batch in ready.batches])
            rows.append({"what": name, "walk": walked, "tests": tests, "simulation": simulated})
        table = pd.DataFrame(rows)
        return table.assign(ratio=(table["walk"] + table["tests"]) / table["simulation"])

    def draw(self, _: pd.DataFrame) -> dict[str, Any]:
        """The table says it."""
        return {}

    def answer(self, table: pd.DataFrame) -> Answer:
        """Yes if every long cell, of a second or so, keeps below a fifth."""
        long = table[table["simulation"] > 0.3]
        most = long.loc[long["ratio"].idxmax()]
        sentence = f"At most {100 * most['ratio']:.0f} % of the simulation's time ({most['what']})."
        return Answer(sentence, "yes" if most["ratio"] <= 0.2 else "no")


def own(made: Instance) -> Instance:
    """The instance with a problem and a noise of classes of their own: what ships is walked for a few steps only."""
    problem, noise = made.problem, made.noise
    problem.__class__ = type("Own", (type(problem),), {})
    noise.__class__ = type("Own", (type(noise),), {})
    return made


def prepared(made: Instance) -> Grounds:
    """Grounds whose search, draws and path are there, and P1 to P4 at fixed points tested."""
    grounds = Grounds(made, LEVEL, PREMISES)
    for name in ("P1", "P2", "P3", "P4"):
        test = PREMISES[name]
        grounds.known[name] = test.test(test, grounds)
    assert grounds.path is not None
    return grounds


def _along(grounds: Grounds) -> None:
    for name in ("P1", "P2", "P3", "P4"):
        test = PREMISES[name]
        assert test.along is not None
        test.along(test, grounds, grounds.known[name])


def least(work: Callable[..., object], before: Callable[[], object] | None = None) -> float:
    """The least processor time of a few rounds; ``before`` makes what the work is given, outside of it."""
    found = []
    for _ in range(ROUNDS):
        given = () if before is None else (before(),)
        began = time.process_time()
        work(*given)
        found.append(time.process_time() - began)
    return min(found)


STUDY = PremisesPath()
