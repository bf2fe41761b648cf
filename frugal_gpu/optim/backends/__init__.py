"""Backends: accelerators of rules, faster ways to the same formula. Which one runs a rule is decided here and nowhere else."""

from __future__ import annotations

from frugal_gpu.optim.backends.backend import Backend, InPlace
from frugal_theory.algorithm.rules import Rule
from frugal_theory.config.registry import Registry

__all__ = ["BACKENDS", "Backend", "InPlace", "accelerated", "add_backend"]

BACKENDS: Registry[Backend] = Registry(
    "backend", "frugal_gpu.optim.backends:BACKENDS", {"foreach": "frugal_gpu.optim.backends.foreach:FOREACH"}
)
"""What can run a rule instead of its formula; those that were added are asked first, the latest before the others."""


def accelerated(rule: Rule) -> InPlace | None:
    """The accelerator of a rule; None if no backend has one, and its formula is run."""
    for name in reversed(list(BACKENDS)):
        if (found := BACKENDS[name].accelerator(rule)) is not None:
            return found
    return None


def add_backend(name: str, backend: Backend) -> Backend:
    """Add a backend. Raises ValueError if the name is taken."""
    return BACKENDS.add(name, backend)
