"""What a theorem is, and the family of algorithms that most of them speak of."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Protocol

import numpy as np

from frugal_theory.algorithm.rules import Sgdm
from frugal_theory.config.one_line import ExperimentError
from frugal_theory.theorems.setting import Array, Setting

__all__ = [
    "Shown",
    "Theorem",
    "bound_of",
    "excuse_of",
    "further_premises",
    "named_free",
    "off_the_family",
    "published_step",
    "spared_premises",
    "step_of",
]


class Theorem(Protocol):
    """A convergence theorem. Yours needs these six attributes and three methods to be verified.

    In theory every ``setting`` is a :class:`~frugal_theory.theorems.setting.ProblemSetting`. A theorem that reads no more
    than a :class:`~frugal_theory.theorems.setting.Setting` has holds wherever constants are known, measured ones too.
    P1–P6 are tested for every theorem. Two more members may say otherwise: a method ``needs(setting)`` gives the names of
    the further premises (:data:`frugal_theory.premises.PREMISES`) that it needs of this setting, and ``spares``, a tuple,
    those of P1–P6 that it does without. Four more attributes, texts, may be there: ``premises`` says the same in words for
    ``frugal-theory theorems``, ``short_name`` is what tables call it, if not by its title, ``label`` what stands at the
    end of its line in a figure, and ``formula`` the statement in LaTeX, a display a line, for the report.
    """

    name: str
    title: str
    source: str
    statement: str
    explicit: bool
    """Whether every constant of the bound is known. If not, its verdict is at best "shape only"."""
    metric: str
    """The name of the metric it bounds, a key of ``frugal_theory.metrics.METRICS``.

    A metric of the theorem's own, which may depend on the setting, has a name of its own here, and the theorem has a
    fourth method, ``measure(setting) -> Metric``, that returns it.
    """

    def covers(self, setting: Setting) -> str | None:
        """None if the theorem speaks of the setting's algorithm; otherwise why not, as the end of a sentence."""
        ...

    def largest_step(self, setting: Setting) -> tuple[float, bool]:
        """The largest admissible α, and whether that value itself is admitted."""
        ...

    def bound(self, setting: Setting) -> Array:
        """The bound of the running average for K = 1 … steps, shape (steps,)."""
        ...


class Shown:
    """How a theorem shows itself in Python; for yours to derive from, if it is to do so, too."""

    title: str
    name: str
    source: str
    statement: str

    def __repr__(self) -> str:
        return f"<theorem {self.name}: {self.title}>"

    def _repr_html_(self) -> str:
        title, statement, source = (html.escape(text) for text in (self.title, self.statement, self.source))
        return f"<p><b>{title}</b> (<code>{html.escape(self.name)}</code>)<br>{statement}<br><small>{source}</small></p>"


def bound_of(theorem: Theorem, setting: Setting) -> Array:
    """The theorem's bound for K = 1 … steps, one number a horizon. Raises ExperimentError, one line, for anything else."""
    found = theorem.bound(setting)
    try:
        bound = np.asarray(found, dtype=None if np.iscomplexobj(found) else float)
    except (TypeError, ValueError):
        bound = np.asarray(found, dtype=object)
    if bound.shape != (setting.steps,) or bound.dtype != float:
        what = f"an array of shape {bound.shape}" if bound.shape else type(found).__name__
        raise ExperimentError(
            f"{theorem.name}: bound gives {what}; one real number for each K = 1 … {setting.steps} is expected"
        )
    return bound


def excuse_of(theorem: Theorem, setting: Setting) -> str | None:
    """What ``covers`` says: None, or a reason. Raises ExperimentError, one line, for anything else: True, False, ""."""
    reason = theorem.covers(setting)
    if reason is None or (isinstance(reason, str) and reason):
        return reason
    raise ExperimentError(f"{theorem.name}: covers gives {reason!r}; None where it does, or a reason in words, is expected")


def step_of(theorem: Theorem, setting: Setting) -> tuple[float, bool]:
    """The largest admissible α, and whether it is admitted itself. Raises ExperimentError, one line, for anything else."""
    found = theorem.largest_step(setting)
    if isinstance(found, tuple) and len(found) == 2:
        largest, admitted = found
        if isinstance(largest, float | int | np.number) and isinstance(admitted, bool | np.bool_):
            return float(largest), bool(admitted)
    raise ExperimentError(
        f"{theorem.name}: largest_step gives {found!r}; the step, and whether itself is admitted, are expected"
    )


def further_premises(theorem: Theorem, setting: Setting) -> tuple[str, ...]:
    """The names of the premises beside P1–P6 that the theorem needs of a setting that it covers. A single text is one name."""
    needs = getattr(theorem, "needs", None)
    return _names(needs(setting)) if needs is not None else ()


def spared_premises(theorem: Theorem) -> tuple[str, ...]:
    """The names of those of P1–P6 that the theorem does without."""
    return _names(getattr(theorem, "spares", ()))


def _names(given: str | Iterable[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def off_the_family(setting: Setting) -> str | None:
    """Why the algorithm is not Algorithm 2 (SGDM on the momentum set, SGD off it), or None if it is."""
    algorithm = setting.algorithm
    full, free = algorithm.state_full, algorithm.state_free
    runs = setting.runs
    if algorithm.weight_decay:
        return f"weight_decay = {algorithm.weight_decay:g} changes the objective"
    if not isinstance(full, Sgdm) and not (runs is not None and runs.empty):
        return f'the state-full rule is "{full.rule}", not "sgdm"'
    if free.rule not in ("sgd", "none") and not (runs is not None and runs.full):
        return f'the state-free rule is "{free.rule}", not "sgd"'
    if runs is None:
        return None  # premise P6 says so
    if runs.law != "fixed" and algorithm.off_set_momentum != "reset":
        return f'off_set_momentum = "{algorithm.off_set_momentum}" carries momentum across the set; only "reset" is covered'
    if runs.law == "turning" and algorithm.on_update != "reset":
        return f'on_update = "{algorithm.on_update}" carries momentum into a new basis; only "reset" is covered'
    return None


def named_free(setting: Setting) -> str:
    """The state-free rule in words, with its ``lr_scale`` if it has one (a rule of one's own need not)."""
    free = setting.algorithm.state_free
    scale = getattr(free, "lr_scale", None)
    return f'"{free.rule}"' if scale is None else f'"{free.rule}" with lr_scale {scale:g}'


def published_step(smoothness: float, beta: float) -> float:
    """(1−β)/(L(4−β+β²)): the step condition of Liu, Gao & Yin 2020, Theorem 1."""
    return (1 - beta) / (smoothness * (4 - beta + beta**2))
