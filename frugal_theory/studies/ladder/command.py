"""The command ``frugal-theory ladder``: climb, write what was found, print a row a rung."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from frugal_theory.config import Experiment
from frugal_theory.config.load import dump
from frugal_theory.results.files import finished, make_folder, write_text
from frugal_theory.studies.ladder.ladder import Ladder, climb, ready
from frugal_theory.verdicts.status import LINKS

__all__ = ["run"]


def run(experiment: Experiment, folder: Path, jobs: int) -> bool:
    """The command: climb, write ``folder``/ladder.json and ladder.parquet, print. False if a rung is out of order."""
    import pandas as pd

    cells = ready(experiment)
    make_folder(folder)
    try:
        with Console(stderr=True).status("ladder") as status:
            found = climb(experiment, cells, jobs, lambda what: status.update(f"ladder: {what}"))
    except KeyboardInterrupt:
        print(f"interrupted: nothing was written to {folder}", file=sys.stderr)
        raise SystemExit(130) from None
    with finished(folder / "ladder.parquet") as temporary:
        pd.concat([one.frame() for one in found], ignore_index=True).to_parquet(temporary, index=False)
    content = {"experiment": dump(experiment), "ladders": [one.record() for one in found]}
    write_text(folder / "ladder.json", json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    if not any((folder / part).exists() for part in ("theory", "training")):
        write_text(folder / "experiment.toml", dump(experiment))
    console = Console()
    for one in found:
        _print(console, one)
    console.print(f"Results: {folder}   Report: frugal-theory report {folder}", highlight=False, soft_wrap=True)
    return not any(one.out_of_order for one in found)


def _print(console: Console, found: Ladder) -> None:
    """A row a rung, the lowest first, with what became of its comparison; why a rung is missing, below."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column(escape(found.label) or "rung", no_wrap=True, header_style="bold", min_width=18)
    table.add_column(f"up to k = {found.steps}", justify="right", no_wrap=True)
    table.add_column("against the next rung")
    for rung in found.rungs:
        said = []
        for place, link in enumerate(link for link in found.comparisons if link.lower == rung.name):
            sign = LINKS[link.status]
            which = f" {link.upper}" if place else ""
            told = None if link.status in ("equal", "not comparable", "inconclusive") else link.ratio
            ratio = "" if told is None else f", {100 * told:.3g} %"
            said.append(f"[{sign.style}]{sign.mark} {link.status}[/]{which}{ratio}")
        value = rung.last[0]
        shown = "missing" if rung.missing else "unsolved" if math.isnan(value) else f"{value:.4g}"
        table.add_row(f"  {rung.name}", shown, "; ".join(said))
    console.print(table)
    for rung in found.rungs:
        if rung.missing:
            console.print(f"  – {rung.name} is missing: {rung.missing}", highlight=False, markup=False, soft_wrap=True)
    style = "bold red" if found.out_of_order else "green"
    console.print(f"  {found.sentence[0].upper()}{found.sentence[1:]}.\n", style=style, highlight=False, soft_wrap=True)
