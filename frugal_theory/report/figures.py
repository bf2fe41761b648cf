"""Every figure that a run's results allow, and the files that they become."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frugal_theory.report.drawing import Plot
from frugal_theory.results.files import finished
from frugal_theory.results.read import Results, to_number

__all__ = ["PANELS", "Figures", "choose_cells", "draw", "write_figures"]

PANELS = 13
"""Cells that get a still figure of their own, at most."""

ANGLES = 6
"""Training runs whose gradient subspaces are drawn, at most."""


@dataclass(frozen=True)
class Figures:
    """The page's figures: ``cells`` has the most telling cell first, and ``drawn`` the labels of those cells."""

    cells: list[Plot]
    drawn: list[str]
    overview: Plot | None
    practice: list[Plot]
    ladders: list[Plot]

    @property
    def theory(self) -> list[Plot]:
        """Everything that belongs into theory/figures."""
        return self.cells + ([self.overview] if self.overview else [])


def draw(results: Results, pages: int = 1) -> Figures:
    """Every figure that the results allow; those of cells are fewer where so many runs share a page."""
    from frugal_theory.report import ladder
    from frugal_theory.report.overview import overview
    from frugal_theory.report.panels import measured_and_bounds
    from frugal_theory.report.practice import gradient_norm, training_curve
    from frugal_theory.report.practice_figures import angles
    from frugal_theory.report.runs import Run

    practice = [figure(results) for figure in (gradient_norm, training_curve)] if results.training.is_there else []
    turned = [(results.training, "angles"), *((run, f"angles-{run.name}") for run in results.training_cells)]
    practice += [angles(Run(run.name, run, run.experiment), name) for run, name in turned[:ANGLES]]
    cells, drawn = measured_and_bounds(results, choose_cells(results, max(1, PANELS // pages)))
    return Figures(
        cells=cells,
        drawn=drawn,
        overview=overview(results) if results.verdicts else None,
        practice=[plot for plot in practice if plot is not None],
        ladders=ladder.figures(results),
    )


def choose_cells(results: Results, count: int = PANELS) -> list[str]:
    """Cells to draw, ``count`` at most: that of the most urgent, tightest verdict first, then the others in their order.

    Where there are too many, those with a violated or inconclusive verdict stay.
    """
    drawable = list(dict.fromkeys([*results.evidence["cell"], *results.bounds["cell"]]))
    urgent = ["violated", "inconclusive", "holds"]
    telling = [v for v in results.verdicts if v.get("status") in urgent and v["label"] in drawable]
    telling.sort(key=lambda v: (urgent.index(v["status"]), -_tightness(v)))
    ranked = list(dict.fromkeys([v["label"] for v in telling if v["status"] != "holds"] + drawable))
    first = telling[0]["label"] if telling else (drawable[0] if drawable else None)
    if first is None:
        return []
    kept = set([cell for cell in ranked if cell != first][: count - 1])
    return [first, *(cell for cell in drawable if cell in kept)]


def _tightness(verdict: dict[str, Any]) -> float:
    tightness = to_number(verdict.get("tightness"))
    return tightness if math.isfinite(tightness) else 0.0


def write_figures(folder: Path, plots: Sequence[Plot]) -> None:
    """Write each plot's three files; those of an earlier report that this one does not replace go away."""
    if not plots:
        return
    for plot in plots:
        _write(folder / f"{plot.name}.svg", plot.svg.encode())
        _write(folder / f"{plot.name}.png", plot.png)
        _write(folder / f"{plot.name}.csv", plot.csv.encode())
    kept = {plot.name for plot in plots}
    for series in ("measured-and-bounds-*.*", "ladder-*.*"):
        for old in folder.glob(series):
            if old.stem not in kept:
                old.unlink()


def _write(path: Path, content: bytes) -> None:
    with finished(path) as temporary:
        temporary.write_bytes(content)
