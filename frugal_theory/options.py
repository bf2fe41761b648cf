"""What the command lines of both packages have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["ExperimentFile", "Out", "Settings", "application"]

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
