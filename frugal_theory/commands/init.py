"""frugal-theory init: experiments to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from frugal_theory.config.load import ExperimentError
from frugal_theory.config.one_line import printable
from frugal_theory.results.files import make_folder, write_text

__all__ = ["EXAMPLES", "init"]

EXAMPLES = Path(__file__).parents[1] / "simulations"
"""The experiments that come with this package."""

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Where to: a new folder, or one without files of these names.")]


def init(folder: Folder) -> None:
    """Write example experiments into DIR: the demo, and one for every question that `study` lists."""
    examples = sorted(EXAMPLES.glob("*.toml"))
    there = [example.name for example in examples if (folder / example.name).exists()]
    if there:
        raise ExperimentError(f"{folder / there[0]}: exists already; give a folder without it")
    make_folder(folder)
    for example in examples:
        write_text(folder / example.name, example.read_text(encoding="utf-8"))
    print(printable(f"{len(examples)} experiments in {folder}: begin with  frugal-theory verify {folder / 'demo.toml'}"))
