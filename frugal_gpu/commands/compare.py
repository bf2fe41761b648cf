"""frugal-gpu compare: every system on one small model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from frugal_theory.commands.options import path_given

__all__ = ["compare"]

Steps = Annotated[int, typer.Option("--steps", min=20, help="Steps of each run.")]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", parser=path_given, help="Results folder.")]


def compare(steps: Steps = 160, out: Out = Path("runs/family")) -> None:
    """Train every system on the same small model and tokens (minutes): loss at equal steps and at equal bytes of state."""
    from rich.console import Console
    from rich.table import Table

    from frugal_gpu.studies.family import Family, final
    from frugal_theory.studies.runner import carry_out

    found = carry_out(Family(steps), None, out)
    table = Table("system", box=None, pad_edge=False, header_style="dim")
    for name in ("density", "learning rate", "state, KiB", "final loss"):
        table.add_column(name, justify="right")
    for _, row in final(found.table).sort_values("loss").iterrows():
        density = "" if row["density"] != row["density"] else f"{row['density']:g}"
        rate = f"{row['learning_rate']:g}{'*' if row['edge'] else ' '}"
        table.add_row(row["system"], density, rate, f"{row['state_bytes'] / 1024:.1f}", f"{row['loss']:.4f}")
    console = Console()
    console.print(table)
    console.print("* the smallest or largest rate that was tried: another may be better", style="dim", highlight=False)
    console.print(found.answer.sentence, highlight=False)
