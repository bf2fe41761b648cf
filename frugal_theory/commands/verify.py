"""frugal-theory verify and simulate."""

from __future__ import annotations

from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from frugal_theory.commands.options import CORES, Cluster, ExperimentFile, Jobs, Json, Out, Settings
from frugal_theory.config.load import load, parse_overrides
from frugal_theory.config.one_line import printable

if TYPE_CHECKING:
    import pandas as pd

    from frugal_theory.config import Experiment
    from frugal_theory.studies.verify import VerifyStudy

__all__ = ["simulate", "verify"]


def verify(
    experiment: ExperimentFile,
    settings: Settings = None,
    out: Out = None,
    jobs: Jobs = None,
    cluster: Cluster = None,
    json: Json = False,
) -> None:
    """Judge the experiment's theorems in every cell of its sweep. Exit status 1 if one is violated."""
    loaded = load(experiment, parse_overrides(settings or []))
    study, table = _measured(loaded, out, jobs or CORES, cluster, judge=True)
    from rich.console import Console

    from frugal_theory.commands.verdict_table import print_verdicts, verdict_sentence

    console, verdicts = Console(), study.verdicts or []
    if json:
        print(dumps([verdict.record() for verdict in verdicts], indent=2))
    else:
        print_verdicts(console, study.claims, verdicts)
        console.print("\n" + verdict_sentence(verdicts, loaded.verify.confidence), highlight=False)
        where = printable(str(study.folder))
        console.print(f"Results: {where}   Report: frugal-theory report {where}", highlight=False, soft_wrap=True, markup=False)
    if study.answer(table).failed:
        raise typer.Exit(1)


def simulate(
    experiment: ExperimentFile,
    settings: Settings = None,
    out: Out = None,
    jobs: Jobs = None,
    cluster: Cluster = None,
    json: Json = False,
) -> None:
    """Gather Monte Carlo evidence for every cell of the experiment, without judging anything."""
    loaded = load(experiment, parse_overrides(settings or []))
    study, found = _measured(loaded, out, jobs or CORES, cluster, judge=False)
    if json:
        print(dumps(found.to_dict("records"), indent=2))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from frugal_theory.commands.verdict_table import MOST

    console = Console()
    table = Table("cell", "learning rate", "average ‖g‖² up to the last step", "interval", box=None, pad_edge=False)
    for row in found.head(MOST).to_dict("records"):
        interval = f"[{row['lower']:.4g}, {row['upper']:.4g}]"
        table.add_row(
            escape(printable(row["cell"] or loaded.name)), f"{row['learning_rate']:.4g}", f"{row['mean']:.4g}", interval
        )
    console.print(table)
    if len(found) > MOST:
        console.print(f"The first {MOST} of {len(found):,} cells; all are in theory/evidence.parquet.", highlight=False)
    console.print(f"Results: {printable(str(study.folder))}", highlight=False, soft_wrap=True, markup=False)


def _measured(
    experiment: Experiment, out: Path | None, jobs: int, cluster: str | None, *, judge: bool
) -> tuple[VerifyStudy, pd.DataFrame]:
    """The study, measured and written, and its table."""
    from frugal_theory.studies.study import Alone
    from frugal_theory.studies.verify import VerifyStudy

    study = VerifyStudy(out or Path("runs") / experiment.name, judge)
    table = study.measure(experiment, Alone(jobs, cluster))
    study.write(experiment)
    return study, table
