"""The tables of docs/reference/experiment.md: defaults, ranges and meanings, read off the code."""

from __future__ import annotations

import inspect
import re

from frugal_theory.config.keys import Key, Table, tables


def meaning(table: Table, key: Key) -> str:
    """What a key means, as Markdown. Raises ValueError if nothing is written under its field."""
    if not key.meaning:
        raise ValueError(f"{table.model.__name__}.{key.name}: say under the field in one line what the key means")
    return re.sub(r"docs/(\w+)\.md", r"[\1](../\1.md)", key.meaning.replace("``", "`"))


def page() -> str:
    """All tables as Markdown."""
    return "\n\n".join(_section(table) for table in tables())


def _section(table: Table) -> str:
    lines = ["| key | default | allowed | meaning |", "|---|---|---|---|"]
    for key in table.keys:
        said = (key.default and f"`{key.default}`") or "must be given"
        default = "–" if key.default == "–" else said
        lines.append(f"| `{key.name}` | {default} | {_code(key.allowed)} | {meaning(table, key)} |".replace("||", r"\|\|"))
    return f"## {_heading(table)}\n\n{_purpose(table)}\n\n" + "\n".join(lines)


def _heading(table: Table) -> str:
    if table.place == "rule":
        return f'`rule = "{table.kind}"`'
    if not table.place:
        return "The file itself"
    brackets = "[[{}]]" if table.place in ("cases", "algorithm.groups") else "[{}]"
    return f"`{brackets.format(table.place)}`" + (f', `{table.tag} = "{table.kind}"`' if table.kind else "")


def _purpose(table: Table) -> str:
    """The class's docstring, with its double backquotes as Markdown's."""
    text = inspect.cleandoc(table.model.__doc__ or "")
    text = re.sub(r":mod:`[^`]*`", "[systems](../systems.md)", re.sub(r"``(.+?)``", r"`\1`", text))
    if "::\n" in text:  # a block of its own, as reStructuredText has it
        before, block = text.split("::\n", 1)
        formula, _, after = inspect.cleandoc(block).partition("\n\n")
        text = f"{before}:\n\n```text\n{formula}\n```\n\n{after}"
    return re.sub(r"(?<![\w`*])([*_])(?=\w)", r"\\\1", text) if "```" not in text else text


def _code(allowed: str) -> str:
    """Names in code, words as they are."""
    return re.sub(r'"([^"]*)"', r'`"\1"`', allowed).replace("<", r"\<")
