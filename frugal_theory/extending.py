"""Adding to the algorithm family from outside: rules, subspaces, problems, noises and theorems, at run time.

What is added is then read from experiment files, validated, simulated and judged like what was there before.
CONTRIBUTING.md has an example of each.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin

import numpy as np
from pydantic import BaseModel

from frugal_theory.algorithm.rules import RULES, StateFullRule
from frugal_theory.algorithm.subspaces import UNITS, Drawn, Scheduled
from frugal_theory.config import Algorithm, Experiment, Part, quoted, subspaces
from frugal_theory.problems import NOISES, PROBLEMS
from frugal_theory.problems.problem import Noise, Problem
from frugal_theory.theorems import THEOREMS, Theorem

__all__ = ["add_noise", "add_problem", "add_rule", "add_subspace", "add_theorem", "carry", "extended", "remember"]


def add_rule(table: type[Part], rule: Callable[[Any], StateFullRule]) -> None:
    """Add a state-full rule: the table that describes it, and what makes the rule of such a table.

    ``table`` derives from :class:`frugal_theory.config.Part` and has a field ``rule: Literal["name"] = "name"``. Raises
    ValueError if it has not, or if the name is taken. ``frugal_gpu.optim.backends.foreach.add_rule`` adds the PyTorch twin.
    """
    name = _name(table, "rule")
    _add(add_rule, RULES, name, rule, "state-full rule", (table, rule))
    _widen(Algorithm, "state_full", lambda annotation: _with_table(annotation, table))


def add_subspace(name: str, units: Drawn | Scheduled) -> None:
    """Add a subspace of coordinates, both for NumPy and for PyTorch. Raises ValueError if the name is taken."""
    if name in subspaces():
        raise ValueError(f'a subspace named "{name}" exists already; taken are {quoted(subspaces())}')
    _add(add_subspace, UNITS, name, units, "subspace", (name, units))
    _widen(Algorithm, "subspace", lambda annotation: Literal[(*get_args(annotation), name)])


def add_problem(table: type[Part], problem: Callable[[Any, int, np.random.Generator], Problem]) -> None:
    """Add a kind of ``[problem]``: its table, and ``problem(table, blocks, rng)``, which makes the problem.

    ``table`` derives from :class:`frugal_theory.config.Vector` (f of one vector x, to be cut into ``blocks`` parameters)
    or from :class:`frugal_theory.config.Part`, and has a field ``kind: Literal["name"] = "name"``. ``rng`` is where
    random parts of the problem come from. Raises ValueError for another table, or if the name is taken.
    """
    name = _name(table, "kind")
    _add(add_problem, PROBLEMS, name, problem, "problem", (table, problem))
    _widen(Experiment, "problem", lambda annotation: _with_table(annotation, table))


def add_noise(table: type[Part], noise: Callable[[Any], Noise]) -> None:
    """Add a kind of ``[noise]``: its table, with a field ``kind: Literal["name"] = "name"``, and what makes the noise of it.

    Raises ValueError for a table without that field, or if the name is taken.
    """
    name = _name(table, "kind")
    _add(add_noise, NOISES, name, noise, "noise", (table, noise))
    _widen(Experiment, "noise", lambda annotation: _with_table(annotation, table))


def add_theorem(theorem: Theorem) -> Theorem:
    """Add a theorem under its own name. Raises ValueError if that name is taken."""
    _add(add_theorem, THEOREMS, theorem.name, theorem, "theorem", (theorem,))
    return theorem


@contextmanager
def extended() -> Iterator[None]:
    """What is added inside is gone at the end."""
    before = len(_ADDED)
    try:
        yield
    finally:
        while len(_ADDED) > before:
            for undo in reversed(_ADDED.pop().undo):
                undo()


def carry(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, to be called in another process: what was added here is added there first."""
    additions = [addition.again for addition in _ADDED if addition.again is not None]
    return _Carried(function, additions) if additions else function


def remember(undo: Callable[[], object]) -> None:
    """Note how to undo something that goes with an addition, such as its PyTorch twin, for :func:`extended`."""
    _ADDED.append(_Addition([undo]))


# --- how it works: registries are plain dicts, and the pydantic fields that name their keys are widened ------------

Call = tuple[Callable[..., Any], str, tuple[Any, ...]]
"""A function, the name that it adds, and its arguments."""


@dataclass(frozen=True)
class _Addition:
    """How to undo one addition here, the last thing first, and how to repeat it elsewhere."""

    undo: list[Callable[[], object]]
    again: Call | None = None


_ADDED: list[_Addition] = []


@dataclass(frozen=True)
class _Carried:
    """A picklable function with the additions that it may need."""

    function: Callable[..., Any]
    additions: list[Call]

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        here = {addition.again[:2] for addition in _ADDED if addition.again is not None}
        for add, name, given in self.additions:
            if (add, name) not in here:
                add(*given)
        return self.function(*arguments, **keywords)


def _add(
    add: Callable[..., Any], registry: dict[str, Any], name: str, value: Any, noun: str, arguments: tuple[Any, ...]
) -> None:
    if name in registry:
        raise ValueError(f'a {noun} named "{name}" exists already; taken are {quoted(registry)}')
    registry[name] = value
    _ADDED.append(_Addition([lambda: registry.pop(name)], (add, name, arguments)))


def _name(table: type[Part], tag: str) -> str:
    """The name that a table gives itself. Raises ValueError unless it is a table of its own that can be told by it."""
    field = table.model_fields.get(tag)
    if field is None or not isinstance(field.default, str) or get_args(field.annotation) != (field.default,):
        raise ValueError(f'{table.__name__} needs the field {tag}: Literal["name"] = "name"')
    known = _tables(Algorithm.model_fields["state_full"].annotation)
    known += _tables(Experiment.model_fields["problem"].annotation) + _tables(Experiment.model_fields["noise"].annotation)
    parents = [parent.__name__ for parent in known if issubclass(table, parent) and parent is not table]
    if parents:
        raise ValueError(
            f"{table.__name__} derives from {parents[0]}, so theorems would take it for one; derive it from Part or Vector"
        )
    return field.default


def _tables(annotation: Any) -> list[type[Part]]:
    """The tables of a union, however it is annotated."""
    if isinstance(annotation, type):
        return [annotation] if issubclass(annotation, Part) else []
    return [table for part in get_args(annotation) for table in _tables(part)]


def _with_table(annotation: Any, table: type[Part]) -> Any:
    """The union of tables inside the annotation with one more member."""
    members = get_args(annotation)
    if get_origin(annotation) is Annotated:
        return Annotated[(_with_table(members[0], table), *members[1:])]
    if any(isinstance(member, type) and issubclass(member, Part) for member in members):
        return annotation | table
    return functools.reduce(operator.or_, [_with_table(m, table) if get_args(m) else m for m in members])


def _widen(model: type[BaseModel], name: str, change: Callable[[Any], Any]) -> None:
    """Change a field's annotation, and see that the models that contain it know; the last addition can undo it."""
    field = model.model_fields[name]
    before = field.annotation

    def put(annotation: Any) -> None:
        field.annotation = annotation
        Algorithm.model_rebuild(force=True)
        Experiment.model_rebuild(force=True)

    put(change(before))
    _ADDED[-1].undo.append(lambda: put(before))
