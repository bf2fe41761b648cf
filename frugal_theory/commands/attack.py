"""frugal-theory attack: the worst instance as an experiment file, and how close it comes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from frugal_theory.commands.options import ExperimentFile, Settings, path_given
from frugal_theory.config.load import load, parse_overrides
from frugal_theory.config.one_line import printable

__all__ = ["attack"]

Theorem = Annotated[str | None, typer.Option("--theorem", help="Default: the first of the experiment's that applies.")]
Search = Annotated[str, typer.Option("--search", help="What is searched; schedule, beta, learning_rate are possible too.")]
Evaluations = Annotated[int, typer.Option("--evaluations", min=1, help="Instances that are tried.")]
Optimizer = Annotated[str, typer.Option("--optimizer", help="differential-evolution or dual-annealing.")]
OutFile = Annotated[
    Path | None, typer.Option("--out", metavar="FILE", parser=path_given, help="Default: runs/NAME/attack.toml.")
]


def attack(
    experiment: ExperimentFile,
    settings: Settings = None,
    theorem: Theorem = None,
    search: Search = "spectrum,start,noise,set",
    evaluations: Evaluations = 2000,
    optimizer: Optimizer = "differential-evolution",
    out: OutFile = None,
) -> None:
    """Search for the instance on which a theorem is tightest, by the exact engine. Exit status 1 if one violates it."""
    from rich.console import Console

    from frugal_theory.results.files import check_place, write_text
    from frugal_theory.studies.attack import AttackStudy
    from frugal_theory.studies.runner import beside, carry_out

    loaded = load(experiment, parse_overrides(settings or []))
    path = out or Path("runs") / loaded.name / "attack.toml"
    check_place(path)
    study = AttackStudy(theorem, [part.strip() for part in search.split(",")], evaluations, optimizer)
    answer = carry_out(study, loaded, beside(path.parent, loaded.name, study)).answer
    assert study.found is not None
    write_text(path, study.found.toml)
    console, style = Console(), "bold red" if answer.failed else ""
    console.print(answer.sentence, style=style, highlight=False, soft_wrap=True)
    if answer.failed:
        said = f"VIOLATED: the exact expectation is above the bound. {study.found.verdict.reason}"
        console.print(said, style=style, soft_wrap=True)
    said = printable(f"Worst instance: {path}   Judge it: frugal-theory verify {path}")
    console.print(said, highlight=False, soft_wrap=True, markup=False)
    if answer.failed:
        raise typer.Exit(1)
