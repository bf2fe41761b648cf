"""The command ``frugal-theory self-test``: run it, show every finding that matters, count."""

from __future__ import annotations

import math

from rich.console import Console
from rich.table import Table

from frugal_theory.config.load import ExperimentError
from frugal_theory.studies.self_test.run import Finding, Sheet, self_test

__all__ = ["print_sheet", "run"]

WIDTH = 140
"""Columns of the table where there is no terminal to measure."""


def run(budget: float, seed: int, *, everything: bool = False) -> bool:
    """Print the sheet and return whether it passed. Raises ExperimentError for a budget that is not positive."""
    with Console(stderr=True).status("self-test") as status:
        try:
            sheet = self_test(
                budget=budget, seed=seed, progress=lambda what, done, total: status.update(f"self-test {done}/{total}: {what}")
            )
        except ValueError as error:
            raise ExperimentError(f"self-test: {error}") from error
    console = Console()
    print_sheet(console if console.is_terminal else Console(width=WIDTH), sheet, everything=everything)
    return sheet.passed


def print_sheet(console: Console, sheet: Sheet, *, everything: bool = False) -> None:
    """A row a planted fault, then the true ones (those with a false alarm, or all), then the count."""
    _print(console, "planted", sheet.planted)
    console.print()
    alarms = [finding for finding in sheet.true if finding.alarm]
    if everything or alarms:
        _print(console, "true", sheet.true if everything else alarms)
        console.print()
    console.print(sheet.sentence, style="green" if sheet.passed else "bold red", highlight=False, soft_wrap=True)


def _print(console: Console, title: str, findings: list[Finding]) -> None:
    """Measured over bound for a theorem, over the exact expectation for an engine; how far off in standard errors."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in (title, "", "on", "verdict"):
        table.add_column(name)
    for name in ("measured/bound", "errors off"):
        table.add_column(name, justify="right", no_wrap=True)
    for finding in findings:
        mark = "[green]✓[/]" if finding.right else "[bold red]✗[/]"
        off = f"{finding.deviation:.3g}" if math.isfinite(finding.deviation) else "no noise"
        table.add_row(f"{mark} {finding.subject}", finding.what, finding.stage, finding.said, f"{finding.ratio:.3f}", off)
    console.print(table)
