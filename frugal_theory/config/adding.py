"""Adding what an experiment file may name: rules, subspaces, problems and noises.

What is added is then read from experiment files, validated, simulated and judged like what was there before; CONTRIBUTING.md
has an example of each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from frugal_theory.config.parts import Part
from frugal_theory.config.registry import NOISES, PROBLEMS, RULES, SUBSPACES, Kind, Registry, table_name

__all__ = ["add_noise", "add_problem", "add_rule", "add_subspace"]


def add_rule(table: type[Part], make: Callable[[Any], Any] | None = None) -> None:
    """Add a rule: the table that describes it, and what makes the rule of such a table; without that, the table is the rule.

    ``table`` derives from :class:`frugal_theory.config.Part`, or from one of :mod:`frugal_theory.algorithm.rules`, and has a
    field ``rule: Literal["name"] = "name"``. It may stand on both sides, or on those that its ``sides`` name ("state_full",
    "state_free"). Raises ValueError for a table without that field, or if the name is taken.
    """
    _add(RULES, table, "rule", make if make is not None else _itself)


def add_subspace(name: str, subspace: Any) -> None:
    """Add a subspace (a kind of :mod:`frugal_theory.algorithm.subspaces`) for both engines. ValueError if the name is taken."""
    SUBSPACES.add(name, subspace)


def add_problem(table: type[Part], make: Callable[..., Any]) -> None:
    """Add a kind of ``[problem]``: its table, and ``make(table, blocks, rng)``, which makes the problem.

    ``table`` derives from :class:`frugal_theory.config.Vector` (f of one vector x, to be cut into ``blocks`` parameters)
    or from :class:`frugal_theory.config.Part`, and has a field ``kind: Literal["name"] = "name"``. ``rng`` is where
    random parts of the problem come from. Raises ValueError for another table, or if the name is taken.
    """
    _add(PROBLEMS, table, "kind", make)


def add_noise(table: type[Part], make: Callable[[Any], Any]) -> None:
    """Add a kind of ``[noise]``: its table, with a field ``kind: Literal["name"] = "name"``, and what makes the noise of it.

    Raises ValueError for a table without that field, or if the name is taken.
    """
    _add(NOISES, table, "kind", make)


def _add(registry: Registry[Kind[Any]], table: type[Part], tag: str, make: Callable[..., Any]) -> None:
    registry.add(table_name(table, tag, registry), Kind(table, make))


def _itself(table: Any) -> Any:
    return table
