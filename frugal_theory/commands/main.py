"""The command line: frugal-theory."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from frugal_theory.commands import study as questions
from frugal_theory.commands.options import (
    CORES,
    INTERRUPTED,
    Cluster,
    ExperimentFile,
    Jobs,
    Out,
    Settings,
    application,
    in_one_line,
)
from frugal_theory.commands.rates import rates
from frugal_theory.config.load import ExperimentError, load, parse_overrides
from frugal_theory.results.schema import LADDERS, VERDICTS
from frugal_theory.verdicts.status import STATUSES, counted

if TYPE_CHECKING:
    from frugal_theory.config import Experiment
    from frugal_theory.evidence.evidence import Evidence
    from frugal_theory.verdicts.claims import Claims
    from frugal_theory.verdicts.verdict import Verdict

__all__ = ["app", "main", "print_summary", "print_verdicts", "verdict_sentence"]

app = application("Simulate the FRUGAL algorithm family and judge convergence theorems.")


def main() -> None:
    """Entry point. Exit status 0: done; 1: a theorem was violated; 2: bad input; 130: interrupted."""
    in_one_line(lambda: app(standalone_mode=False))


@app.command()
def verify(
    experiment: ExperimentFile, settings: Settings = None, out: Out = None, jobs: Jobs = None, cluster: Cluster = None
) -> None:
    """Judge the experiment's theorems in every cell of its sweep. Exit status 1 if one is violated."""
    loaded = load(experiment, parse_overrides(settings or []))
    folder, ready, evidence = _gather(loaded, out, jobs or CORES, cluster)
    evidence, verdicts = _settle(loaded, folder, ready, evidence, jobs or CORES, cluster)
    _finish(folder, loaded, ready, evidence, verdicts)
    console = Console()
    print_verdicts(console, ready, verdicts)
    console.print("\n" + verdict_sentence(verdicts, loaded.verify.confidence), highlight=False)
    console.print(f"Results: {folder}   Report: frugal-theory report {folder}", highlight=False, soft_wrap=True)
    if any(verdict.status == "violated" for verdict in verdicts):
        raise typer.Exit(1)


@app.command()
def simulate(
    experiment: ExperimentFile, settings: Settings = None, out: Out = None, jobs: Jobs = None, cluster: Cluster = None
) -> None:
    """Gather Monte Carlo evidence for every cell of the experiment, without judging anything."""
    loaded = load(experiment, parse_overrides(settings or []))
    folder, ready, evidence = _gather(loaded, out, jobs or CORES, cluster, added=False)
    _finish(folder, loaded, ready, evidence, None)
    console = Console()
    table = Table("cell", "learning rate", "average ‖g‖² up to the last step", "interval", box=None, pad_edge=False)
    for study, metrics in zip(ready, evidence, strict=True):
        found = metrics["squared_gradient_norm"]
        interval = f"[{found.lower[-1]:.4g}, {found.upper[-1]:.4g}]"
        table.add_row(study.cell.label or loaded.name, f"{study.setting.alpha:.4g}", f"{found.mean[-1]:.4g}", interval)
    console.print(table)
    console.print(f"Results: {folder}", highlight=False, soft_wrap=True)


app.command()(questions.study)


@app.command()
def theorems() -> None:
    """List the theorems: statement, source, premises, and whether every constant is explicit."""
    from frugal_theory.theorems import THEOREMS

    console = Console()
    for theorem in THEOREMS.values():
        constants = "every constant explicit" if theorem.explicit else "constants hidden: shape only"
        console.print(f"[bold]{theorem.name}[/bold]  {theorem.title}  ({constants})", highlight=False)
        premises = getattr(theorem, "premises", "P1–P6")
        for line in (theorem.statement, f"premises {premises}", f"source: {theorem.source}"):
            console.print(Padding(Text(line), (0, 0, 0, 4), expand=False))
        console.print()
    console.print(
        "P1–P6 are those of docs/theory.md, section 2; all of them are tested, whatever the theorem (docs/premises.md). "
        "The L_j, and that noise is symmetric and unimodal, are what the problem and the noise say.",
        highlight=False,
        soft_wrap=True,
    )


