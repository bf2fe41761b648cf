"""frugal-gpu plan: memory, communication and time of large models by number of ranks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from frugal_theory.commands.options import path_given
from frugal_theory.config.load import ExperimentError

if TYPE_CHECKING:
    import pandas as pd

    from frugal_gpu.studies.scale import Machine

__all__ = ["plan"]

GIB = 2**30
MOST_RANKS = 10**6

Models = Annotated[list[str] | None, typer.Argument(metavar="[MODEL ...]", help="1B, 3B, 7B, 13B, 30B, 70B; all by default.")]
Ranks = Annotated[str, typer.Option("--ranks", help="Numbers of ranks, with commas.")]
Flops = Annotated[float, typer.Option("--flops", min=1, max=1e24, help="FLOP a second that a rank's matrix products reach.")]
Bandwidth = Annotated[
    float, typer.Option("--bandwidth", min=1, max=1e18, help="Bytes a second of a rank's memory, read and written.")
]
Network = Annotated[float, typer.Option("--network", min=1, max=1e18, help="Bytes a second that a rank receives.")]
Memory = Annotated[float, typer.Option("--memory", min=1, max=1e6, help="GiB of a rank.")]
Rows = Annotated[int, typer.Option("--rows", min=1, max=10**6, help="Sequences of a rank's step.")]
Length = Annotated[int, typer.Option("--length", min=2, max=10**8, help="Tokens of a sequence.")]
Gap = Annotated[int, typer.Option("--update-gap", min=1, max=10**9, help="Steps over which a new basis is spread.")]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", parser=path_given, help="Results folder.")]


def plan(
    models: Models = None,
    ranks: Ranks = "1,2,4,8,16,32,64,128,256,512,1024",
    flops: Flops = 4e14,
    bandwidth: Bandwidth = 3e12,
    network: Network = 5e10,
    memory: Memory = 80,
    rows: Rows = 4,
    length: Length = 2048,
    update_gap: Gap = 200,
    out: Out = Path("runs/scale"),
) -> None:
    """Memory of a rank, what it receives and how long a step takes, by model, system and number of ranks under FSDP2.

    From shapes alone; DIR/scale.md has the tables (docs/scale.md).
    """
    from frugal_gpu.studies.scale import MODELS, Machine, Scale
    from frugal_theory.results.files import write_text
    from frugal_theory.studies.runner import carry_out

    chosen = tuple(dict.fromkeys(models or MODELS))
    if unknown := [name for name in chosen if name not in MODELS]:
        raise ExperimentError(f"plan: {unknown[0]} is no model; allowed: {', '.join(MODELS)}")
    machine = Machine(flops, bandwidth, network, memory * GIB, rows, length, update_gap)
    found = carry_out(Scale(machine, chosen, _numbers(ranks)), None, out)
    text = page(found.table, machine, found.answer.sentence)
    write_text(out / "scale.md", text + "\n")
    print(text)


def _numbers(text: str) -> tuple[int, ...]:
    try:
        found = tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError:
        found = ()
    if not found or found[0] < 1 or found[-1] > MOST_RANKS:
        raise ExperimentError(
            f"--ranks {text}: numbers from 1 to {MOST_RANKS:,} with commas between them are allowed, such as 1,8,64"
        )
    return found


def page(table: pd.DataFrame, machine: Machine, answer: str) -> str:
    """The tables as Markdown: memory by model and system over ranks, its parts at two of them, traffic and time."""
    ranks = sorted(table["ranks"].unique())
    said = (
        f"{machine.rows} × {machine.length} tokens a rank and step, {machine.flops:.3g} FLOP/s, {machine.memory / GIB:g} GiB "
        f"of memory at {machine.bandwidth:.3g} B/s, network {machine.network:.3g} B/s, T = {machine.update_gap}."
    )
    lines = [said, "", answer, "", "### Memory of the fullest rank, GiB", ""]
    lines += _lines(["model", "system", *(f"{r:,}" for r in ranks)], _memory(table, machine))
    middle = ranks[len(ranks) // 2]
    lines += ["", f"### What it is made of, {middle:,} ranks, GiB", ""]
    columns = ("parameters", "gradients", "state", "unsharded", "temporaries", "activations")
    body = [[r["model"], r["system"], *(f"{r[c] / GIB:.2f}" for c in columns)] for _, r in _at(table, middle)]
    lines += _lines(["model", "system", *columns], body)
    lines += ["", f"### Traffic and time of a step, {ranks[-1]:,} ranks", ""]
    times = ("compute", "network", "gather", "optimizer", "refresh", "step")
    body = [
        [
            *(row["model"], row["system"], f"{(row['all_gather'] + row['reduce_scatter']) / GIB:.1f}"),
            *(f"{row['optimizer'] / GIB:.1f}", *(f"{row[f'{time}_seconds']:.3f}" for time in times)),
        ]
        for _, row in _at(table, ranks[-1])
    ]
    head = ["model", "system", "layers, GiB", "optimizer, GiB", *(f"{time}, s" for time in times)]
    return "\n".join([*lines, *_lines(head, body)])


def _at(table: pd.DataFrame, ranks: int) -> Any:
    """The rows of a number of ranks."""
    return table[table["ranks"] == ranks].iterrows()


def _memory(table: pd.DataFrame, machine: Machine) -> list[list[str]]:
    """A row a model and system; what does not fit is in brackets."""
    found = []
    for (model, system), own in table.groupby(["model", "system"], sort=False):
        totals = own.sort_values("ranks")["total"]
        found.append([model, system, *(f"{x / GIB:.1f}" if x <= machine.memory else f"({x / GIB:,.1f})" for x in totals)])
    return found


def _lines(head: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(line)} |" for line in (head, ["---", "---", *("---:" for _ in head[2:])], *rows)]
