"""FRUGAL in theory: simulate the algorithm family and judge, honestly, whether convergence bounds hold."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from frugal_theory.algorithm import State, init, step
from frugal_theory.config import Algorithm, Experiment
from frugal_theory.ladder import Ladder, ladder
from frugal_theory.loading import Cell, ExperimentError, cells, dump, load, parse
from frugal_theory.verdict import Premise, Verdict
from frugal_theory.verify import bound, resolved, setting_of, simulate, verify

if TYPE_CHECKING:
    from frugal_theory.evidence.evidence import Evidence
    from frugal_theory.evidence.exact import exact
    from frugal_theory.evidence.worst_case import worst_case
    from frugal_theory.extending import add_noise, add_problem, add_rule, add_subspace, add_theorem, extended
    from frugal_theory.problems import build_noise, build_problem
    from frugal_theory.theorems import THEOREMS, Setting

__all__ = [
    "THEOREMS",
    "Algorithm",
    "Cell",
    "Evidence",
    "Experiment",
    "ExperimentError",
    "Ladder",
    "Premise",
    "Setting",
    "State",
    "Verdict",
    "add_noise",
    "add_problem",
    "add_rule",
    "add_subspace",
    "add_theorem",
    "bound",
    "build_noise",
    "build_problem",
    "cells",
    "dump",
    "exact",
    "extended",
    "init",
    "ladder",
    "load",
    "parse",
    "resolved",
    "setting_of",
    "simulate",
    "step",
    "verify",
    "worst_case",
]

_LATER = {
    "Evidence": "evidence.evidence",
    "Setting": "theorems",
    "THEOREMS": "theorems",
    "add_noise": "extending",
    "add_problem": "extending",
    "add_rule": "extending",
    "add_subspace": "extending",
    "add_theorem": "extending",
    "build_noise": "problems",
    "build_problem": "problems",
    "exact": "evidence.exact",
    "extended": "extending",
    "worst_case": "evidence.worst_case",
}


def __getattr__(name: str) -> Any:
    """Names that need SciPy or scikit-learn are imported when first used, so that ``import frugal_theory`` is quick."""
    if name not in _LATER:
        raise AttributeError(f"module 'frugal_theory' has no attribute {name!r}")
    value = getattr(import_module(f"frugal_theory.{_LATER[name]}"), name)
    globals()[name] = value
    return value
