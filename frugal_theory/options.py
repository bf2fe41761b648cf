"""What the command lines of both packages have in common."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from frugal_theory.loading import ExperimentError

__all__ = ["INTERRUPTED", "ExperimentFile", "Out", "Settings", "application", "in_one_line"]

INTERRUPTED = 130
"""The exit status after Ctrl-C."""

ExperimentFile = Annotated[Path, typer.Argument(metavar="EXPERIMENT.toml", help="The experiment file.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override one key, e.g. algorithm.density=0.5.")
]
Out = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Results folder (default: runs/NAME).")]


def application(purpose: str) -> typer.Typer:
    """An empty command line with plain help texts and plain errors."""
    return typer.Typer(
        help=purpose,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )


def in_one_line(command: Callable[[], Any]) -> None:
    """Run a command; what the user got wrong, or the disk, is one line on stderr and exit status 2, Ctrl-C is 130."""
    try:
        command()
    except ExperimentError as error:
        _stop(str(error), 2)
    except OSError as error:  # ResultsError has said everything itself
        where = f"{error.filename}: " if error.filename else ""
        _stop(f"{where}{error.strerror or error}", 2)
    except KeyboardInterrupt:
        _stop("interrupted", INTERRUPTED)


def _stop(line: str, status: int) -> None:
    print(line, file=sys.stderr)
    raise SystemExit(status) from None
