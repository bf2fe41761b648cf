"""frugal-theory verify and simulate: evidence of every cell, kept as soon as it is there, and verdicts on it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from frugal_theory.commands.options import CORES, Cluster, ExperimentFile, Jobs, Out, Settings
from frugal_theory.config.load import load, parse_overrides
from frugal_theory.studies.interruption import interruptible

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from frugal_theory.config import Experiment
    from frugal_theory.evidence.evidence import Evidence
    from frugal_theory.verdicts.claims import Claims
    from frugal_theory.verdicts.verdict import Verdict

__all__ = ["simulate", "verify"]


def verify(
    experiment: ExperimentFile, settings: Settings = None, out: Out = None, jobs: Jobs = None, cluster: Cluster = None
) -> None:
    """Judge the experiment's theorems in every cell of its sweep. Exit status 1 if one is violated."""
    loaded = load(experiment, parse_overrides(settings or []))
    folder, ready, evidence = _gather(loaded, out, jobs or CORES, cluster)
    evidence, verdicts = _settle(loaded, folder, ready, evidence, jobs or CORES, cluster)
    _finish(folder, loaded, ready, evidence, verdicts)
    from rich.console import Console

    from frugal_theory.commands.verdict_table import print_verdicts, verdict_sentence

    console = Console()
    print_verdicts(console, ready, verdicts)
    console.print("\n" + verdict_sentence(verdicts, loaded.verify.confidence), highlight=False)
    console.print(f"Results: {folder}   Report: frugal-theory report {folder}", highlight=False, soft_wrap=True)
    if any(verdict.status == "violated" for verdict in verdicts):
        raise typer.Exit(1)


def simulate(
    experiment: ExperimentFile, settings: Settings = None, out: Out = None, jobs: Jobs = None, cluster: Cluster = None
) -> None:
    """Gather Monte Carlo evidence for every cell of the experiment, without judging anything."""
    loaded = load(experiment, parse_overrides(settings or []))
    folder, ready, evidence = _gather(loaded, out, jobs or CORES, cluster, added=False)
    _finish(folder, loaded, ready, evidence, None)
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table("cell", "learning rate", "average ‖g‖² up to the last step", "interval", box=None, pad_edge=False)
    for claims, metrics in zip(ready, evidence, strict=True):
        found = metrics["squared_gradient_norm"]
        interval = f"[{found.lower[-1]:.4g}, {found.upper[-1]:.4g}]"
        table.add_row(claims.cell.label or loaded.name, f"{claims.setting.alpha:.4g}", f"{found.mean[-1]:.4g}", interval)
    console.print(table)
    console.print(f"Results: {folder}", highlight=False, soft_wrap=True)


def _gather(
    experiment: Experiment, out: Path | None, jobs: int, cluster: str | None, *, added: bool = True
) -> tuple[Path, list[Claims], list[dict[str, Evidence]]]:
    """Folder, claims and evidence of every cell; cells that an interrupted run finished are taken from it, unless trials
    were ``added`` to them and are not wanted."""
    from frugal_theory.results.files import make_folder
    from frugal_theory.results.interrupted import load_cell, save_cell
    from frugal_theory.verdicts.claims import claims_of
    from frugal_theory.verdicts.verify import gather_all

    ready = claims_of(experiment)
    folder = out or Path("runs") / experiment.name
    make_folder(folder)
    evidence = [load_cell(folder, claims) for claims in ready]
    if not added:
        begun = [claims.cell.experiment.simulation.trials for claims in ready]
        evidence = [e if e and all(m.trials <= n for m in e.values()) else None for e, n in zip(evidence, begun, strict=True)]
    missing = [number for number, found in enumerate(evidence) if found is None]
    if len(missing) < len(ready):
        print(f"{len(ready) - len(missing)} of {len(ready)} cells are those of an interrupted run in {folder}", file=sys.stderr)
    with _interruptible(folder, evidence), _progress(ready, experiment.name) as progress:
        work = gather_all([ready[number] for number in missing], jobs=jobs, cluster=cluster, progress=progress)
        for number, found in zip(missing, work, strict=True):
            save_cell(folder, ready[number], found)
            evidence[number] = found
    return folder, ready, [found for found in evidence if found is not None]


def _settle(
    experiment: Experiment,
    folder: Path,
    ready: Sequence[Claims],
    evidence: Sequence[dict[str, Evidence]],
    jobs: int,
    cluster: str | None,
) -> tuple[list[dict[str, Evidence]], list[Verdict]]:
    """Verdicts, with trials added to the cells that are open; what was added survives an interruption, too."""
    from frugal_theory.results.interrupted import save_cell
    from frugal_theory.verdicts.verify import settle_all

    with _interruptible(folder, evidence), _progress(ready, experiment.name, ", some added to settle it") as progress:
        return settle_all(
            ready,
            evidence,
            experiment.verify.confidence,
            jobs=jobs,
            cluster=cluster,
            progress=progress,
            keep=lambda claims, found: save_cell(folder, claims, found),
        )


def _interruptible(folder: Path, evidence: Sequence[dict[str, Evidence] | None]) -> AbstractContextManager[None]:
    return interruptible(folder, lambda: (sum(found is not None for found in evidence), len(evidence)))


def _finish(
    folder: Path,
    experiment: Experiment,
    ready: Sequence[Claims],
    evidence: Sequence[dict[str, Evidence]],
    verdicts: Sequence[Verdict] | None,
) -> None:
    from frugal_theory.results.interrupted import drop_cells
    from frugal_theory.results.write import write_results

    write_results(folder, experiment, ready, evidence, verdicts)
    drop_cells(folder, ready)


@contextmanager
def _progress(ready: Sequence[Claims], name: str, more: str = "") -> Iterator[Callable[[Claims, int, int], None]]:
    """A progress bar a cell on a terminal, a line a cell elsewhere; both on stderr."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("trials"))
    labels = {id(claims): f"[{i}/{len(ready)}] {claims.cell.label or name}" for i, claims in enumerate(ready, start=1)}
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, transient=True) as bars:
        tasks: dict[int, TaskID] = {}

        def update(claims: Claims, done: int, trials: int) -> None:
            label = labels[id(claims)]
            if id(claims) not in tasks:
                tasks[id(claims)] = bars.add_task(label, total=trials)
            bars.update(tasks[id(claims)], completed=done, total=trials)
            if done >= trials and not console.is_terminal:
                print(f"{label}: {trials} trials{more}", file=sys.stderr, flush=True)

        yield update
