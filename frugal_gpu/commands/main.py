"""The command line: frugal-gpu. Heavy libraries are imported once the experiment file has been read without error."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress as Bars
from rich.table import Table

from frugal_theory.commands.options import INTERRUPTED, ExperimentFile, Out, Settings, application, in_one_line
from frugal_theory.config.load import ExperimentError, cells, dump, load, parse_overrides
from frugal_theory.results.files import make_folder, write_text

if TYPE_CHECKING:
    from frugal_gpu.train.loop import Outcome
    from frugal_theory.config import Experiment

__all__ = ["app", "main"]

app = application("Train LLaMA models with the FRUGAL algorithm family.")


def main() -> None:
    """Entry point. Exit status 0: done; 2: bad input or results that cannot be written; 130: interrupted."""
    in_one_line(lambda: app(standalone_mode=False))


@app.command()
def train(
    experiment: ExperimentFile,
    settings: Settings = None,
    out: Out = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an unfinished run from its last checkpoint.")] = False,
    sweep: Annotated[
        bool, typer.Option("--sweep", help="Train every cell of the sweep, each in training/CELL, not the file's own settings.")
    ] = False,
) -> None:
    """Train the experiment's model with its algorithm; results in DIR/training.

    A run that is complete is not repeated. An unfinished one is continued with --resume and refused without it. Ctrl-C
    ends the running step, writes a checkpoint and says how to continue (exit status 130).
    """
    loaded = load(experiment, parse_overrides(settings or []))
    folder = out or Path("runs") / loaded.name
    runs = _runs(loaded, folder / "training", sweep)
    try:
        from frugal_gpu.train.loop import check

        for each, place in runs:
            check(each, place, resume)
        make_folder(folder)
        write_text(folder / "experiment.toml", dump(loaded))
        for each, place in runs:
            _train_one(each, place, resume)
    except ExperimentError as error:
        raise ExperimentError(f"{experiment}: {error}") from None


@app.command()
def memory(experiment: ExperimentFile, settings: Settings = None) -> None:
    """Weights, gradients and optimizer state of the experiment and its neighbours, from shapes alone."""
    loaded = load(experiment, parse_overrides(settings or []))
    from frugal_gpu.studies.memory import memory_table

    try:
        rows = memory_table(loaded)
    except ExperimentError as error:
        raise ExperimentError(f"{experiment}: {error}") from None
    unit, size = ("GiB", 2**30) if max(row.total for row in rows) >= 2**30 else ("MiB", 2**20)
    table = Table("method", box=None, pad_edge=False, header_style="dim")
    for name in ("weights", "gradients", "state", "selection", "together"):
        table.add_column(f"{name}, {unit}", justify="right")
    for row in rows:
        parts = (row.parameters, row.gradients, row.state, row.selection, row.total)
        table.add_row(row.method, *(f"{part / size:,.2f}" for part in parts))
    console = Console()
    console.print(table)
    console.print("float32; without activations. selection: index of the units in the set.", highlight=False, style="dim")


@app.command()
def bench(
    preset: Annotated[
        str | None, typer.Option("--preset", help="The model's shape (default: llama-tiny on a CPU, llama-130m on a GPU).")
    ] = None,
    density: Annotated[float, typer.Option("--density", min=0.0, max=1.0, help="State-full fraction ρ.")] = 0.25,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Timed steps of each optimizer.")] = 30,
) -> None:
    """Time an optimizer step of FRUGAL's variants as ratios to torch.optim.AdamW, on a GPU if there is one."""
    import torch

    from frugal_gpu.model.llama import SHAPES
    from frugal_gpu.studies.bench import bench as measure

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    preset = preset or ("llama-130m" if device.type == "cuda" else "llama-tiny")
    if preset not in SHAPES:
        raise ExperimentError(f"--preset {preset}: allowed: {', '.join(SHAPES)}")
    table = Table("optimizer", box=None, pad_edge=False, header_style="dim")
    for name in ("ms a step", "× AdamW", "slowest / median"):
        table.add_column(name, justify="right")
    with Bars(console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("rounds", total=rounds + 2)
        rows = measure(preset, density, rounds, device, lambda done, _: bars.update(task, completed=done))
    for row in rows:
        table.add_row(row.name, f"{1e3 * row.seconds:.2f}", f"{row.ratio:.2f}", f"{row.slowest:.1f}")
    console = Console()
    console.print(f"{preset} on {device.type}, density {density:g}, new subspace every 10 steps", highlight=False)
    console.print(table)


def _runs(experiment: Experiment, folder: Path, sweep: bool) -> list[tuple[Experiment, Path]]:
    """The experiments to train and their folders."""
    if not sweep:
        return [(experiment.model_copy(update={"sweep": {}, "cases": []}), folder)]
    return [(cell.experiment, folder / (_slug(cell.label) or ".")) for cell in cells(experiment)]


def _slug(label: str) -> str:
    """A cell's label as a folder name: ``density = 0.5, beta = 0.9`` to ``density-0.5_beta-0.9``."""
    return re.sub(r"[^\w.+-]+", "-", label.replace(" = ", "-").replace(", ", "_")).strip("-")


def _train_one(experiment: Experiment, folder: Path, resume: bool) -> None:
    from frugal_gpu.train.loop import train as run
    from frugal_gpu.train.progress import Progress

    main_process = os.environ.get("RANK", "0") == "0"  # set by torchrun and accelerate launch
    console = Console(quiet=not main_process)
    outcome = run(experiment, folder, resume, Progress(console))
    if outcome.status == "interrupted":
        kept = f"step {outcome.step} is kept in {folder}" if outcome.step else "no step was finished"
        print(f"interrupted: {kept}; the same command with --resume continues", file=sys.stderr)
        raise SystemExit(INTERRUPTED)
    _print_outcome(console, outcome)


def _print_outcome(console: Console, outcome: Outcome) -> None:
    summary = outcome.summary
    if outcome.status == "already complete":
        console.print(f"{outcome.folder}: already complete; give another --out to train again", highlight=False, soft_wrap=True)
    unigram, final = summary["unigram_perplexity"], summary["final_validation_perplexity"]
    console.print(
        f"validation perplexity {final:.2f}, {summary['initial_validation_perplexity']:.2f} before the first step: "
        f"{final / unigram:.2f} of the unigram perplexity {unigram:.2f}",
        highlight=False,
        soft_wrap=True,
    )
    held, adamw = summary["optimizer_state_bytes"], summary["adamw_state_bytes"]
    console.print(
        f"{summary['tokens']:,} tokens in {summary['seconds']:.1f} s; optimizer state {held / 2**20:.1f} MiB "
        f"(AdamW: {adamw / 2**20:.1f} MiB)",
        highlight=False,
        soft_wrap=True,
    )
    console.print(f"Results: {outcome.folder}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
