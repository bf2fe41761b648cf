"""Worst-case evidence: the largest average of ‖gᵏ‖² over *all* L-smooth functions, by semidefinite programming.

Performance estimation (Drori and Teboulle 2014; Taylor, Hendrickx and Glineur 2017): for a known sequence of momentum
sets and no noise, the worst f is found by a semidefinite program in the Gram matrices of the gradients and the values
of f (theory, section 7). Solvers can be wrong without saying so, so two of another kind each solve every program, in
a process of its own, and a value counts only where both call it optimal and agree.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from frugal_theory.algorithm.run_lengths import RunLengths
from frugal_theory.algorithm.subspaces import Mask, Shapes, choose_parts
from frugal_theory.config import Algorithm, Experiment
from frugal_theory.config.load import ExperimentError, takes_a_file
from frugal_theory.evidence.evidence import Evidence
from frugal_theory.evidence.exact.expectations import METRICS
from frugal_theory.evidence.exact.linear import Reading, momentum
from frugal_theory.evidence.worst_case.sdp import SOLVERS
from frugal_theory.instance import Instance, instance_of

__all__ = [
    "AGREEMENT",
    "MOST_BLOCKS",
    "MOST_STEPS",
    "Answer",
    "WorstValue",
    "horizons",
    "worst_averages",
    "worst_case",
    "worst_values",
]

Array = NDArray[np.float64]

AGREEMENT = 1e-3
"""Largest relative difference of the solvers' values."""

MOST_STEPS, MOST_BLOCKS = 20, 4

TIMEOUT = 300.0
"""Seconds that one solver may take for one program."""

HORIZONS = (1, 2, 5, 10, 15, 20)
"""Horizons that are solved when there are more than eight: every one is a program of its own."""


@dataclass(frozen=True)
class Answer:
    """What one solver said."""

    solver: str
    value: float
    status: str

    def __str__(self) -> str:
        return f"{self.solver} gives {self.value:.6g} ({self.status})"


@dataclass(frozen=True)
class WorstValue:
    """The worst case of one horizon for L = Δ = 1, and the answers that it rests on."""

    answers: tuple[Answer, ...]

    @cached_property
    def status(self) -> Literal["solved", "unsolved"]:
        """ "solved" if every solver's status is "optimal" and their values agree."""
        values = [answer.value for answer in self.answers]
        optimal = all(answer.status == "optimal" for answer in self.answers)
        agree = optimal and max(values) - min(values) <= AGREEMENT * max(values)
        return "solved" if agree else "unsolved"

    @property
    def value(self) -> float:
        """The first solver's value; nan if unsolved."""
        return self.answers[0].value if self.status == "solved" else float("nan")

    @property
    def range(self) -> tuple[float, float]:
        """The least and the largest of the solvers' values; nan if unsolved."""
        values = [answer.value if self.status == "solved" else float("nan") for answer in self.answers]
        return min(values), max(values)


@takes_a_file
def worst_case(
    experiment: Experiment,
    *,
    metric: str = METRICS[0],
    learning_rate: float | None = None,
    jobs: int | None = None,
) -> Evidence:
    """The worst (1/k) Σ_{i≤k} ‖gⁱ‖² over all f with the experiment's L and f(x¹) − f* at most the experiment's.

    ``metric`` "weighted_squared_gradient_norm" is the worst ‖gⁱ‖²_W, with the weights of the run-length theorem.

    Evidence for the ``horizons(steps)`` only, all k up to eight steps; ``lower`` and ``upper`` are the least and the
    largest of the solvers' values. A horizon where they do not agree is nan, with a note that says what each found.
    Sets that are drawn at random are those of trial 0, the run that training does: a note says so. ``learning_rate``
    (α) defaults to the experiment's, ``jobs`` (programs solved at once) to the number of cores.

    Raises ExperimentError for more than 20 steps, more than four blocks of coordinates with histories of their own,
    noise, weight decay, anything but SGDM in the set and SGD off it, the weighted norm under sets drawn at random, and
    where the solvers are not installed. Raises ValueError for an unknown metric.
    """
    if metric not in METRICS:
        raise ValueError(f"unknown metric {metric!r}; known are {', '.join(METRICS)}")
    name, algorithm = experiment.name, experiment.algorithm
    steps = experiment.simulation.steps
    if experiment.noise.kind != "none":
        raise ExperimentError(
            f'{name}: noise.kind = "{experiment.noise.kind}": the worst case is without noise; "none" is allowed'
        )
    if steps > MOST_STEPS:
        raise ExperimentError(f"{name}: simulation.steps = {steps}: the worst case is solved for at most {MOST_STEPS} steps")
    if algorithm.weight_decay:
        raise ExperimentError(
            f"{name}: algorithm.weight_decay = {algorithm.weight_decay:g}: the worst case is solved for 0 only"
        )
    return worst_averages(instance_of(experiment, learning_rate=learning_rate), metric, jobs=jobs)


