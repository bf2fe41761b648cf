"""Verdicts as a terminal shows them."""

from __future__ import annotations

from collections import Counter
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

__all__ = ["MOST", "print_practice", "print_summary", "print_verdicts", "verdict_sentence"]

URGENT = ("violated", "inconclusive")
"""Verdicts whose reason is said."""


MOST = 60
"""Cells that a terminal shows one by one; of more, the theorems are counted and the most urgent cells shown."""


def print_verdicts(console: Console, ready: Sequence[Claims], verdicts: Sequence[Verdict]) -> None:
    """The verdicts, a small table a cell; what is not applicable is one quiet line with its reason.

    Of more than :data:`MOST` cells a row a theorem, and the cells with a verdict that is violated or open, as many at most.
    """
    by_cell: dict[int, list[Verdict]] = {}
    for verdict in verdicts:
        by_cell.setdefault(id(verdict.cell), []).append(verdict)
    found = [(study.cell.label, by_cell.get(id(study.cell.settings), [])) for study in ready]
    if len(found) > MOST:
        urgent = [(label, own) for label, own in found if any(v.status in URGENT for v in own)]
        _print_counts(console, [(v.theorem, v.status, v.tightness) for v in verdicts], len(found))
        _print_left(console, len(urgent))
        found = urgent[:MOST]
    for place, (label, own) in enumerate(found):
        _print_cell(console, label, own, header=place == 0)


def _print_cell(console: Console, label: str, verdicts: Sequence[Verdict], *, header: bool) -> None:
    if label:
        console.print("\n" + printable(label), style="bold", highlight=False, markup=False)
    table = Table(box=None, pad_edge=False, show_header=header, header_style="dim")
    for name, width in (("theorem", 14), ("verdict", 16)):
        table.add_column(name, min_width=width, no_wrap=True)
    for name in ("measured", "bound", "measured/bound"):
        table.add_column(name, min_width=10, justify="right", no_wrap=True)
    quiet = []
    for verdict in verdicts:
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
        if verdict.status in URGENT:
            said = printable(f"  {verdict.theorem}: {verdict.reason}")
            console.print(said, style=STATUSES[verdict.status].style, highlight=False, markup=False)


def _print_counts(console: Console, found: Sequence[tuple[str, str, float | None]], cells: int) -> None:
    """A row a theorem: in how many cells it came to what, and the largest share of its bound that was measured in one."""
    counts = Counter((theorem, status) for theorem, status, _ in found)
    shown = [status for status in STATUSES if any(known == status for _, known in counts)]
    table = Table("", box=None, pad_edge=False, header_style="dim")
    for status in shown:
        table.add_column(status, justify="right")
    table.add_column("measured/bound, at most", justify="right")
    for name in dict.fromkeys(theorem for theorem, *_ in found):
        shares = [share for theorem, _, share in found if theorem == name and isinstance(share, float)]
        numbers = [
            f"[{STATUSES[status].style}]{STATUSES[status].mark} {counts[name, status]:,}[/]" if counts[name, status] else ""
            for status in shown
        ]
        table.add_row("  " + escape(name), *numbers, f"{100 * max(shares):.0f} %" if shares else "")
    console.print(f"\n{cells:,} cells", style="bold", highlight=False)
    console.print(table)


def _print_left(console: Console, urgent: int) -> None:
    """How many cells follow, or that none does."""
    cells = f"{urgent:,} {'cell' if urgent == 1 else 'cells'} with a verdict that is violated or open"
    told = f"The first {MOST} of {cells}:" if urgent > MOST else f"{cells}:" if urgent else "No verdict is violated or open."
    console.print(told, highlight=False)


def print_summary(console: Console, records: Sequence[dict[str, Any]]) -> None:
    """A row a cell, a column a theorem: the mark of each verdict and how much of the bound was measured.

    Of more than :data:`MOST` cells a row a theorem, and the rows of cells with a verdict that is violated or open, as many at
    most.
    """
    rows: dict[str, dict[str, dict[str, Any]]] = {}
    for record in records:
        rows.setdefault(record.get("label", ""), {})[record["theorem"]] = record
    names = list(dict.fromkeys(record["theorem"] for record in records))
    if len(rows) > MOST:
        urgent = {label: row for label, row in rows.items() if any(one["status"] in URGENT for one in row.values())}
        _print_counts(console, [(one["theorem"], one["status"], one["tightness"]) for one in records], len(rows))
        _print_left(console, len(urgent))
        rows = dict(list(urgent.items())[:MOST])
    table = Table("", *names, box=None, pad_edge=False, header_style="bold")
    for label, row in rows.items():
        table.add_row(escape(printable(label)), *(_mark(row[name]) for name in names))
    if rows:
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
    """How many verdicts of each status, in one sentence.

    >>> from frugal_theory.verdicts.verdict import Verdict
    >>> verdict_sentence([Verdict("sgd", "holds", "")], 0.99)
    '1 holds. Confidence 99 %.'
    """
    together = f" for all {len(verdicts)} verdicts together" if len(verdicts) > 1 else ""
    return f"{counted(v.status for v in verdicts)}. Confidence {100 * confidence:g} %{together}."
