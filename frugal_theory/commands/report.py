"""frugal-theory report: one page of one or several results folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from frugal_theory.commands.verdict_table import print_summary
from frugal_theory.config.load import ExperimentError
from frugal_theory.results.schema import LADDERS, VERDICTS

__all__ = ["report"]


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Results folders, e.g. runs/demo.")],
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Default: report.html in the first RUN.")] = None,
) -> None:
    """Write report.html: measurements under bounds, training curve, verdicts. Exit status 1 if one is violated."""
    from frugal_theory.report import write_report

    try:
        path = write_report(*runs, out=out)
    except ValueError as error:
        raise ExperimentError(str(error)) from error
    console, failed = Console(), False
    for folder in runs:
        if len(runs) > 1:
            console.print(f"[bold]{escape(str(folder))}[/bold]", highlight=False)
        verdicts, climbed = folder / VERDICTS.path, folder / LADDERS.path
        if verdicts.exists():
            records = json.loads(verdicts.read_text(encoding="utf-8"))
            failed |= any(record["status"] == "violated" for record in records)
            print_summary(console, records)
        if climbed.exists():
            for one in json.loads(climbed.read_text(encoding="utf-8"))["ladders"]:
                failed |= not one["in_order"]
                said = f"Ladder, {one['label'] or 'this experiment'}: {one['sentence']}"
                console.print(said, highlight=False, markup=False)
    console.print(f"Report: {path}", highlight=False, soft_wrap=True)
    if failed:
        raise typer.Exit(1)
