"""Answer questions: ``python -m simulations`` is ``frugal-theory study`` for a checkout, whose figures it keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from frugal_theory.commands.options import Cluster, Jobs, Settings, application, in_one_line
from frugal_theory.commands.study import Names, answer_all
from frugal_theory.results.files import finished

FIGURES = Path(__file__).parent / "figures"

Keep = Annotated[bool, typer.Option("--keep", help="Write the figures to simulations/figures too.")]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the results; every question has its own in it.")]


def answer(
    names: Names = None,
    settings: Settings = None,
    keep: Keep = False,
    out: Out = Path("runs"),
    jobs: Jobs = None,
    cluster: Cluster = None,
) -> None:
    """Answer questions about the method, each by one experiment: writes DIR/NAME/{table.csv, figures/, study.json}."""
    for name, found in answer_all(names or [], settings, lambda name: out / name, jobs, cluster):
        for picture in found.pictures.values() if keep else ():
            with finished(FIGURES / f"{name}.png") as temporary:
                temporary.write_bytes(picture)


def main() -> None:
    """Exit status 0: done; 2: bad input; 130: interrupted."""
    app = application("Questions about the method, each answered by one experiment.")
    app.command()(answer)
    in_one_line(lambda: app(standalone_mode=False))


if __name__ == "__main__":
    main()
