"""Every key of the experiment file, with its default, what is allowed and what it means, read off the tables themselves."""

from __future__ import annotations

import ast
import inspect
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from textwrap import dedent
from typing import Annotated, Any, Literal

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from frugal_theory.config.algorithm import Algorithm
from frugal_theory.config.experiment import Experiment
from frugal_theory.config.fields import NameOf, TableOf
from frugal_theory.config.one_line import annotation_of, limited
from frugal_theory.config.parts import quoted
from frugal_theory.config.registry import RULES

__all__ = ["Key", "Table", "spelled", "tables"]


@dataclass(frozen=True)
class Key:
    """One key: its name, its default and the values that are allowed, both as a reader of the file's TOML knows them.

    ``default`` is empty where the key must be given, and "–" where it may be left out and then stands for nothing.
    ``meaning``: what is written under the field, with its unit; empty if nothing is.
    """

    name: str
    default: str
    allowed: str
    meaning: str


@dataclass(frozen=True)
class Table:
    """One table of the file, ``[place]``, or of several kinds the one whose ``tag`` is ``kind``; its class and its keys."""

    place: str
    model: type[BaseModel]
    keys: tuple[Key, ...]
    tag: str = ""
    kind: str = ""

    @property
    def path(self) -> str:
        """A name of its own: "problem.quadratic", "rule.adamw", "training"."""
        return f"{self.place}.{self.kind}" if self.kind else self.place


def tables() -> list[Table]:
    """Every table, as the file has them from top to bottom; the rules, which stand in several places, come last."""
    rules = [_table("rule", RULES[name].table, "rule", name) for name in RULES]
    return [*_below("", Experiment), *rules]


def _below(place: str, model: type[BaseModel]) -> Iterator[Table]:
    """A table and those inside it; that of a rule is not followed."""
    yield _table(place, model)
    for name, field in model.model_fields.items():
        inner = f"{place}.{name}".lstrip(".")
        for found in _inside(annotation_of(field)):
            if isinstance(found, TableOf):
                if found.registry is not RULES:
                    yield from (_table(inner, table, found.tag, kind) for kind, table in found.tables.items())
            else:
                yield from _below(inner, found)


def _table(place: str, model: type[BaseModel], tag: str = "", kind: str = "") -> Table:
    keys = [
        Key(name, _default(field), _allowed(annotation_of(field)), _meaning(model, name))
        for name, field in model.model_fields.items()
    ]
    return Table(place, model, tuple(keys), tag, kind)


def _meaning(model: type[BaseModel], name: str) -> str:
    """The docstring under a field: the class's own, that of one that it derives from, or else that of [algorithm]'s key of that
    name, for groups and split rules have its options."""
    if name in ("kind", "rule"):
        return "Which of them it is."
    classes = [base for base in model.__mro__ if issubclass(base, BaseModel) and base is not BaseModel]
    written = (_written(base).get(name) for base in (*classes, Algorithm))
    return next((text for text in written if text is not None), "")


@cache
def _written(model: type[BaseModel]) -> Mapping[str, str]:
    """What stands under the fields of a class itself, by name; nothing where its source is not at hand."""
    try:
        (of_class,) = ast.parse(dedent(inspect.getsource(model))).body
    except (OSError, TypeError, SyntaxError):
        return {}
    found = {}
    for field, under in pairwise(getattr(of_class, "body", [])):
        text = under.value.value if isinstance(under, ast.Expr) and isinstance(under.value, ast.Constant) else None
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, str):
            found[field.target.id] = " ".join(text.split())
    return found


def _inside(annotation: Any) -> Iterator[TableOf | type[BaseModel]]:
    """The tables that an annotation names."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif typing.get_origin(annotation) is Annotated and (named := _named(annotation)):
        yield from [named] if isinstance(named, TableOf) else []
    else:
        for part in typing.get_args(annotation):
            yield from _inside(part)


def _named(annotation: Any) -> TableOf | NameOf | None:
    return next((item for item in annotation.__metadata__ if isinstance(item, TableOf | NameOf)), None)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return ""
    value = field.get_default(call_default_factory=True, validated_data={})
    return "–" if value is None or value is PydanticUndefined else spelled(value)


def spelled(value: Any) -> str:
    """A value as TOML spells it inline; of a table, what is not its kind's default."""
    if isinstance(value, BaseModel):
        model = type(value)
        tags = {name: getattr(value, name) for name in ("rule", "kind") if name in model.model_fields}
        return spelled(tags | value.model_dump(exclude_defaults=True))
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {spelled(inner)}" for key, inner in value.items()) + " }" if value else "{}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(map(spelled, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else repr(value)


def _allowed(annotation: Any, limits: Sequence[Any] = ()) -> str:
    """What an annotation allows, in words: "a number > 0", '"reset", "keep"', "a list of …"."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        named = _named(annotation)
        if named is not None:
            return _of_a_registry(named)
        return _allowed(arguments[0], [*limits, *annotation.__metadata__])
    if origin is Literal:
        return ", ".join(spelled(value) for value in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_allowed(part, limits) for part in arguments if part is not type(None))
    if origin is dict:
        return f"a table whose values are {_allowed(arguments[1])}"
    if origin in (tuple, list):
        several = len(arguments) == 1 or arguments[-1] is Ellipsis
        return f"a list of: {_allowed(arguments[0])}" if several else f"{len(arguments)} of: {_allowed(arguments[0])}"
    return _plain(annotation, limits)


def _of_a_registry(named: TableOf | NameOf) -> str:
    if isinstance(named, NameOf):
        return quoted(named.registry)
    words = f"{quoted(named.words)} or " if named.words else ""
    return f"{words}a table whose {named.tag} is {quoted(named.tables)}"


def _plain(annotation: Any, limits: Sequence[Any]) -> str:
    if annotation in (int, float):
        return limited(Annotated[(annotation, *limits)] if limits else annotation)
    if annotation is bool:
        return "true, false"
    if annotation is str:
        return "a text"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        names = list(annotation.model_fields)
        return "a table" if len(names) > 1 else f"{{ {names[0]} = … }}"
    return "any value"
