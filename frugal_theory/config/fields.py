"""Fields whose values are named in a registry: a table that says its kind, or a bare name. Nothing of pydantic's is changed
when something is added: the registry is asked whenever a value is validated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, PydanticKnownError, core_schema

from frugal_theory.config.parts import Part
from frugal_theory.config.registry import Kind, Registry

__all__ = ["NameOf", "TableOf"]


SIDES = ("state_full", "state_free")
"""Where a rule may stand, unless its table says otherwise by its own ``sides``."""


@dataclass(frozen=True)
class NameOf:
    """``Annotated[str, NameOf(REGISTRY)]``: a name in the registry, or in a mapping that never changes."""

    registry: Mapping[str, Any]

    def __get_pydantic_core_schema__(self, _: Any, __: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._known)

    def __get_pydantic_json_schema__(self, _: CoreSchema, __: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "enum": list(self.registry)}

    def _known(self, name: Any) -> str:
        if not isinstance(name, str) or name not in self.registry:
            raise PydanticKnownError("literal_error", {"expected": _one_of(list(self.registry))})
        return name


@dataclass(frozen=True)
class TableOf:
    """``Annotated[Part, TableOf(REGISTRY, tag)]``: a table whose ``tag`` names its kind in the registry.

    ``side``: only those kinds whose table may stand there. ``default``: the kind of a table that does not say. ``words``: texts
    that may stand in a table's place.
    """

    registry: Registry[Kind[Any]]
    tag: str
    side: str | None = None
    default: str | None = None
    words: tuple[str, ...] = ()

    @property
    def tables(self) -> dict[str, type[Part]]:
        """Every table that may stand here, by the name of its kind."""
        return {name: kind.table for name, kind in self.registry.items() if self._may_stand(kind.table)}

    def _may_stand(self, table: type[Part]) -> bool:
        return self.side is None or self.side in getattr(table, "sides", SIDES)

    def __get_pydantic_core_schema__(self, _: Any, __: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._validated)

    def __get_pydantic_json_schema__(self, _: CoreSchema, __: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "object", "properties": {self.tag: {"type": "string", "enum": list(self.tables)}}}

    def _validated(self, value: Any) -> Part | str:
        if self.words and isinstance(value, str):
            if value not in self.words:
                raise PydanticKnownError("literal_error", {"expected": _one_of(list(self.words))})
            return value
        if isinstance(value, Part) and type(value) in self.tables.values():
            return value
        if not isinstance(value, Mapping):
            raise PydanticKnownError("model_attributes_type")
        name = value.get(self.tag, self.default)
        if name is None and self.tag not in value:
            raise PydanticKnownError("union_tag_not_found", {"discriminator": f"'{self.tag}'"})
        table = self.registry[name].table if isinstance(name, str) and name in self.registry else None
        if table is None or not self._may_stand(table):
            expected = ", ".join(f"'{known}'" for known in self.tables)
            facts = {"discriminator": f"'{self.tag}'", "tag": str(name), "expected_tags": expected}
            raise PydanticKnownError("union_tag_invalid", facts)
        try:
            return table.model_validate({self.tag: name, **value})
        except ValidationError as error:  # the kind's name in the location tells whose keys are allowed there
            lines = [_line(name, line) for line in error.errors(include_url=False)]
            raise ValidationError.from_exception_data(error.title, lines) from None


def _line(name: str, line: Any) -> InitErrorDetails:
    """One line of a table's errors, its location below the kind's name."""
    known: Any = line["type"]
    if known == "value_error":
        known = PydanticCustomError("value_error", "{error}", {"error": str(line["ctx"]["error"])})
    return InitErrorDetails(type=known, loc=(name, *line["loc"]), input=line["input"], ctx=line.get("ctx", {}))


def _one_of(names: list[str]) -> str:
    """``'a', 'b' or 'c'``, as pydantic lists literals."""
    quoted = [f"'{name}'" for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} or {quoted[-1]}"
