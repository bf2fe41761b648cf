"""Answer questions: ``python -m simulations`` lists them, ``python -m simulations NAME ...`` (or ``all``) answers them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from frugal_theory.commands.options import application, in_one_line
from frugal_theory.config.load import parse_overrides
from frugal_theory.report.drawing import style
from frugal_theory.results.files import finished, make_folder
from simulations import study

Names = Annotated[list[str] | None, typer.Argument(metavar="[NAME...]", help="Questions, or all; none lists them.")]
Settings = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override one key of the experiments.")]
Keep = Annotated[bool, typer.Option("--keep", help="Write the figures to simulations/figures too.")]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the results; every question has its own in it.")]


def answer(names: Names = None, settings: Settings = None, keep: Keep = False, out: Out = Path("runs")) -> None:
    """Answer questions about the method, each by one experiment: writes runs/NAME/figure.png and runs/NAME/table.csv."""
    if not names:
        for name in study.names():
            print(f"{name:20} {study.question(name).QUESTION}")
        print("\npython -m simulations NAME [NAME...] answers them, python -m simulations all every one.")
        return
    asked_for = {name: study.question(name) for name in names if name != "all"}  # nothing runs if one of the names is wrong
    questions = {name: study.question(name) for name in study.names()} if "all" in names else asked_for
    overrides = parse_overrides(settings or [])
    experiments = {name: study.experiment(name, overrides) for name in questions}
    for name, asked in questions.items():
        folder = out / name
        make_folder(folder)
        print(f"{name}: {asked.QUESTION}", flush=True)
        began = time.perf_counter()
        table = asked.measure(experiments[name])
        with style():
            png = study.picture(asked.draw(table))
        study.write(folder, table, png)
        if keep:
            with finished(study.FIGURES / f"{name}.png") as temporary:
                temporary.write_bytes(png)
        print(f"    {asked.answer(table)}")
        print(f"    {time.perf_counter() - began:.1f} s; {folder / 'figure.png'}, {folder / 'table.csv'}\n", flush=True)


def main() -> None:
    """Exit status 0: done; 2: bad input; 130: interrupted."""
    app = application("Questions about the method, each answered by one experiment.")
    app.command()(answer)
    in_one_line(lambda: app(standalone_mode=False))


if __name__ == "__main__":
    main()
