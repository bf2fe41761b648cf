"""frugal-theory report: one page of one or several results folders."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from frugal_theory.commands.options import path_given
from frugal_theory.commands.verdict_table import print_practice, print_summary
from frugal_theory.config.load import ExperimentError
from frugal_theory.config.one_line import printable
from frugal_theory.results.schema import LADDERS, PRACTICE_VERDICTS, VERDICTS

__all__ = ["report"]

EVERY = 10.0
"""Seconds between two reports of a run in progress."""


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Results folders, e.g. runs/demo.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", parser=path_given, help="Default: report.html in the first RUN.")
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Write it anew while a training run goes on; an open page follows.")
    ] = False,
) -> None:
    """Write report.html: bounds, training curve, verdicts. Exit status 1 if one is violated, or contradicted."""
    from frugal_theory.report import write_report
    from frugal_theory.results.files import check_place

    if out is not None:
        check_place(out)

    console, failed = Console(), False
    try:
        if watch:
            _follow(console, runs, out)
        path = write_report(*runs, out=out)
    except ValueError as error:
        raise ExperimentError(str(error)) from error
    for folder in runs:
        if len(runs) > 1:
            console.print(f"[bold]{escape(printable(str(folder)))}[/bold]", highlight=False)
        verdicts, climbed = folder / VERDICTS.path, folder / LADDERS.path
        if verdicts.exists():
            records = json.loads(verdicts.read_text(encoding="utf-8"))
            failed |= any(record["status"] == "violated" for record in records)
            print_summary(console, records)
        for path_, records in _practice(folder):
            failed |= any(record["status"] == "contradicted" for record in records)
            console.print(f"[bold]{escape(printable(path_))}[/bold]", highlight=False)
            print_practice(console, records)
        if climbed.exists():
            for one in json.loads(climbed.read_text(encoding="utf-8"))["ladders"]:
                failed |= not one["in_order"]
                said = f"Ladder, {one['label'] or 'this experiment'}: {one['sentence']}"
                console.print(said, highlight=False, markup=False)
    console.print(f"Report: {printable(str(path))}", highlight=False, soft_wrap=True, markup=False)
    if failed:
        raise typer.Exit(1)


def _follow(console: Console, runs: list[Path], out: Path | None) -> None:
    """Write the report again and again until no training run of the folders is unfinished, or until Ctrl-C.

    Raises ValueError as :func:`frugal_theory.report.write_report` does, for what is wrong from the start; what a run that is
    being written is caught at is tried again.
    """
    from frugal_theory.report import unfinished, write_report

    try:
        path = write_report(*runs, out=out, reload=EVERY)
        console.print(f"Report: {path}, again every {EVERY:g} s while a run goes on; Ctrl-C ends that", highlight=False)
        while unfinished(*runs):
            time.sleep(EVERY)
            with suppress(ValueError):
                write_report(*runs, out=out, reload=EVERY)
    except KeyboardInterrupt:
        console.print("No longer watched: this is the last report", highlight=False)


def _practice(folder: Path) -> list[tuple[str, list[dict[str, Any]]]]:
    """The verdicts on training runs, the folder's own and those of a sweep's cells, with what each is called."""
    own = folder / PRACTICE_VERDICTS.path
    found = [("Training", own)] if own.is_file() else []
    found += [(f"Training, {path.parent.name}", path) for path in sorted(own.parent.glob(f"*/{own.name}"))]
    return [(name, json.loads(path.read_text(encoding="utf-8"))) for name, path in found]
