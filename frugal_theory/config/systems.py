"""Systems: named settings of the algorithm's keys, and how a key that is given beside the name overrides one of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from frugal_theory.config.parts import quoted

__all__ = ["System", "with_defaults"]

ALWAYS = ("system", "learning_rate", "seed", "groups", "unmatched")
"""Keys that every system accepts."""

RULES = ("state_full", "state_free")
"""Keys whose value is the table of a rule."""


@dataclass(frozen=True)
class System:
    """A setting of the keys of ``[algorithm]`` under a name.

    ``defaults``: the keys that it sets, as the experiment file spells them. ``accepts``: the keys that may be given beside its
    name, "state_full.betas" being one entry of that rule's table, "state_full" the rule as a whole; ``None`` accepts them all.
    ``equation``: the update in one line. ``source``: where it is from.
    """

    name: str
    title: str
    equation: str
    source: str
    defaults: Mapping[str, Any] = field(default_factory=dict)
    accepts: tuple[str, ...] | None = None

    @property
    def allowed(self) -> tuple[str, ...]:
        """The keys that may be given beside the name; empty if that is every key."""
        return () if self.accepts is None else (*ALWAYS[1:], *self.accepts)


def with_defaults(system: System, given: Mapping[str, Any]) -> dict[str, Any]:
    """The table of an algorithm: what is given, and the system's defaults below it.

    A key that the system does not accept may be given with the value that it has anyway, as a resolved experiment file does.
    Raises ValueError for another value.
    """
    table: dict[str, Any] = {
        key: dict(value) if isinstance(value, Mapping) else value for key, value in system.defaults.items()
    }
    if given.get("rank") is not None:
        table.pop("density", None)
    if given.get("density") is not None:
        table.pop("rank", None)
    for key, said in given.items():
        old, value = table.get(key), {"rule": said} if key in RULES and isinstance(said, str) else said
        if (
            isinstance(old, Mapping)
            and isinstance(_table(value), Mapping)
            and _table(value).get("rule", old["rule"]) == old["rule"]
        ):
            entries = _table(value)
            for entry, inner in entries.items():
                _check(system, f"{key}.{entry}", inner, old.get(entry, _default(key, entry, old)), key)
            table[key] = {**old, **entries}
        else:
            _check(system, key, value, old if key in table else _default(key, None, None), key)
            table[key] = value
    return table


def _check(system: System, key: str, value: Any, own: Any, whole: str) -> None:
    """Whether the system accepts the key, or this is its own value."""
    if system.accepts is None or key in (*ALWAYS, *system.accepts) or whole in (*ALWAYS, *system.accepts):
        return
    if value is None or _comparable(value) == _comparable(own):
        return
    raise ValueError(
        f'{key} = {_shown(value)}: system = "{system.name}" does not take it; allowed beside it: {", ".join(system.allowed)}'
    )


def _default(key: str, entry: str | None, table: Mapping[str, Any] | None) -> Any:
    """The value of a key that the system leaves as it is: the algorithm's default, or the rule's."""
    from frugal_theory.config.algorithm import Algorithm
    from frugal_theory.config.registry import RULES as FORMULAS

    if entry is not None and table is not None:
        field_of = FORMULAS[table["rule"]].table.model_fields.get(entry)
        return None if field_of is None else field_of.default
    field_of = Algorithm.model_fields.get(key)
    return None if field_of is None else field_of.get_default(call_default_factory=True)


def _table(value: Any) -> Any:
    """A rule given as an object, as its table."""
    return value.model_dump() if hasattr(value, "model_dump") else value


def _comparable(value: Any) -> Any:
    value = _table(value)
    if isinstance(value, Mapping):
        return {key: _comparable(inner) for key, inner in value.items() if inner is not None}
    return tuple(_comparable(inner) for inner in value) if isinstance(value, list | tuple) else value


def _shown(value: Any) -> str:
    value = _table(value)
    if isinstance(value, Mapping) and set(value) == {"rule"}:
        value = value["rule"]
    return quoted([value]) if isinstance(value, str) else str(value)
