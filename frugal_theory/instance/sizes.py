"""What a cell asks for in memory, against what there is: said before anything is asked for."""

from __future__ import annotations

import math
import os
from typing import Any

from frugal_theory.config import Experiment, Logistic, Matrix, Nonconvex, Quadratic, coordinates
from frugal_theory.config.load import ExperimentError

__all__ = ["available", "check_sizes", "needed"]

NUMBER = 8
"""Bytes of a float64."""

SIDE_BY_SIDE = 32
"""Trials of a batch, at most (:data:`frugal_theory.evidence.monte_carlo.simulation.BATCH`)."""

COPIES = 12
"""Arrays of the size of the metrics of a batch that exist at once, about: two metrics, their averages and what those pass
through."""

HORIZONS = 400
"""Numbers that are kept of a trial, at most: its averages at the horizons that are judged."""

VECTORS = 24
"""Vectors of a problem, its noise, the state of a step and the tests of premises, for every trial of a batch, about."""


def needed(experiment: Experiment) -> dict[str, float]:
    """Bytes that the experiment's problem, steps and trials ask for, each by the key that decides it; rough, from below."""
    problem, simulation = experiment.problem, experiment.simulation
    found = {
        "simulation.steps": float(simulation.steps) * NUMBER * SIDE_BY_SIDE * COPIES / 4,
        "simulation.trials": float(simulation.trials) * NUMBER * (4 + min(HORIZONS, simulation.steps)),
    }
    size = coordinates(problem) if problem is not None else None
    if size is not None:
        rotated = isinstance(problem, Quadratic) and problem.rotated
        found["problem.dimension"] = NUMBER * (float(size) * VECTORS + (3.0 * size**2 if rotated else 0.0))
    if isinstance(problem, Nonconvex):
        found["problem.samples"] = 3.0 * NUMBER * problem.samples * problem.dimension
    if isinstance(problem, Matrix):
        found["problem.rows"] = 4.0 * NUMBER * (problem.rows**2 + problem.columns**2) * (problem.layers or 1)
    if isinstance(problem, Logistic):
        found.pop("problem.dimension", None)
    return found


def check_sizes(experiment: Experiment) -> None:
    """Raise ExperimentError, one line with the key, its value and both sizes, if the experiment asks for more than is there."""
    room = available()
    for key, size in needed(experiment).items():
        if size > room:
            value: Any = experiment
            for part in key.split("."):
                value = getattr(value, part, None)
            raise ExperimentError(
                f"{experiment.name}: {key} = {value}: needs about {_gigabytes(size)} of memory, {_gigabytes(room)} are there; "
                "a smaller one is allowed"
            )


def available() -> float:
    """Bytes that this process may still ask for: of the machine, or of its own limit. inf where neither is known."""
    rooms = [math.inf]
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            rooms += [1024.0 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    except (OSError, ValueError):
        pass
    try:
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        with open("/proc/self/statm", encoding="ascii") as line:
            held = int(line.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        if limit != resource.RLIM_INFINITY:
            rooms.append(float(max(0, limit - held)))
    except (ImportError, OSError, ValueError):
        pass
    return min(rooms)


def _gigabytes(size: float) -> str:
    return f"{size / 2**30:,.1f} GiB"
