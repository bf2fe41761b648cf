"""FRUGAL in theory: simulate the algorithm family and judge, honestly, whether convergence bounds hold."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from frugal_theory.algorithm.periods import optimizer
    from frugal_theory.algorithm.step import State, init, step
    from frugal_theory.config import Algorithm, Experiment, Part
    from frugal_theory.config.adding import add_noise, add_problem, add_rule, add_subspace
    from frugal_theory.config.load import Cell, ExperimentError, cells, dump, load, parse
    from frugal_theory.config.registry import extended
    from frugal_theory.evidence.evidence import Evidence
    from frugal_theory.evidence.exact.expectations import exact, noise_floor
    from frugal_theory.evidence.monte_carlo.simulation import simulate
    from frugal_theory.evidence.worst_case.programs import worst_case
    from frugal_theory.instance import Instance, instance_of, resolved, setting_of
    from frugal_theory.premises.check import add_premise
    from frugal_theory.premises.premise import Premise
    from frugal_theory.problems import build_noise, build_problem
    from frugal_theory.report.drawing import use_style
    from frugal_theory.report.showing import plot, table
    from frugal_theory.studies.ladder.ladder import Ladder, ladder
    from frugal_theory.theorems import THEOREMS, Setting, add_theorem
    from frugal_theory.verdicts.certify import certify
    from frugal_theory.verdicts.verdict import Verdict
    from frugal_theory.verdicts.verify import bound, verify

_HOMES = {
    "algorithm.periods": ("optimizer",),
    "algorithm.step": ("State", "init", "step"),
    "config": ("Algorithm", "Experiment", "Part"),
    "config.adding": ("add_noise", "add_problem", "add_rule", "add_subspace"),
    "config.load": ("Cell", "ExperimentError", "cells", "dump", "load", "parse"),
    "config.registry": ("extended",),
    "evidence.evidence": ("Evidence",),
    "evidence.exact.expectations": ("exact", "noise_floor"),
    "evidence.monte_carlo.simulation": ("simulate",),
    "evidence.worst_case.programs": ("worst_case",),
    "instance": ("Instance", "instance_of", "resolved", "setting_of"),
    "premises.check": ("add_premise",),
    "premises.premise": ("Premise",),
    "problems": ("build_noise", "build_problem"),
    "report.drawing": ("use_style",),
    "report.showing": ("plot", "table"),
    "studies.ladder.ladder": ("Ladder", "ladder"),
    "theorems": ("THEOREMS", "Setting", "add_theorem"),
    "verdicts.certify": ("certify",),
    "verdicts.verdict": ("Verdict",),
    "verdicts.verify": ("bound", "verify"),
}
"""Where each public name lives; it is imported when it is first used, so that ``import frugal_theory`` is quick."""

_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "THEOREMS",
    "Algorithm",
    "Cell",
    "Evidence",
    "Experiment",
    "ExperimentError",
    "Instance",
    "Ladder",
    "Part",
    "Premise",
    "Setting",
    "State",
    "Verdict",
    "__version__",
    "add_noise",
    "add_premise",
    "add_problem",
    "add_rule",
    "add_subspace",
    "add_theorem",
    "bound",
    "build_noise",
    "build_problem",
    "cells",
    "certify",
    "dump",
    "exact",
    "extended",
    "init",
    "instance_of",
    "ladder",
    "load",
    "noise_floor",
    "optimizer",
    "parse",
    "plot",
    "resolved",
    "setting_of",
    "simulate",
    "step",
    "table",
    "use_style",
    "verify",
    "worst_case",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from frugal_theory.config.version import installed

        return installed()
    if name not in _HOME:
        raise AttributeError(f"module 'frugal_theory' has no attribute {name!r}")
    value = getattr(import_module(f"frugal_theory.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