@app.command()
def proofs() -> None:
    """Derive every identity and inequality of the proofs in docs/theory.md with SymPy. Exit status 1 if one fails."""
    from frugal_theory.proofs import prove_all

    console = Console()
    found = prove_all()
    for proof in found:
        mark, failed = ("✓", "") if proof.checked else ("✗", f"  not derived: {', '.join(proof.failed)}")
        console.print(f"{mark} {proof.name}: {proof.statement}{failed}", highlight=False, markup=False)
    if not all(proof.checked for proof in found):
        raise typer.Exit(1)


@app.command(name="self-test")
def self_test(
    budget: Annotated[float, typer.Option("--budget", help="Multiplies the number of trials.")] = 1.0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the noise and of the sets.")] = 0,
    everything: Annotated[bool, typer.Option("--all", help="Show the true counterparts too.")] = False,
) -> None:
    """Plant false theorems and faulty engines. Exit status 1 unless all are caught and nothing true raises an alarm."""
    from frugal_theory.studies.self_test.command import run

    if not run(budget, seed, everything=everything):
        raise typer.Exit(1)


@app.command()
def attack(
    experiment: ExperimentFile,
    settings: Settings = None,
    theorem: Annotated[
        str | None, typer.Option("--theorem", help="Default: the first of the experiment's that applies.")
    ] = None,
    search: Annotated[
        str, typer.Option("--search", help="What is searched; schedule, beta, learning_rate are possible too.")
    ] = "spectrum,start,noise,set",
    evaluations: Annotated[int, typer.Option("--evaluations", min=1, help="Instances that are tried.")] = 2000,
    optimizer: Annotated[str, typer.Option("--optimizer", help="differential-evolution or dual-annealing.")] = (
        "differential-evolution"
    ),
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Default: runs/NAME/attack.toml.")] = None,
) -> None:
    """Search for the instance on which a theorem is tightest, by the exact engine. Exit status 1 if one violates it."""
    from frugal_theory.studies.attack import run

    loaded = load(experiment, parse_overrides(settings or []))
    path = out or Path("runs") / loaded.name / "attack.toml"
    if not run(loaded, theorem, [part.strip() for part in search.split(",")], evaluations, optimizer, path):
        raise typer.Exit(1)


@app.command()
def ladder(experiment: ExperimentFile, settings: Settings = None, out: Out = None, jobs: Jobs = None) -> None:
    """Hold Monte Carlo, exact expectation, worst case and bounds of one short run in order. Exit status 1 if they are not."""
    from frugal_theory.studies.ladder.command import run

    loaded = load(experiment, parse_overrides(settings or []))
    if not run(loaded, out or Path("runs") / loaded.name, jobs or CORES):
        raise typer.Exit(1)


app.command()(rates)


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Results folders, e.g. runs/demo.")],
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Default: report.html in the first RUN.")] = None,
) -> None:
    """Write report.html: the measured metric under its bounds, the training curve, the verdicts, the experiment."""
    from frugal_theory.report import write_report

    try:
        path = write_report(*runs, out=out)
    except ValueError as error:
        raise ExperimentError(str(error)) from error
    console = Console()
    for folder in runs:
        if len(runs) > 1:
            console.print(f"[bold]{escape(str(folder))}[/bold]", highlight=False)
        verdicts, climbed = folder / VERDICTS.path, folder / LADDERS.path
        if verdicts.exists():
            print_summary(console, json.loads(verdicts.read_text(encoding="utf-8")))
        if climbed.exists():
            for one in json.loads(climbed.read_text(encoding="utf-8"))["ladders"]:
                said = f"Ladder, {one['label'] or 'this experiment'}: {one['sentence']}"
                console.print(said, highlight=False, markup=False)
    console.print(f"Report: {path}", highlight=False, soft_wrap=True)


def _gather(
    experiment: Experiment, out: Path | None, jobs: int, cluster: str | None, *, added: bool = True
) -> tuple[Path, list[Claims], list[dict[str, Evidence]]]:
    """Folder, studies and evidence of every cell; cells that an interrupted run finished are taken from it, unless trials
    were ``added`` to them and are not wanted."""
    from frugal_theory.results.files import make_folder
    from frugal_theory.results.interrupted import load_cell, save_cell
    from frugal_theory.verdicts.claims import claims_of
    from frugal_theory.verdicts.verify import gather_all

    ready = claims_of(experiment)
    folder = out or Path("runs") / experiment.name
    make_folder(folder)
    evidence = [load_cell(folder, study) for study in ready]
    if not added:
        begun = [study.cell.experiment.simulation.trials for study in ready]
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
            keep=lambda study, found: save_cell(folder, study, found),
        )


