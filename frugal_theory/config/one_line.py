"""The one line that says what is wrong with an experiment: the file, the key, the value and what is allowed."""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from frugal_theory.config.experiment import Experiment
from frugal_theory.config.fields import TableOf
from frugal_theory.config.parts import quoted

__all__ = ["ExperimentError", "annotation_of", "limited", "printable", "validate"]

LONGEST = 2000
"""Characters of a line on stderr, at most: a key or a path that somebody made absurd stays one line."""


class ExperimentError(ValueError):
    """An experiment that cannot be run. The message is one line naming the file, the key and what is allowed."""


def validate(table: dict[str, Any], source: str) -> Experiment:
    """The experiment of a plain table. Raises ExperimentError, one line that calls the table ``source``."""
    if "name" not in table:
        raise ExperimentError(f'{source}: name: is missing; every experiment needs one, for example name = "demo"')
    try:
        return Experiment.model_validate(table)
    except ValidationError as error:
        errors = error.errors(include_url=False)
    first = min(errors, key=lambda e: e["type"] != "extra_forbidden")
    whole = _key(first["loc"])
    first = next((e for e in errors if _key(e["loc"]).startswith(f"{whole}[")), first)  # the entry of a list, not the list
    others = {_key(e["loc"]) for e in errors} - {whole, _key(first["loc"])}
    more = f" (and {len(others)} more)" if others else ""
    raise ExperimentError(f"{source}: {_explain(first, errors)}{more}") from None


def _key(loc: tuple[int | str, ...]) -> str:
    """The key as the file spells it: union members and tags that pydantic adds to a location are left out."""
    model: Any = Experiment
    parts: list[str] = []
    for step in loc:
        if isinstance(step, int):
            parts[-1:] = [f"{parts[-1]}[{step}]"] if parts else [f"[{step}]"]
            continue
        members = _models(model)
        fields = {name: field for member in members for name, field in member.model_fields.items()}
        if step in fields and not any(
            member.__name__ == step or _tag(member) == step for member in members if len(members) > 1
        ):
            model = annotation_of(fields[step])
            parts.append(step)
        elif chosen := [m for m in members if step in (m.__name__, _tag(m))]:
            model = chosen[0]
        elif not _is_type_label(step):
            parts.append(step)
            model = None
    return ".".join(parts)


def _is_type_label(step: str) -> bool:
    """Labels such as ``literal['normal','ones']`` or ``constrained-float`` that pydantic adds for union members."""
    return bool(re.match(r"^(literal|tuple|constrained|float|int|str|list|bool|function|nullable|is-instance)\b", step))


def _tag(model: type[BaseModel]) -> Any:
    for name in ("kind", "rule"):
        if name in model.model_fields:
            return model.model_fields[name].default
    return None


