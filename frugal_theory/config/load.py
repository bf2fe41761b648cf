"""Reading an experiment file: TOML to :class:`Experiment`, with overrides."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import wraps
from os import PathLike
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from frugal_theory.config.cells import Cell, cells
from frugal_theory.config.experiment import Experiment
from frugal_theory.config.model import SIZES
from frugal_theory.config.one_line import ExperimentError, validate
from frugal_theory.config.tables import dump, plain, set_key

__all__ = ["Cell", "ExperimentError", "cells", "dump", "load", "parse", "parse_overrides", "takes_a_file"]

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def load(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Experiment:
    """Read and validate an experiment file.

    ``overrides`` maps dotted keys to values, ``{"algorithm.density": 0.5}``. A key of the file's sweep has this value alone
    then, and a case of the file that gives it another is left out; a sweep or cases among them are meant as they are. A
    ``model.preset`` among them stands in the place of the file's model, its sizes included. Every cell of the sweep is
    validated too. Raises :class:`ExperimentError` for a missing file, invalid TOML, an unknown key, a wrong type or an
    impossible combination.

    >>> from importlib.resources import files
    >>> load(files("frugal_theory.simulations") / "demo.toml", {"algorithm.density": 0.5}).algorithm.density
    0.5
    """
    path = Path(path)
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):  # a pipe would be waited for
            raise ExperimentError(f"{path}: is no regular file; give the path of an experiment file (.toml)")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ExperimentError(f"{path}: no such file; give the path of an experiment file (.toml)") from None
    except IsADirectoryError:
        raise ExperimentError(f"{path}: is a folder; give the path of an experiment file (.toml)") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ExperimentError(f"{path}: cannot be read as UTF-8 text: {error}") from None
    return parse(text, source=str(path), overrides=overrides)


def parse(text: str | Mapping[str, Any], source: str = "experiment", overrides: Mapping[str, Any] | None = None) -> Experiment:
    """The same as :func:`load` for a TOML text, or for the tables themselves; ``source`` is what error messages call it.

    >>> parse({"name": "mine", "algorithm": {"density": 0.5}}, overrides={"algorithm.state_full": "lion"}).algorithm.state_full
    Lion(rule='lion', betas=(0.9, 0.99))
    """
    try:
        table = tomllib.loads(text) if isinstance(text, str) else plain(text)
    except tomllib.TOMLDecodeError as error:
        raise ExperimentError(f"{source}: invalid TOML: {error}") from None
    except RecursionError:
        raise ExperimentError(f"{source}: tables or lists are nested too deeply; a few levels are allowed") from None
    overrides = overrides or {}
    if "model.preset" in overrides and isinstance(table.get("model"), dict):
        table["model"] = {key: value for key, value in table["model"].items() if key not in SIZES}
    for key, value in overrides.items():
        set_key(table, key, plain(value), source)
    if isinstance(table.get("sweep"), dict) and "sweep" not in overrides:  # a sweep that is set apart is meant as it is
        table["sweep"] = _set_apart(table["sweep"], overrides, source)
    if isinstance(table.get("cases"), list) and "cases" not in overrides:
        table["cases"] = [case for case in table["cases"] if not _contradicts(case, overrides)]
    experiment = validate(table, source)
    cells(experiment, source)
    return experiment


def _set_apart(sweep: Mapping[str, Any], overrides: Mapping[str, Any], source: str) -> dict[str, Any]:
    """The sweep, in which a key that is set apart has that value alone; what lies within a table that is set apart is gone.

    Otherwise every cell would have the sweep's value, and the override would be lost without a word.
    """
    kept = {swept: values for swept, values in sweep.items() if not any(swept.startswith(f"{key}.") for key in overrides)}
    for key, value in overrides.items():
        for swept in kept:
            if key.startswith(f"{swept}."):
                raise ExperimentError(
                    f"{source}: {key}: [sweep] replaces {swept} as a whole, and this with it; "
                    f"set {swept}, or leave it out of [sweep]"
                )
        if key in kept:
            kept[key] = [plain(value)]
    return kept


def _contradicts(case: Any, overrides: Mapping[str, Any]) -> bool:
    """Whether a case gives a key that is set apart another value: with the one it is not that case, with the other not what
    was asked for."""
    tables = {name: table for name, table in case.items() if name != "name"} if isinstance(case, dict) else {}
    given = dict(_leaves("", tables))
    return any(
        (own != value if ours == key else ours.startswith(f"{key}.") or key.startswith(f"{ours}."))
        for override in overrides.items()
        for key, value in _leaves(*override)
        for ours, own in given.items()
    )


def _leaves(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Dotted keys and values of what is no table."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _leaves(f"{key}.{name}".lstrip("."), inner)
    else:
        yield key, plain(value)


def parse_overrides(settings: Sequence[str]) -> dict[str, Any]:
    """``["a.b=0.5", "c.d=lion"]`` to ``{"a.b": 0.5, "c.d": "lion"}``: values are TOML, bare words are strings."""
    overrides: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        key = key.strip()
        if not equals or not key:
            raise ExperimentError(f"--set {setting}: expected KEY=VALUE, for example --set algorithm.density=0.5")
        try:
            overrides[key] = tomllib.loads(f"value = {text.strip()}")["value"]
        except tomllib.TOMLDecodeError:
            overrides[key] = text.strip()
    return overrides


def takes_a_file(
    function: Callable[Concatenate[Experiment, Parameters], Result],
) -> Callable[Concatenate[Experiment | str | PathLike[str], Parameters], Result]:
    """A function of an experiment that takes the path of one, too: what is a text or a path is loaded first."""

    @wraps(function)
    def taking(experiment: Experiment | str | PathLike[str], /, *rest: Parameters.args, **keys: Parameters.kwargs) -> Result:
        return function(load(Path(experiment)) if isinstance(experiment, str | PathLike) else experiment, *rest, **keys)

    return taking
