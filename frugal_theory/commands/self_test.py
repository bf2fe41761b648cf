"""frugal-theory self-test: a row a planted fault, then the true ones with a false alarm, or all, then the count."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from frugal_theory.commands.options import Cluster, Jobs, path_given
from frugal_theory.config.load import ExperimentError

if TYPE_CHECKING:
    from rich.console import Console

    from frugal_theory.studies.self_test.finding import Finding
    from frugal_theory.studies.self_test.run import Sheet

__all__ = ["print_sheet", "self_test"]

WIDTH = 140
"""Columns of the table where there is no terminal to measure."""

LARGEST = 1e6
"""Of the budget: a thousand days of trials."""


def self_test(
    budget: Annotated[float, typer.Option("--budget", help="Multiplies the number of trials.")] = 1.0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the noise and of the sets.")] = 0,
    everything: Annotated[bool, typer.Option("--all", help="Show the true counterparts too.")] = False,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", parser=path_given, help="Results folder.")] = Path(
        "runs/self-test"
    ),
    jobs: Jobs = None,
    cluster: Cluster = None,
) -> None:
    """Plant false theorems, faulty engines and traps. Exit status 1 unless all are caught and nothing true raises an alarm."""
    if not 0 < budget <= LARGEST:
        raise ExperimentError(f"--budget = {budget:g}: allowed: a number > 0 and <= {LARGEST:g}")
    from rich.console import Console

    from frugal_theory.studies.runner import carry_out
    from frugal_theory.studies.self_test.study import SelfTest, sheet_of

    found = carry_out(SelfTest(budget, seed), None, out, jobs=jobs or 1, cluster=cluster)
    console = Console()
    print_sheet(console if console.is_terminal else Console(width=WIDTH), sheet_of(found.table), everything=everything)
    if found.answer.failed:
        raise typer.Exit(1)


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
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in (title, "", "on", "verdict"):
        table.add_column(name)
    for name in ("measured/bound", "errors off"):
        table.add_column(name, justify="right", no_wrap=True)
    for finding in findings:
        mark = "[green]✓[/]" if finding.right else "[bold red]✗[/]"
        off = (
            "–"
            if math.isnan(finding.deviation)
            else "no noise"
            if math.isinf(finding.deviation)
            else f"{finding.deviation:.3g}"
        )
        ratio = "–" if math.isnan(finding.ratio) else f"{finding.ratio:.3f}"
        table.add_row(f"{mark} {finding.subject}", finding.what, finding.stage, finding.said, ratio, off)
    console.print(table)
