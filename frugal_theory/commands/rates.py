"""frugal-theory rates: fit, write rates.parquet, print a row a fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from frugal_theory.commands.options import CORES, Cluster, ExperimentFile, Jobs, Out, Settings
from frugal_theory.config.load import load, parse_overrides
from frugal_theory.config.one_line import printable

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["rates"]

WIDTH = 150
"""Columns of the table where there is no terminal to measure."""

STYLES = {"agrees": "green", "differs": "bold red", "inconclusive": "yellow"}


def rates(
    experiment: ExperimentFile, settings: Settings = None, out: Out = None, jobs: Jobs = None, cluster: Cluster = None
) -> None:
    """Fit rates and exponents on quadratics, each with an interval, and hold them against what theory predicts."""
    from frugal_theory.results.files import finished
    from frugal_theory.studies.rates.study import STUDY, summary
    from frugal_theory.studies.runner import beside, carry_out

    loaded = load(experiment, parse_overrides(settings or []))
    folder = beside(out, loaded.name, STUDY)
    found = carry_out(STUDY, loaded, folder, jobs=jobs or CORES, cluster=cluster)
    path = folder.parents[1] / "rates.parquet"
    with finished(path) as temporary:
        found.table.drop(columns="what").to_parquet(temporary, index=False)
    _print(summary(found.table))
    print(f"Numbers: {printable(str(path))}")


def _print(fits: pd.DataFrame) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    heads = ("rate", "predicted", "fitted", "interval", "verdict", "measured")
    table = Table(*heads, box=None, pad_edge=False, header_style="dim")
    for _, fit in fits.iterrows():
        interval = escape(f"[{fit['lower']:.4g}, {fit['upper']:.4g}]")
        verdict = f"[{STYLES[fit['verdict']]}]{fit['verdict']}[/]"
        table.add_row(fit["name"], f"{fit['predicted']:.4g}", f"{fit['estimate']:.4g}", interval, verdict, fit["what"])
    console = Console()
    (console if console.is_terminal else Console(width=WIDTH)).print(table)
