"""frugal-gpu bench: a row an optimizer, as ratios to AdamW."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from frugal_theory.commands.options import path_given
from frugal_theory.config.load import ExperimentError
from frugal_theory.config.model import MOST_LAYERS

__all__ = ["bench"]

Preset = Annotated[
    str | None, typer.Option("--preset", help="The model's shape (default: llama-60m on a CPU, llama-130m on a GPU).")
]
Density = Annotated[float, typer.Option("--density", min=0.0, max=1.0, help="State-full fraction ρ.")]
Rounds = Annotated[int, typer.Option("--rounds", min=1, help="Timed steps of each optimizer.")]
Layers = Annotated[int | None, typer.Option("--layers", min=1, max=MOST_LAYERS, help="Layers, instead of the preset's.")]
Only = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="NAME", help="Time this one beside AdamW, by the beginning of its name; repeatable."),
]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", parser=path_given, help="Results folder.")]


def bench(
    preset: Preset = None,
    density: Density = 0.25,
    rounds: Rounds = 30,
    layers: Layers = None,
    only: Only = None,
    out: Out = Path("runs/bench"),
) -> None:
    """Time an optimizer step of FRUGAL's variants as ratios to torch's fused AdamW, on a GPU if there is one."""
    import torch
    from rich.console import Console
    from rich.table import Table

    from frugal_gpu.model.llama import SHAPES
    from frugal_gpu.studies.bench import Bench, bytes_needed
    from frugal_theory.instance.sizes import available
    from frugal_theory.studies.runner import carry_out

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    preset = preset or ("llama-130m" if device.type == "cuda" else "llama-60m")
    if preset not in SHAPES:
        raise ExperimentError(f"--preset {preset}: allowed: {', '.join(SHAPES)}")
    if any(not name.strip() for name in only or ()):
        raise ExperimentError("--only: is empty; the beginning of an optimizer's name is allowed")
    study = Bench(preset, density, rounds, device, layers, tuple(only or ()))
    try:
        needed = bytes_needed(study.shape, study.chosen.values())
    except ValueError as error:
        raise ExperimentError(f"--only: {error}") from None
    room = float(torch.cuda.mem_get_info()[0]) if device.type == "cuda" else available()
    if needed > room:
        raise ExperimentError(
            f"--preset {preset}: the state of all {len(study.chosen) + 1} optimizers, weights and gradients need "
            f"{needed / 2**30:.1f} GiB, there are {room / 2**30:.1f}; fewer --layers, or --only NAME, are allowed"
        )
    found = carry_out(study, None, out)
    table = Table("optimizer", box=None, pad_edge=False, header_style="dim")
    for name in ("ms a step", "× fused AdamW", "new subspace / step", "temporaries / parameters"):
        table.add_column(name, justify="right")
    for _, row in found.table.iterrows():
        shown = (f"{1e3 * row['seconds']:.2f}", f"{row['ratio']:.2f}", f"{row['refresh']:.1f}", f"{row['temporaries']:.2f}")
        table.add_row(row["name"], *(value.replace("nan", "–") for value in shown))
    console = Console()
    cut = "" if layers is None else f" with {layers} layers"
    console.print(f"{preset}{cut} on {device.type}, density {density:g}, new subspace every 10 steps", highlight=False)
    console.print(table)