def worst_averages(instance: Instance, metric: str = METRICS[0], *, jobs: int | None = None) -> Evidence:
    """As :func:`worst_case`, of an instance, whatever its noise: sets, α, L and Δ are all that is read."""
    setting, name = instance.setting, instance.experiment.name
    algorithm, runs, steps = setting.algorithm, setting.runs, setting.steps
    try:
        rule = momentum(algorithm, runs)
    except ValueError as error:
        raise ExperimentError(f"{name}: no worst case: {error}") from None
    assert runs is not None  # momentum() has refused that
    if metric == METRICS[1] and runs.law == "redrawn":
        raise ExperimentError(f"{name}: no worst case of the weighted norm: its weights are averages over sets drawn at random")
    members, weights = _blocks(name, algorithm, setting.shapes, runs, steps, metric)

    solved = horizons(steps)
    parts = [members[:, :k] for k in solved]
    alpha, weighted = setting.alpha * setting.smoothness, [weights[:, :k] for k in solved]
    found = worst_values(parts, alpha, *rule, weights=weighted, jobs=jobs)
    scale = setting.smoothness * setting.gap
    ranges = scale * np.array([worst.range for worst in found])
    mean = scale * np.array([worst.value for worst in found])
    notes = ["the worst over all L-smooth functions; exact where every block has as many dimensions as there are steps"]
    if runs.law == "redrawn":
        notes.append("along the momentum sets that trial 0 draws")
    for k, worst in zip(solved, found, strict=True):
        if worst.status == "unsolved":
            notes.append(f"k = {k}: unsolved, for L = Δ = 1: " + ", ".join(str(answer) for answer in worst.answers))
    index = np.array(solved)
    ends = ranges[:, 0], ranges[:, 1]
    return Evidence("worst_case", index, mean, *ends, metric, instance.confidence, notes=tuple(notes))


def horizons(steps: int) -> list[int]:
    """The horizons that are solved for an experiment of ``steps`` steps: all up to eight, then a selection."""
    return list(range(1, steps + 1)) if steps <= 8 else sorted({*(k for k in HORIZONS if k <= steps), steps})


def worst_values(
    members: Sequence[NDArray[np.bool_]],
    learning_rate: float,
    beta: float,
    lr_scale: float = 1.0,
    off_set_momentum: Reading = "reset",
    *,
    weights: Sequence[Array] | None = None,
    jobs: int | None = None,
    timeout: float = TIMEOUT,
) -> list[WorstValue]:
    """The worst average of ‖gᵏ‖² for L = Δ = 1, one for each entry of ``members``.

    An entry has shape (blocks, N): which blocks of coordinates are in the momentum set of each of N steps; its
    ``weights`` have the same shape and multiply the blocks' ‖g_bᵏ‖², all ones if there are none. With constants L and Δ
    the worst case is LΔ times that of ``learning_rate`` αL. Raises ExperimentError where the solvers are not installed.
    """
    _require_solvers()
    shared = {"learning_rate": learning_rate, "beta": beta, "lr_scale": lr_scale, "off_set_momentum": off_set_momentum}
    programs = [_distinct(m, w) for m, w in zip(members, weights or [np.ones(m.shape) for m in members], strict=True)]
    tasks = [
        {"members": m.tolist(), "weights": w.tolist(), "solver": s, "updates": shared} for m, w in programs for s in SOLVERS
    ]
    with ThreadPoolExecutor(jobs or os.cpu_count() or 1) as pool:
        try:
            answers = list(pool.map(lambda task: _ask(task, timeout), tasks))
        except BaseException:  # Ctrl-C: what has not begun does not begin
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    size = len(SOLVERS)
    return [WorstValue(tuple(answers[first : first + size])) for first in range(0, len(answers), size)]


