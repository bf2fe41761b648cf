"""Backends: accelerators of rules, faster ways to the same formula. Which one runs a rule is decided here and nowhere else."""

from __future__ import annotations

import warnings
from functools import cache

from frugal_gpu.optim.backends.backend import Backend, InPlace, Job, Law, WholeStep
from frugal_gpu.optim.backends.fused import FUSED
from frugal_gpu.optim.backends.multi_tensor import MULTI_TENSOR
from frugal_theory.algorithm.rules import Rule
from frugal_theory.config.registry import Registry

__all__ = [
    "BACKENDS",
    "CHOICES",
    "FUSED",
    "MULTI_TENSOR",
    "Backend",
    "InPlace",
    "Job",
    "Law",
    "accelerated",
    "add_backend",
    "checked_backend",
    "whole_steps",
]

BACKENDS: Registry[Backend] = Registry(
    "backend", "frugal_gpu.optim.backends:BACKENDS", {"foreach": "frugal_gpu.optim.backends.foreach:FOREACH"}
)
"""What can run a rule instead of its formula; those that were added are asked first, the latest before the others."""

WHOLE: dict[str, WholeStep] = {"fused": FUSED, "triton": MULTI_TENSOR}
"""What can take the step of a parameter as a whole; each takes the jobs it knows, and leaves the rest to lists of tensors."""

CHOICES = ("auto", "formula", "foreach", *WHOLE)
"""What ``backend`` may be: the fastest that is there, the readable formula, lists of tensors, or the one named where it can."""


def accelerated(rule: Rule, choice: str = "auto") -> InPlace | None:
    """The accelerator of a rule; None if no backend has one or the formula is asked for, and the formula is run."""
    if choice == "formula":
        return None
    for name in reversed(list(BACKENDS)):
        if (found := BACKENDS[name].accelerator(rule)) is not None:
            return found
    return None


WORTH_COMPILING = 2**18
"""Numbers in an optimizer's parameters below which "auto" compiles nothing: that takes longer than a thousand such steps."""


def whole_steps(choice: str, numbers: int) -> list[WholeStep]:
    """What is asked to take the steps of an optimizer of so many numbers as a whole. It warns, once, if numba is missing."""
    if choice == "auto":
        if numbers < WORTH_COMPILING:
            return []
        able = [whole for whole in WHOLE.values() if whole.missing() is None]
        if FUSED not in able:
            _say_slow(FUSED.missing())
        return able
    return [WHOLE[choice]] if choice in WHOLE else []


def checked_backend(choice: object) -> str:
    """The choice, or ValueError in one line if it is none or cannot run here."""
    if not isinstance(choice, str) or choice not in CHOICES:
        allowed = ", ".join(f'"{name}"' for name in CHOICES)
        raise ValueError(f"Frugal: backend = {choice!r}: allowed: {allowed}")
    if choice in WHOLE and (missing := WHOLE[choice].missing()) is not None:
        raise ValueError(f'Frugal: backend = "{choice}" needs {missing}; "auto" takes the fastest that is there')
    return choice


@cache
def _say_slow(missing: str | None) -> None:
    warnings.warn(f"Frugal: steps on a CPU take longer without {missing}", stacklevel=4)


def add_backend(name: str, backend: Backend) -> Backend:
    """Add a backend. Raises ValueError if the name is taken."""
    return BACKENDS.add(name, backend)