def _models(annotation: Any) -> list[type[BaseModel]]:
    """Every model class inside an annotation such as ``Annotated[A | B, ...] | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    for item in getattr(annotation, "__metadata__", ()):
        if isinstance(item, TableOf):
            return list(item.tables.values())
    if typing.get_origin(annotation) in (Annotated, typing.Union, types.UnionType, list, tuple):
        return [model for part in typing.get_args(annotation) for model in _models(part)]
    return []


def _allowed_keys(loc: tuple[int | str, ...]) -> list[str]:
    """The valid keys of the table that ``loc`` points into."""
    models: list[type[BaseModel]] = [Experiment]
    for step in loc:
        if isinstance(step, int):
            continue
        chosen = [m for m in models if len(models) > 1 and step in (m.__name__, _tag(m))]
        inner = (
            [m for model in models for m in _models(annotation_of(model.model_fields[step]))]
            if not chosen and all(step in m.model_fields for m in models)
            else []
        )
        models = chosen or inner or models
    return sorted({name for model in models for name in model.model_fields})


def _explain(error: Any, errors: Sequence[Any]) -> str:
    loc, kind, given = error["loc"], error["type"], error.get("input")
    key, context = _key(loc), error.get("ctx", {})
    if kind == "extra_forbidden":
        allowed = _allowed_keys(loc[:-1])
        close = difflib.get_close_matches(str(loc[-1]), allowed, n=1, cutoff=0.5)
        hint = f'did you mean "{close[0]}"? ' if close else ""
        return f"{key}: unknown key; {hint}allowed here: {', '.join(allowed)}"
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        tag = str(context["discriminator"]).strip("'")
        given = given.get(tag) if isinstance(given, Mapping) else given
        if kind == "union_tag_not_found":
            allowed_tags = quoted(_tag(model) for model in _models(_annotation_at(loc)))
            return f"{key}.{tag}: is missing; allowed: {allowed_tags}"
        tags = [t.strip().strip("'") for t in str(context["expected_tags"]).split(",")]
        close = difflib.get_close_matches(str(given), tags, n=1, cutoff=0.5)
        return f"{key}.{tag} = {_show(given)}: {_did_you_mean(close)}allowed: {quoted(tags)}"
    if kind == "value_error":
        message = str(context.get("error", error["msg"]))
        return f"{key}: {message}" if key else message
    same = [e for e in errors if _key(e["loc"]) == key]
    wanted = " or ".join(dict.fromkeys(_wanted(e) for e in same))
    close = []
    if kind == "literal_error":
        options = re.findall(r"'([^']*)'", str(context.get("expected", "")))
        close = difflib.get_close_matches(str(given), options, n=1, cutoff=0.5)
    return f"{key} = {_show(given)}: {_did_you_mean(close)}allowed: {wanted}"


def _did_you_mean(close: Sequence[str]) -> str:
    return f'did you mean "{close[0]}"? ' if close else ""


def _show(value: Any) -> str:
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


_LIMITS = {"greater_than": "gt", "greater_than_equal": "ge", "less_than": "lt", "less_than_equal": "le"}
_SIGNS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
_NUMBERS = {"float_type": "a number", "int_type": "a whole number", "int_from_float": "a whole number"}

_TYPES = {
    "finite_number": "a finite number",
    "string_type": "a text in quotes",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "missing": "a value (it is required)",
    "string_pattern_mismatch": "letters, digits, '.', '_' and '-', starting with a letter or digit",
}


def _wanted(error: Any) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind in _LIMITS or kind in _NUMBERS:
        return _number(error)
    if kind == "literal_error":
        return str(context["expected"]).replace("'", '"')
    message = str(error["msg"])
    return _TYPES.get(kind, message[0].lower() + message[1:])


def _number(error: Any) -> str:
    """The whole range of the number that is wanted: "a number from 0 to 1", "a whole number >= 1"."""
    kind, context = error["type"], error.get("ctx", {})
    whole = kind in ("int_type", "int_from_float")
    candidates = _ranges(_annotation_at(error["loc"]))
    if kind in _LIMITS:
        name = _LIMITS[kind]
        candidates = [c for c in candidates if c[1].get(name) == context[name]] or [(float, {name: context[name]})]
    else:
        candidates = [c for c in candidates if c[0] is (int if whole else float)] or [(int if whole else float, {})]
    return _in_words(*candidates[0])


def limited(annotation: Any) -> str:
    """The numbers that an annotation allows, in words."""
    return " or ".join(dict.fromkeys(_in_words(*found) for found in _ranges(annotation)))


def _in_words(number: type, limits: Mapping[str, float]) -> str:
    noun = "a whole number" if number is int else "a number"
    if limits.keys() == {"ge", "le"}:
        return f"{noun} from {limits['ge']:g} to {limits['le']:g}"
    return " and ".join([noun, *(f"{_SIGNS[name]} {limit:g}" for name, limit in limits.items())]).replace(" and ", " ", 1)


def _ranges(annotation: Any, limits: Mapping[str, float] | None = None) -> list[tuple[type, dict[str, float]]]:
    """Every kind of number inside an annotation, with its limits by name ("gt", "ge", "lt", "le")."""
    limits = dict(limits or {})
    if annotation in (int, float):
        return [(annotation, limits)]
    if typing.get_origin(annotation) is not Annotated:
        return [found for part in typing.get_args(annotation) for found in _ranges(part, limits)]
    inner, *metadata = typing.get_args(annotation)
    for item in metadata:
        for limit in item.metadata if isinstance(item, FieldInfo) else [item]:
            limits |= {name: getattr(limit, name) for name in _SIGNS if getattr(limit, name, None) is not None}
    return _ranges(inner, limits)


def _annotation_at(loc: tuple[int | str, ...]) -> Any:
    """The annotation, limits included, of the field that an error's location ends in."""
    annotation: Any = Experiment
    for step in loc:
        fields = {name: field for model in _models(annotation) for name, field in model.model_fields.items()}
        chosen = [model for model in _models(annotation) if step in (model.__name__, _tag(model))]
        if chosen:
            annotation = chosen[0]
        elif step in fields:
            annotation = annotation_of(fields[str(step)])
    return annotation


def annotation_of(field: FieldInfo) -> Any:
    """The annotation of a field with what stands beside it, which pydantic keeps apart."""
    return Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation


def printable(text: str) -> str:
    """Text for a terminal: control characters and line ends spelled out, and cut in the middle where it is very long."""
    plain = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    half = LONGEST // 2
    return plain if len(plain) <= LONGEST else f"{plain[:half]} … {plain[-half:]}"