def _distinct(members: NDArray[np.bool_], weights: Array) -> tuple[NDArray[np.bool_], Array]:
    """Blocks with one history and the same weights are one block. The set of the last step moves nothing that is measured."""
    until = np.array(members, dtype=bool)
    until[:, -1] = False
    _, first = np.unique(np.hstack([until, weights]), axis=0, return_index=True)
    return until[first], np.asarray(weights)[first]


def _blocks(
    name: str, algorithm: Algorithm, shapes: Shapes, runs: RunLengths, steps: int, metric: str
) -> tuple[NDArray[np.bool_], Array]:
    """Which blocks are in the momentum set of each step, and the weights of their gradients; shape (blocks, steps) each.

    Coordinates with one history and the same weights are a block.
    """
    if runs.law == "turning":
        raise ExperimentError(
            f'{name}: no worst case: algorithm.subspace = "{algorithm.subspace}" turns every period; '
            "a subspace made of coordinates is allowed"
        )
    off = 1.0 if metric == METRICS[0] else runs.off_set_weight
    if algorithm.subspace == "eigen" and runs.law == "fixed" and not (runs.full or runs.empty):
        # any fixed subspace and its complement are two blocks
        return np.array([[True] * steps, [False] * steps]), np.array([[1.0] * steps, [off] * steps])
    gap = algorithm.update_gap
    periods = []
    for period in range(-(-steps // gap)):
        parts = choose_parts(algorithm, shapes, period, {})
        inside = [np.broadcast_to(part.inside, shapes[name]).ravel() for name, part in parts.items() if isinstance(part, Mask)]
        periods.append(np.concatenate(inside))
    members = np.repeat(np.array(periods).T, gap, axis=1)[:, :steps]
    kept = np.ones(members.shape)
    if metric == METRICS[1]:
        leaks = [runs.leak(k) for k in range(steps)]
        flat = [
            np.concatenate([np.broadcast_to(leak[name], shape).ravel() for name, shape in shapes.items()]) for leak in leaks
        ]
        kept = 1 - np.array(flat).T
    weights = np.where(members, kept, off)
    _, first = np.unique(np.hstack([members, weights]), axis=0, return_index=True)
    if len(first) > MOST_BLOCKS:
        raise ExperimentError(
            f"{name}: no worst case: the coordinates have {len(first)} different histories in {steps} steps; "
            f"sets made of at most {MOST_BLOCKS} blocks of coordinates are allowed"
        )
    return members[first], weights[first]


def _require_solvers() -> None:
    missing = [package for package in ("cvxpy", "clarabel", "scs") if importlib.util.find_spec(package) is None]
    if missing:
        raise ExperimentError(f'the worst case needs {", ".join(missing)}: pip install "frugal-lab[worst-case]"')


def _ask(task: dict[str, Any], timeout: float) -> Answer:
    """One solver's answer to one program, from a process of its own."""
    source = str(Path(__file__).parents[3])
    path = os.pathsep.join(filter(None, (source, os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    solver = str(task["solver"])
    try:
        child = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "frugal_theory.evidence.worst_case.sdp"],
            input=json.dumps(task),
            capture_output=True,
            text=True,
            timeout=timeout,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Answer(solver, float("nan"), f"no answer in {timeout:g} s")
    try:
        answer = json.loads(child.stdout.splitlines()[-1])
        return Answer(solver, float(answer["value"]), str(answer["status"]))
    except (IndexError, ValueError):
        return Answer(solver, float("nan"), f"the process ended with status {child.returncode}")
