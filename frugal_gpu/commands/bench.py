"""frugal-gpu bench: a row an optimizer, as ratios to AdamW."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from frugal_theory.config.load import ExperimentError

__all__ = ["bench"]

Preset = Annotated[
    str | None, typer.Option("--preset", help="The model's shape (default: llama-60m on a CPU, llama-130m on a GPU).")
]
Density = Annotated[float, typer.Option("--density", min=0.0, max=1.0, help="State-full fraction ρ.")]
Rounds = Annotated[int, typer.Option("--rounds", min=1, help="Timed steps of each optimizer.")]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Results folder.")]


def bench(preset: Preset = None, density: Density = 0.25, rounds: Rounds = 30, out: Out = Path("runs/bench")) -> None:
    """Time an optimizer step of FRUGAL's variants as ratios to torch's fused AdamW, on a GPU if there is one."""
    import torch
    from rich.console import Console
    from rich.table import Table

    from frugal_gpu.model.llama import SHAPES
    from frugal_gpu.studies.bench import Bench
    from frugal_theory.studies.runner import carry_out

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    preset = preset or ("llama-130m" if device.type == "cuda" else "llama-60m")
    if preset not in SHAPES:
        raise ExperimentError(f"--preset {preset}: allowed: {', '.join(SHAPES)}")
    found = carry_out(Bench(preset, density, rounds, device), None, out)
    table = Table("optimizer", box=None, pad_edge=False, header_style="dim")
    for name in ("ms a step", "× fused AdamW", "new subspace / step", "temporaries / parameters"):
        table.add_column(name, justify="right")
    for _, row in found.table.iterrows():
        shown = (f"{1e3 * row['seconds']:.2f}", f"{row['ratio']:.2f}", f"{row['refresh']:.1f}", f"{row['temporaries']:.2f}")
        table.add_row(row["name"], *(value.replace("nan", "–") for value in shown))
    console = Console()
    console.print(f"{preset} on {device.type}, density {density:g}, new subspace every 10 steps", highlight=False)
    console.print(table)
