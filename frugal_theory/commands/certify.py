"""frugal-theory certify: a proof of a bound for the experiment's configuration, in a file that SymPy alone can check."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import Annotated

import typer

from frugal_theory.commands.options import ExperimentFile, Settings, path_given
from frugal_theory.config.load import load, parse_overrides
from frugal_theory.config.one_line import printable

__all__ = ["certify"]

OutFile = Annotated[
    Path | None, typer.Option("--out", metavar="FILE", parser=path_given, help="Default: runs/NAME/certificate.json.")
]
Trade = Annotated[
    float | None,
    typer.Option(
        "--trade", min=0.0, help="Weight of noise against transient (default: what makes the bound smallest at the last step)."
    ),
]
Horizons = Annotated[
    list[int] | None,
    typer.Option("--horizon", metavar="N", min=1, help="Also certify runs of N steps; repeat it (default: 5, 10, 20)."),
]


def certify(
    experiment: ExperimentFile,
    settings: Settings = None,
    out: OutFile = None,
    trade: Trade = None,
    horizon: Horizons = None,
) -> None:
    """Prove a bound for every cell's α, β, L and momentum sets. Exit status 1 if no certificate is found for one of them."""
    from rich.console import Console

    from frugal_theory.certificates import NotCertified, check, checker
    from frugal_theory.config.cells import cells
    from frugal_theory.instance import instance_of
    from frugal_theory.results.files import check_place, write_text
    from frugal_theory.theorems.certified import HORIZONS, CertifiedFor
    from frugal_theory.verdicts.certify import certify as certified

    loaded = load(experiment, parse_overrides(settings or []))
    path = out or Path("runs") / loaded.name / "certificate.json"
    check_place(path)
    console = Console()
    proved, failed = [], False
    for cell in cells(loaded):
        begun = perf_counter()
        if cell.label:
            console.print(cell.label, style="bold", highlight=False, markup=False)
        try:
            theorem = certified(cell.experiment, trade=trade, horizons=horizon or HORIZONS)
        except NotCertified as error:
            failed = True
            console.print(f"  ✗ not certified: {error}", style="bold red", highlight=False, markup=False, soft_wrap=True)
            continue
        setting = instance_of(cell).setting
        for one in theorem.certificates(setting):
            proved.append(one)
            console.print(f"  ✓ {check(one)}", highlight=False, markup=False, soft_wrap=True)
        last = theorem.bound(setting)[-1]
        console.print(f"  bound at K = {setting.steps}: {last:.4g}   ({perf_counter() - begun:.1f} s)", highlight=False)
    if proved:
        write_text(path, CertifiedFor(proved).text)
        said = printable(f"Certificates: {path}   Check them: python {checker.__file__} {path}")
        console.print(said, highlight=False, soft_wrap=True, markup=False)
    if failed:
        raise typer.Exit(1)
