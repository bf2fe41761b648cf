"""Verdicts as a terminal shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from frugal_theory.config.one_line import printable
from frugal_theory.verdicts.status import PRACTICE, STATUSES, counted

if TYPE_CHECKING:
    from rich.console import Console

    from frugal_theory.verdicts.claims import Claims
    from frugal_theory.verdicts.verdict import Verdict

__all__ = ["print_practice", "print_summary", "print_verdicts", "verdict_sentence"]


def print_verdicts(console: Console, ready: Sequence[Claims], verdicts: Sequence[Verdict]) -> None:
    """The verdicts, a small table a cell; what is not applicable is one quiet line with its reason."""
    for study in ready:
        if study.cell.label:
            console.print("\n" + printable(study.cell.label), style="bold", highlight=False, markup=False)
        table = Table(box=None, pad_edge=False, show_header=study is ready[0], header_style="dim")
        for name, width in (("theorem", 14), ("verdict", 16)):
            table.add_column(name, min_width=width, no_wrap=True)
        for name in ("measured", "bound", "measured/bound"):
            table.add_column(name, min_width=10, justify="right", no_wrap=True)
        quiet = []
        for verdict in (v for v in verdicts if v.cell is study.cell.settings):
            sign = STATUSES[verdict.status]
            if verdict.bound is None or verdict.measured is None or verdict.tightness is None:
                why = f"{verdict.reason[0].lower()}{verdict.reason[1:-1]}"
                quiet.append(printable(f"  {sign.mark} {verdict.theorem} not applicable: {why}"))
                continue
            numbers = (f"{verdict.measured:.4g}", f"{verdict.bound:.4g}", f"{100 * verdict.tightness:.0f} %")
            table.add_row("  " + escape(verdict.theorem), f"[{sign.style}]{sign.mark} {verdict.status}[/]", *numbers)
        if table.row_count:
            console.print(table)
        for line in quiet:
            console.print(line, style="dim", highlight=False, markup=False)
        for verdict in verdicts:
            if verdict.cell is study.cell.settings and verdict.status in ("violated", "inconclusive"):
                said = printable(f"  {verdict.theorem}: {verdict.reason}")
                console.print(said, style=STATUSES[verdict.status].style, highlight=False, markup=False)


def print_summary(console: Console, records: Sequence[dict[str, Any]]) -> None:
    """A row a cell, a column a theorem: the mark of each verdict and how much of the bound was measured."""
    names = list(dict.fromkeys(record["theorem"] for record in records))
    table = Table("", *names, box=None, pad_edge=False, header_style="bold")
    for label in dict.fromkeys(record.get("label", "") for record in records):
        row = {record["theorem"]: record for record in records if record.get("label", "") == label}
        table.add_row(escape(printable(label)), *(_mark(row[name]) for name in names))
    console.print(table)
    shown = [status for status in STATUSES if status not in PRACTICE or status in ("inconclusive", "not applicable")]
    console.print("  ".join(f"[{STATUSES[s].style}]{STATUSES[s].mark}[/] {s}" for s in shown), highlight=False)


def print_practice(console: Console, records: Sequence[dict[str, Any]]) -> None:
    """Verdicts on measured constants: a row each that was judged, and one line for the others.

    Of theorems that speak of the algorithm and are not applicable for another reason, the reason is said.
    """
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("theorem", "in practice"):
        table.add_column(name, no_wrap=True)
    for name in ("measured", "bound", "share", "counts most"):
        table.add_column(name, justify="right", no_wrap=True)
    near: dict[str, list[str]] = {}
    for record in records:
        sign = STATUSES[record["status"]]
        if record["status"] != "not applicable":
            numbers = [f"{record[key]:.4g}" if isinstance(record[key], float) else "–" for key in ("measured", "bound")]
            share = f"{100 * record['tightness']:.0f} %" if isinstance(record["tightness"], float) else "–"
            verdict = f"[{sign.style}]{sign.mark} {record['status']}[/]"
            table.add_row(f"  {escape(record['theorem'])}", verdict, *numbers, share, record.get("dominant") or "")
        elif record.get("largest_step") is not None:
            near.setdefault(record["reason"], []).append(record["theorem"])
    if table.row_count:
        console.print(table)
    mark = STATUSES["not applicable"].mark
    for reason, names in near.items():
        line = f"  {mark} {', '.join(names)} not applicable: {reason[0].lower()}{reason[1:-1]}"
        console.print(line, style="dim", highlight=False, markup=False, soft_wrap=True)
    for record in records:
        if record["status"] in ("contradicted", "inconclusive"):
            style = STATUSES[record["status"]].style
            console.print(f"  {record['theorem']}: {record['reason']}", style=style, highlight=False, markup=False)
    console.print(f"In practice: {counted(record['status'] for record in records)}.", highlight=False, soft_wrap=True)


def _mark(record: dict[str, Any]) -> str:
    status, share = record["status"], record["tightness"]
    number = f" {100 * share:.0f} %" if isinstance(share, float) else ""
    return f"[{STATUSES[status].style}]{STATUSES[status].mark}{number}[/]"


def verdict_sentence(verdicts: Sequence[Verdict], confidence: float) -> str:
    """How many verdicts of each status, in one sentence."""
    return (
        f"{counted(v.status for v in verdicts)}. Confidence {100 * confidence:g} % for all {len(verdicts)} verdicts together."
    )
