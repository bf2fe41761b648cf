"""Cells: the points of an experiment's sweep, its cases times the grid."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from frugal_theory.config.experiment import Case, Experiment
from frugal_theory.config.one_line import validate
from frugal_theory.config.tables import merge, plain, set_key

__all__ = ["Cell", "cells", "label"]


@dataclass(frozen=True)
class Cell:
    """One point of a sweep: its settings (case name and dotted keys) and the experiment they give."""

    settings: dict[str, Any]
    experiment: Experiment

    @property
    def label(self) -> str:
        """The settings in words; empty for an experiment without a sweep."""
        return label(self.settings)


def label(settings: Mapping[str, Any]) -> str:
    """A cell's settings in words.

    >>> label({"case": "quadratic", "algorithm.density": 0.5})
    'quadratic, density = 0.5'
    """
    return ", ".join(str(v) if k == "case" else f"{k.split('.')[-1]} = {v}" for k, v in settings.items())


def cells(experiment: Experiment, source: str = "experiment") -> list[Cell]:
    """Every cell of the experiment: its cases times the grid of its sweep; one cell if it has neither.

    Raises :class:`ExperimentError` where a combination is impossible.
    """
    base = experiment.model_dump(exclude={"sweep", "cases"}, exclude_unset=True)
    keys = list(experiment.sweep)
    result = []
    cases: list[Case | None] = [*experiment.cases] or [None]
    for case in cases:
        for values in itertools.product(*experiment.sweep.values()):
            table: dict[str, Any] = plain(base)  # a tree of its own
            settings: dict[str, Any] = {}
            where = source
            if case is not None:
                settings["case"] = case.name
                where = f"{source}: case {case.name!r}"
                for part, value in (case.model_extra or {}).items():
                    merge(table, part, plain(value))
            for key, value in zip(keys, values, strict=True):
                set_key(table, key, plain(value), f"{where}: [sweep]")
                settings[key] = value
            grid = ", ".join(f"{key} = {value}" for key, value in zip(keys, values, strict=True))
            cell = validate(table, f"{where}: [sweep] {grid}" if keys else where)
            result.append(Cell(settings, cell))
    return result
