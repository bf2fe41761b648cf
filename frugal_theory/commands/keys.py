"""frugal-theory keys: what an experiment file may say."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from frugal_theory.config.load import ExperimentError

if TYPE_CHECKING:
    from frugal_theory.config.keys import Key, Table

__all__ = ["keys"]

Name = Annotated[str | None, typer.Argument(metavar="NAME", help="A table (training, problem.logistic, adamw) or a key.")]


def keys(name: Name = None) -> None:
    """List the keys of the experiment file: default, what is allowed, meaning. Without a name, its tables."""
    from frugal_theory.config.keys import tables

    console, known = Console(), tables()
    if name is None:
        for table in known:
            line = Text.assemble((_title(table), "bold"), f"  {', '.join(key.name for key in table.keys)}")
            console.print(line, soft_wrap=not console.is_terminal)
        return
    named = [table for table in known if name in (table.path, table.place, table.kind)]
    found = [(table, table.keys) for table in named] or [(table, keys) for table in known if (keys := _keys(table, name))]
    if not found:
        names = {part for table in known for part in (table.path, table.kind, *(key.name for key in table.keys)) if part}
        close = difflib.get_close_matches(name, sorted(names), n=1, cutoff=0.5)
        hint = f'did you mean "{close[0]}"? ' if close else ""
        raise ExperimentError(f'"{name}" is no table or key; {hint}frugal-theory keys lists all')
    for table, wanted in found:
        console.print(Text(_title(table), style="bold"))
        for key in wanted:
            default = {"": "must be given", "–": "may be left out"}.get(key.default, f"default {key.default}")
            console.print(Padding(Text.assemble((key.name, "bold"), f"  {default}; {key.allowed}"), (0, 0, 0, 4), expand=False))
            console.print(Padding(Text(key.meaning.replace("``", "")), (0, 0, 0, 8), expand=False))
        console.print()


def _title(table: Table) -> str:
    """As the file has it: [training], [problem] kind = "quadratic", rule = "adamw"."""
    place = "" if table.place == "rule" else f"[{table.place}]" if table.place else "the file itself"
    kind = f'{table.tag} = "{table.kind}"' if table.kind else ""
    return f"{place} {kind}".strip()


def _keys(table: Table, name: str) -> tuple[Key, ...]:
    """The keys of the table that the name may mean."""
    return tuple(key for key in table.keys if name in (key.name, f"{table.path}.{key.name}"))
