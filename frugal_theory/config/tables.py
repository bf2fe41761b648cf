"""Plain tables: what TOML has, dotted keys set and tables merged, and an experiment written as TOML again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from frugal_theory.config.experiment import Experiment
from frugal_theory.config.one_line import ExperimentError

__all__ = ["dump", "merge", "plain", "set_key"]


def dump(experiment: Experiment) -> str:
    """The experiment as TOML, every default spelled out: ``parse(dump(e)) == e``. The keys of a swept system are not."""
    import tomli_w

    table = experiment.model_dump()
    swept = [*experiment.sweep, *(f"algorithm.{key}" for case in experiment.cases for key in _algorithm_keys(case))]
    if "algorithm.system" in swept:  # what one system sets, another may not take
        table["algorithm"] = experiment.algorithm.model_dump(exclude_unset=True)
    return tomli_w.dumps(_without_none(plain(table)))


def _algorithm_keys(case: Any) -> list[str]:
    """The keys of ``[algorithm]`` that a case replaces."""
    table = (case.model_extra or {}).get("algorithm", {})
    return list(table) if isinstance(table, Mapping) else []


def set_key(table: dict[str, Any], key: str, value: Any, source: str) -> None:
    """Set a dotted key; ``algorithm.state_full.beta`` walks into tables, making those that are missing."""
    *parents, last = key.split(".")
    here = table
    for depth, parent in enumerate(parents):
        child = here.setdefault(parent, {})
        if isinstance(child, str) and parent in ("state_full", "state_free"):
            child = here[parent] = {"rule": child}
        if not isinstance(child, dict):
            raise ExperimentError(f"{source}: {key}: {'.'.join(parents[: depth + 1])} is not a table")
        here = child
    here[last] = value


def merge(table: dict[str, Any], key: str, value: Any) -> None:
    """Merge a case's table into the experiment's; one that names its kind or rule replaces the old one."""
    old = table.get(key)
    if isinstance(old, dict) and isinstance(value, dict) and not {"kind", "rule"} & set(value):
        for inner, entry in value.items():
            merge(old, inner, entry)
    else:
        table[key] = value


def plain(value: Any) -> Any:
    """Plain dicts, lists and scalars, as TOML has them."""
    if isinstance(value, BaseModel):
        return plain(value.model_dump())
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", 1) == 0 else value


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_none(v) for k, v in value.items() if v is not None}
    return [_without_none(v) for v in value] if isinstance(value, list) else value
