"""The first thing on the page: cells × theorems, the mark of each verdict and how much of the bound was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from frugal_theory.report.words import number, percent, theorem_name
from frugal_theory.verdicts.status import sign

__all__ = ["Entry", "Matrix", "matrix"]

ROWS = 120
"""Cells that the matrix shows, at most."""


@dataclass(frozen=True)
class Entry:
    """One verdict: its mark, its class, its share of the bound, and in words; ``target`` is its row's number in the table."""

    mark: str
    role: str
    share: str
    words: str
    target: int


@dataclass(frozen=True)
class Matrix:
    """``theorems``: (name, in words), a column each. ``rows``: (cell, its entries; None where there is no verdict).
    ``hidden``: cells beyond what is shown, those without an alarm first."""

    theorems: list[tuple[str, str]]
    rows: list[tuple[str, list[Entry | None]]]
    hidden: int


def matrix(verdicts: Sequence[dict[str, Any]], cells: Sequence[str], rows: int = ROWS) -> Matrix:
    """``verdicts``: as the table has them, the most urgent first; ``cells``: labels in their order."""
    names = [str(verdict["theorem"]) for verdict in verdicts]
    order = {name: place for place, name in enumerate(_in_order(verdicts))}
    theorems = sorted(dict.fromkeys(names), key=order.__getitem__)
    found: dict[str, dict[str, Entry]] = {}
    for place, verdict in enumerate(verdicts, start=1):
        found.setdefault(verdict["label"], {})[str(verdict["theorem"])] = _entry(verdict, place)
    labels = [cell for cell in cells if cell in found] + [cell for cell in found if cell not in cells]
    urgent = list(found)  # the order of their most urgent verdict
    kept = set(urgent[:rows])
    return Matrix(
        [(name, theorem_name(name)) for name in theorems],
        [(cell, [found[cell].get(name) for name in theorems]) for cell in labels if cell in kept],
        len(labels) - len(kept),
    )


def _in_order(verdicts: Sequence[dict[str, Any]]) -> list[str]:
    """The theorems' names, as far as the program knows them in its own order, then the rest."""
    from frugal_theory.theorems import THEOREMS

    names = {str(verdict["theorem"]) for verdict in verdicts}
    return [name for name in THEOREMS if name in names] + sorted(name for name in names if name not in THEOREMS)


def _entry(verdict: dict[str, Any], place: int) -> Entry:
    status = str(verdict.get("status", "unknown"))
    said = sign(status)
    share = percent(verdict["tightness"]) if verdict.get("tightness") is not None else ""
    if status == "shape only" and verdict.get("implied_constant") is not None:
        share = f"C ≤ {number(verdict['implied_constant'], 2)}"
    where = f", {verdict['label']}" if verdict["label"] else ""
    words = f"{theorem_name(str(verdict['theorem']))}{where}: {status}{', ' + share if share else ''}"
    return Entry(said.mark, said.role, share, words, place)
