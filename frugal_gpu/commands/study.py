"""frugal-gpu study: the tables of the paper, trained at a size that a CPU can bear, or a GPU's."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from frugal_theory.commands.options import INTERRUPTED, path_given
from frugal_theory.config.load import ExperimentError

if TYPE_CHECKING:
    from frugal_theory.studies.study import Study

__all__ = ["study"]

TIMED = {"cpu": ("llama-tiny", "llama-9m"), "gpu": ("llama-60m", "llama-130m", "llama-350m")}
"""Models whose optimizer steps are timed."""

GUESS = 30.0
"""Seconds of a run of which nothing is known."""

Names = Annotated[
    list[str] | None, typer.Argument(metavar="[NAME ...]", help="Studies, or all; none lists them with their questions.")
]
SizeOption = Annotated[str, typer.Option("--size", help="cpu: 0.2 million parameters, 294,912 tokens; gpu: 60M, 26 million.")]
Out = Annotated[
    Path, typer.Option("--out", metavar="DIR", parser=path_given, help="Folder of the results; DIR/runs keeps every run.")
]
Seconds = Annotated[float | None, typer.Option("--seconds", min=1, help="No run is begun after these.")]
Page = Annotated[
    Path | None, typer.Option("--page", metavar="FILE", help='Write what is done below "## The tables" of a Markdown file.')
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say how many runs are missing and what they take; train nothing.")]


def study(
    names: Names = None,
    size: SizeOption = "cpu",
    out: Out = Path("runs/studies"),
    seconds: Seconds = None,
    dry_run: DryRun = False,
    page: Page = None,
) -> None:
    """Train the tables of the paper and of its authors' answers, and hold their orderings against what was reported.

    Tables share runs, each kept as soon as it is there: the same command goes on where it was stopped.
    """
    if not names:
        for name, one in _studies("cpu", None).items():
            print(f"{name:16} {one.question}")
        print("\nfrugal-gpu study NAME answers one, frugal-gpu study all every one.")
        return
    from frugal_gpu.studies.tables import pages
    from frugal_gpu.studies.tables.bank import Bank, OutOfTimeError, Plan
    from frugal_gpu.studies.tables.recipes import SIZES
    from frugal_theory.studies.runner import carry_out

    if size not in SIZES:
        raise ExperimentError(f"--size {size}: is none; allowed: {', '.join(SIZES)}")
    out = out / size
    bank = Bank(out / "runs", seconds, lambda name: print(f"    {name}", flush=True))
    chosen = _chosen(names, _studies(size, bank))
    if dry_run:
        _plan(chosen, size, Plan(bank))
        return
    for name, one in chosen.items():
        print(f"{name}: {one.question}", flush=True)
        try:
            found = carry_out(one, None, out / name)
        except (OutOfTimeError, SystemExit) as stop:  # the second: between two runs
            print(f"stopped: every run that is done is kept in {out / 'runs'}; the same command goes on")
            if page is not None:
                pages.publish(out, page)
            raise typer.Exit(0 if isinstance(stop, OutOfTimeError) and bank.over else INTERRUPTED) from None
        print(f"    {found.answer.sentence}\n    {found.answer.status}; {out / name}\n", flush=True)
        pages.page(out)
    if page is not None:
        pages.publish(out, page)


def _plan(chosen: dict[str, Study], size: str, plan: Any) -> None:
    """What is missing, table by table; runs that tables share are counted once."""
    from frugal_theory.studies.study import ALONE

    for name, one in _studies(size, plan).items():
        if name not in chosen:
            continue
        before = plan.missing
        if hasattr(one, "runs"):
            one.measure(None, ALONE)
        print(f"{name:16} {plan.missing - before:4} runs are missing")
    print(
        f"{plan.missing} of {len(plan.asked)} runs are missing: {plan.seconds(GUESS) / 60:.0f} minutes at the pace of the rest"
    )


def _studies(size: str, runs: Any) -> dict[str, Study]:
    """Every study at a size, in the order in which they are best done."""
    from frugal_gpu.studies.tables.others import Angles, MemoryBySize, Rates, TimeBySize
    from frugal_gpu.studies.tables.recipes import SIZES
    from frugal_gpu.studies.tables.study import PaperTable
    from frugal_gpu.studies.tables.tables import TABLES

    tables: list[Any] = [PaperTable(table, SIZES[size], runs) for table in TABLES.values()]
    first = [one for one in tables if one.name in ("table-2", "table-1", "table-8", "table-3")]
    first.sort(key=lambda one: ("table-2", "table-1", "table-8", "table-3").index(one.name))
    rest = [one for one in tables if one not in first]
    own: list[Any] = [
        *first,
        Rates(SIZES[size], runs),
        *rest,
        Angles(SIZES[size], runs),
        MemoryBySize(),
        TimeBySize(TIMED[size]),
    ]
    return {one.name: one for one in own}


def _chosen(names: list[str], known: dict[str, Study]) -> dict[str, Study]:
    for name in names:
        if name not in known and name != "all":
            close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f'did you mean "{close[0]}"? ' if close else ""
            raise ExperimentError(f'study: "{name}" is not a study; {hint}allowed: {", ".join(known)}, all')
    return {name: one for name, one in known.items() if "all" in names or name in names}
