"""frugal-theory ladder: a row a rung, the lowest first."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from frugal_theory.commands.options import CORES, Cluster, ExperimentFile, Jobs, Out, Settings
from frugal_theory.config.load import dump, load, parse_overrides
from frugal_theory.config.one_line import printable
from frugal_theory.verdicts.status import LINKS

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["ladder"]


def ladder(
    experiment: ExperimentFile, settings: Settings = None, out: Out = None, jobs: Jobs = None, cluster: Cluster = None
) -> None:
    """Hold Monte Carlo, exact expectation, worst case and bounds of one short run in order. Exit status 1 if they are not."""
    from rich.console import Console

    from frugal_theory.results.files import finished, write_text
    from frugal_theory.studies.ladder.study import LadderStudy
    from frugal_theory.studies.runner import beside, carry_out

    loaded, study = load(experiment, parse_overrides(settings or [])), LadderStudy()
    folder = out or Path("runs") / loaded.name
    outcome = carry_out(study, loaded, beside(folder, loaded.name, study), jobs=jobs or CORES, cluster=cluster)
    with finished(folder / "ladder.parquet") as temporary:
        outcome.table.drop(columns=["in_order", "sentence"]).to_parquet(temporary, index=False)
    content = {"experiment": dump(loaded), "ladders": study.found}
    write_text(folder / "ladder.json", json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    if not any((folder / part).exists() for part in ("theory", "training")):
        write_text(folder / "experiment.toml", dump(loaded))
    console = Console()
    for one in study.found:
        _print(console, one)
    said = printable(f"Results: {folder}   Report: frugal-theory report {folder}")
    console.print(said, highlight=False, soft_wrap=True, markup=False)
    if outcome.answer.failed:
        raise typer.Exit(1)


def _print(console: Console, found: Mapping[str, Any]) -> None:
    """A row a rung, the lowest first, with what became of its comparison; why a rung is missing, below."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column(escape(found["label"]) or "rung", no_wrap=True, header_style="bold", min_width=18)
    table.add_column(f"up to k = {found['steps']}", justify="right", no_wrap=True)
    table.add_column("against the next rung")
    for rung in found["rungs"]:
        said = []
        for place, link in enumerate(link for link in found["comparisons"] if link["lower"] == rung["name"]):
            sign = LINKS[link["status"]]
            which = f" {link['upper']}" if place else ""
            told = None if link["status"] in ("equal", "not comparable", "inconclusive") else link["ratio"]
            ratio = "" if told is None else f", {100 * float(told):.3g} %"
            said.append(f"[{sign.style}]{sign.mark} {link['status']}[/]{which}{ratio}")
        value = rung["value"]
        shown = "missing" if rung["missing"] else "unsolved" if value is None else f"{float(value):.4g}"
        table.add_row(f"  {rung['name']}", shown, "; ".join(said))
    console.print(table)
    for rung in found["rungs"]:
        if rung["missing"]:
            console.print(f"  – {rung['name']} is missing: {rung['missing']}", highlight=False, markup=False, soft_wrap=True)
    style = "green" if found["in_order"] else "bold red"
    sentence = found["sentence"]
    console.print(f"  {sentence[0].upper()}{sentence[1:]}.\n", style=style, highlight=False, soft_wrap=True)
