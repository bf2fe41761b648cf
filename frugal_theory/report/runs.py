"""Training runs beside each other: which are one setting under several seeds, and what tells the settings apart."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from frugal_theory.config import Experiment
from frugal_theory.results.read import Results, to_number
from frugal_theory.results.training import TrainingRun

__all__ = ["CONFIDENCE", "Interval", "Run", "SameSetting", "interval", "names", "settings", "training_runs"]

CONFIDENCE = 0.95
"""Of the interval for the mean over seeds."""

READ = ("algorithm", "adapter", "model", "data", "training")
"""The tables of an experiment that training reads."""

ALIKE = ("algorithm.seed", "training.threads", "training.checkpoint_every", "training.keep_checkpoints", "training.keep_best")
"""Keys that make no other setting, beside the seed and the name."""

TOLD_APART = 4
"""Keys in the name of a setting, at most."""


@dataclass(frozen=True)
class Run:
    """One training run as the page calls it; ``name`` is unique on the page."""

    name: str
    run: TrainingRun
    experiment: Experiment | None

    @property
    def state(self) -> str:
        """finished, diverged, or unfinished."""
        return "finished" if self.run.summary is not None else "diverged" if self.run.diverged is not None else "unfinished"

    def of_summary(self, key: str) -> float:
        """A number of the summary; nan if it is not there."""
        return to_number((self.run.summary or {}).get(key))

    @property
    def best(self) -> float:
        """The least validation loss of all evaluations; nan if there is none. What diverged has no best."""
        losses = self.run.validation["validation_loss"] if len(self.run.validation) else []
        return math.nan if self.state == "diverged" or not len(losses) else float(min(losses))

    @property
    def last(self) -> float:
        """The validation loss of the last evaluation; nan likewise."""
        losses = self.run.validation
        return math.nan if self.state == "diverged" or losses.empty else float(losses["validation_loss"].iloc[-1])


@dataclass(frozen=True)
class SameSetting:
    """The runs of one setting, which differ by their seeds only; ``name`` says what tells it from the others."""

    name: str
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class Interval:
    """A mean of ``count`` values and its interval, Student's t at :data:`CONFIDENCE`; of one value there is none (nan)."""

    mean: float
    lower: float
    upper: float
    count: int


def interval(values: Sequence[float]) -> Interval:
    """The mean of the values and its interval; what is not finite is no value.

    >>> found = interval([1.0, 2.0, 3.0])
    >>> found.mean, round(found.lower, 2), round(found.upper, 2), found.count
    (2.0, -0.48, 4.48, 3)
    """
    import numpy as np
    from scipy import stats

    found = np.array([value for value in values if math.isfinite(value)], dtype=float)
    if not len(found):
        return Interval(math.nan, math.nan, math.nan, 0)
    mean = float(found.mean())
    if len(found) == 1:
        return Interval(mean, math.nan, math.nan, 1)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(found) - 1) * found.std(ddof=1) / math.sqrt(len(found)))
    return Interval(mean, mean - half, mean + half, len(found))


def names(found: Sequence[Results], folders: Sequence[str]) -> list[str]:
    """What the page calls each run: its experiment's name, or its folder's where others have that, with a number if need be."""
    own = [results.name for results in found]
    return _apart([name if own.count(name) == 1 else folder for name, folder in zip(own, folders, strict=True)])


def training_runs(found: Sequence[Results], called: Sequence[str]) -> list[Run]:
    """Every training run of the folders, those of a sweep one by one, each under a name of its own."""
    runs = []
    for results, name in zip(found, called, strict=True):
        if results.training.is_there:
            runs.append((name, results.training, results.training.experiment or results.experiment))
        for cell in results.training_cells:
            runs.append((cell.name if len(found) == 1 else f"{name}: {cell.name}", cell, cell.experiment))
    apart = _apart([name for name, _, _ in runs])
    return [Run(name, run, experiment) for name, (_, run, experiment) in zip(apart, runs, strict=True)]


def _apart(given: Sequence[str]) -> list[str]:
    """The names, with a number behind those that are there already."""
    unique: list[str] = []
    for name in given:
        count = 2
        while (free := name if name not in unique else f"{name} ({count})") in unique:
            count += 1
        unique.append(free)
    return unique


def settings(runs: Sequence[Run]) -> list[SameSetting]:
    """The runs joined where only the seed differs. A run whose experiment is not known is a setting of its own, and so is one
    whose seed is there already: the same draw once more says nothing of the spread over seeds."""
    keys = [_flat(run.experiment) for run in runs]
    joined: dict[object, list[Run]] = {}
    drawn: Counter[object] = Counter()
    for run, key in zip(runs, keys, strict=True):
        own = tuple(sorted((k, repr(v)) for k, v in key.items())) if key else run.name
        again = drawn[own, _seeds(run)]
        drawn[own, _seeds(run)] += 1
        joined.setdefault((own, again), []).append(run)
    groups = list(joined.values())
    told = _telling([_flat(group[0].experiment) for group in groups])
    names = [text or _joined(group) for text, group in zip(told, groups, strict=True)]
    unique = [
        name if names.count(name) == 1 else f"{name} ({group[0].name})" for name, group in zip(names, groups, strict=True)
    ]
    return [SameSetting(name, tuple(group)) for name, group in zip(unique, groups, strict=True)]


def _seeds(run: Run) -> tuple[int, int | None] | None:
    return None if run.experiment is None else (run.experiment.seed, run.experiment.algorithm.seed)


def _joined(group: Sequence[Run]) -> str:
    more = len(group) - 1
    return group[0].name + (f" and {more} more seed{'s' if more > 1 else ''}" if more else "")


def _telling(tables: Sequence[Mapping[str, Any]]) -> list[str]:
    """For each setting the keys that are not the same in all, with its values; empty where that is too long to read."""
    keys = list(dict.fromkeys(key for table in tables for key in table))
    differ = [key for key in keys if len({repr(table.get(key)) for table in tables if table}) > 1]
    if not 0 < len(differ) <= TOLD_APART:
        return ["" for _ in tables]
    last = [key.split(".")[-1] for key in differ]
    short = [end if last.count(end) == 1 else key for key, end in zip(differ, last, strict=True)]
    return [
        ", ".join(
            f"{name.replace('_', ' ')} = {table[key]}"
            for name, key in zip(short, differ, strict=True)
            if table.get(key) is not None
        )
        for table in tables
    ]


def _flat(experiment: Experiment | None) -> dict[str, Any]:
    """What training reads of the experiment, as dotted keys."""
    if experiment is None:
        return {}
    found: dict[str, Any] = {}

    def add(prefix: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                add(f"{prefix}.{key}", inner)
        elif prefix not in ALIKE:
            found[prefix] = value

    for name, table in experiment.model_dump(mode="json", include=set(READ)).items():
        add(name, table)
    return found
