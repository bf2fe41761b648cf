"""A theorem with something changed in it, false where the change matters: judges and reports are tried on it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from frugal_theory.theorems import Setting, Theorem
from frugal_theory.theorems.theorem import further_premises, spared_premises

__all__ = ["Changed", "scaled"]

Array = NDArray[np.float64]


class Changed:
    """A theorem whose bound is another one, and perhaps its metric or its name; all the rest is the original's.

    ``what`` says what was changed and is its title. Every constant of ``bound`` counts as known (``explicit``), unless that
    is said otherwise.
    """

    def __init__(
        self,
        theorem: Theorem,
        what: str,
        bound: Callable[[Setting], Array],
        metric: str | None = None,
        *,
        name: str | None = None,
        explicit: bool = True,
    ) -> None:
        self.name, self.title, self.source = name or theorem.name, what, "the self-test"
        self.statement = f"{theorem.statement}   [{what}]"
        self.explicit, self.metric = explicit, metric or theorem.metric
        self.covers, self.largest_step, self.bound = theorem.covers, theorem.largest_step, bound
        self.needs = lambda setting: further_premises(theorem, setting)
        self.spares = spared_premises(theorem)
        if metric is None and hasattr(theorem, "measure"):
            self.measure = theorem.measure


def scaled(
    theorem: Theorem, factor: float, what: str | None = None, *, name: str | None = None, explicit: bool = True
) -> Changed:
    """The theorem with its bound times a factor: false where the factor is less than the share of the bound that is reached.

    >>> import frugal_theory as ft
    >>> sgd = {"density": 0.0, "state_full": "sgdm", "state_free": "sgd", "learning_rate": 0.5}
    >>> tables = {"algorithm": sgd, "problem": {"kind": "quadratic", "dimension": 1}, "noise": {"kind": "none"}}
    >>> experiment = ft.parse({"name": "one", **tables})
    >>> [ft.verify(experiment, theorems=[scaled(ft.THEOREMS["sgd"], factor)])[0].status for factor in (1.0, 1e-3)]
    ['holds', 'violated']
    """
    said = f"the bound times {factor:g}" if what is None else what
    return Changed(theorem, said, lambda setting: factor * theorem.bound(setting), name=name, explicit=explicit)