@contextmanager
def _interruptible(folder: Path, evidence: Sequence[dict[str, Evidence] | None]) -> Iterator[None]:
    """Say in one line what Ctrl-C leaves behind (exit status 130), or what is wrong with the cluster."""
    from frugal_theory.evidence.workers import ClusterError

    try:
        yield
    except ClusterError as error:
        raise ExperimentError(str(error)) from error
    except KeyboardInterrupt:
        kept = f"{sum(found is not None for found in evidence)} of {len(evidence)} cells are kept in {folder}"
        print(f"interrupted: {kept}; the same command continues with the rest", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None


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
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("trials"))
    labels = {id(study): f"[{i}/{len(ready)}] {study.cell.label or name}" for i, study in enumerate(ready, start=1)}
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, transient=True) as bars:
        tasks: dict[int, TaskID] = {}

        def update(study: Claims, done: int, trials: int) -> None:
            label = labels[id(study)]
            if id(study) not in tasks:
                tasks[id(study)] = bars.add_task(label, total=trials)
            bars.update(tasks[id(study)], completed=done, total=trials)
            if done >= trials and not console.is_terminal:
                print(f"{label}: {trials} trials{more}", file=sys.stderr, flush=True)

        yield update


def print_verdicts(console: Console, ready: Sequence[Claims], verdicts: Sequence[Verdict]) -> None:
    """The verdicts, a small table a cell; what is not applicable is one quiet line with its reason."""
    for study in ready:
        if study.cell.label:
            console.print(f"\n[bold]{study.cell.label}[/bold]", highlight=False)
        table = Table(box=None, pad_edge=False, show_header=study is ready[0], header_style="dim")
        for name, width in (("theorem", 14), ("verdict", 16)):
            table.add_column(name, min_width=width, no_wrap=True)
        for name in ("measured", "bound", "measured/bound"):
            table.add_column(name, min_width=10, justify="right", no_wrap=True)
        quiet = []
        for verdict in (v for v in verdicts if v.cell is study.cell.settings):
            sign = STATUSES[verdict.status]
            if verdict.bound is None or verdict.measured is None or verdict.tightness is None:
                quiet.append(
                    f"  {sign.mark} {verdict.theorem} not applicable: {verdict.reason[0].lower()}{verdict.reason[1:-1]}"
                )
                continue
            numbers = (f"{verdict.measured:.4g}", f"{verdict.bound:.4g}", f"{100 * verdict.tightness:.0f} %")
            table.add_row(f"  {verdict.theorem}", f"[{sign.style}]{sign.mark} {verdict.status}[/]", *numbers)
        if table.row_count:
            console.print(table)
        for line in quiet:
            console.print(line, style="dim", highlight=False, markup=False)
        for verdict in verdicts:
            if verdict.cell is study.cell.settings and verdict.status in ("violated", "inconclusive"):
                console.print(f"  {verdict.theorem}: {verdict.reason}", style=STATUSES[verdict.status].style, highlight=False)


def print_summary(console: Console, records: Sequence[dict[str, Any]]) -> None:
    """A row a cell, a column a theorem: the mark of each verdict and how much of the bound was measured."""
    names = list(dict.fromkeys(record["theorem"] for record in records))
    table = Table("", *names, box=None, pad_edge=False, header_style="bold")
    for label in dict.fromkeys(record.get("label", "") for record in records):
        row = {record["theorem"]: record for record in records if record.get("label", "") == label}
        table.add_row(label, *(_mark(row[name]) for name in names))
    console.print(table)
    console.print("  ".join(f"[{sign.style}]{sign.mark}[/] {status}" for status, sign in STATUSES.items()), highlight=False)


def _mark(record: dict[str, Any]) -> str:
    status, share = record["status"], record["tightness"]
    number = f" {100 * share:.0f} %" if isinstance(share, float) else ""
    return f"[{STATUSES[status].style}]{STATUSES[status].mark}{number}[/]"


def verdict_sentence(verdicts: Sequence[Verdict], confidence: float) -> str:
    """How many verdicts of each status, in one sentence."""
    return (
        f"{counted(v.status for v in verdicts)}. Confidence {100 * confidence:g} % for all {len(verdicts)} verdicts together."
    )
