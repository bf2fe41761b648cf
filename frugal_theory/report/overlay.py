"""Figures that answer to a reader: their lines, and what can be switched, as data for the page's script."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from frugal_theory.metrics import words as metric_words
from frugal_theory.report.panels import Cell, by_cell, panel_data
from frugal_theory.report.words import theorem_name
from frugal_theory.results.read import Results, to_number

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Axis", "Entry", "Group", "Overlay", "Series", "bounds_and_measurements"]

NUMBERS = 30_000
"""Numbers that the figure of one page holds, about, and at most a third more: they are what makes a page large."""

FEWEST, MOST = 40, 240
"""Points of a line."""

TOGETHER = 6
"""Cells that are shown at once before a reader chooses."""


@dataclass(frozen=True)
class Axis:
    """A quantity on an axis: its key among a series' coordinates, its name, whether it begins logarithmic."""

    key: str
    label: str
    log: bool


@dataclass(frozen=True)
class Entry:
    """Something that can be switched: its name, whether it is on at first, how its lines look, the theorem it is of."""

    label: str
    on: bool
    look: str = "measured"
    theorem: str = ""


@dataclass(frozen=True)
class Group:
    """Entries of one kind, under a heading."""

    title: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Series:
    """One line: its entry in each of the two groups, its coordinates by axis, its values, and an interval if it has one.

    ``name``: what tells it from other lines with the same entries.
    """

    cell: int
    line: int
    x: dict[str, list[float]]
    y: list[float]
    lower: list[float] = field(default_factory=list)
    upper: list[float] = field(default_factory=list)
    name: str = ""


@dataclass(frozen=True)
class Overlay:
    """A figure with switches. ``cells`` and ``lines`` are what can be chosen, ``axes`` the horizontal axes, the first shown."""

    name: str
    title: str
    axes: tuple[Axis, ...]
    y: Axis
    cells: Group
    lines: Group
    series: tuple[Series, ...]
    note: str = ""

    @property
    def json(self) -> str:
        """The figure as JSON that may stand inside a script element; what is not finite is null, every digit is kept."""
        record = {
            "name": self.name,
            "title": self.title,
            "axes": [vars(axis) for axis in self.axes],
            "y": vars(self.y),
            "groups": [[vars(entry) for entry in group.entries] for group in (self.cells, self.lines)],
            "series": [
                {
                    "cell": one.cell,
                    "line": one.line,
                    **({"name": one.name} if one.name else {}),
                    "x": {key: _plain(values) for key, values in one.x.items()},
                    **{key: _plain(values) for key in ("y", "lower", "upper") if (values := getattr(one, key))},
                }
                for one in self.series
            ],
        }
        text = json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def bounds_and_measurements(results: Results, share: float = 1.0) -> Overlay | None:
    """Every cell's measured metrics and bounds in one figure; None where there is neither.

    At first it shows the first cells with their measurements and one bound; of a single cell all.
    ``share``: of the numbers that a page may hold. Cells beyond that are left out, the last ones, and ``note`` says so.
    """
    rows_of = by_cell(results)
    cells = list(rows_of)
    if not cells:
        return None
    widest = max(_width(cell) for cell in rows_of.values())
    budget = NUMBERS * share
    points = int(min(MOST, max(FEWEST, budget / (widest * len(cells)))))
    kept = cells[: max(1, int(budget / (widest * points)))]
    tables = [panel_data(rows_of[cell], points) for cell in kept]
    lines: dict[tuple[str, str, str], int] = {}
    series = []
    for place, table in enumerate(tables):
        for (kind, origin, metric), rows in table.groupby(["kind", "origin", "metric"], sort=False):
            line = lines.setdefault((kind, origin, metric), len(lines))
            series.append(_series(place, line, rows))
    shown = _first_line(results, list(lines))
    shapes = {
        (o, m) for table in tables for o, m, e in table[["origin", "metric", "explicit"]].itertuples(index=False) if not e
    }
    several = len({metric for kind, _, metric in lines if kind == "measured"}) > 1
    entries = [
        Entry(
            _line_name(kind, origin, metric, several, (origin, metric) in shapes),
            len(cells) == 1 or line in shown,
            _look(kind, origin, (origin, metric) in shapes),
            origin if kind == "bound" else "",
        )
        for line, (kind, origin, metric) in enumerate(lines)
    ]
    left = len(cells) - len(kept)
    return Overlay(
        "measured-and-bounds",
        "Measured values and bounds",
        (Axis("step", "step k", True),),
        Axis("value", _vertical(lines), True),
        Group("Cells", tuple(Entry(cell or "this experiment", place < TOGETHER) for place, cell in enumerate(kept))),
        Group("Lines", tuple(entries)),
        tuple(series),
        f"The figure holds the first {len(kept)} of {len(cells)} cells; the rest is in theory/*.parquet." if left else "",
    )


def _width(cell: Cell) -> int:
    """Columns of numbers that the cell's lines have."""
    measured = set(zip(cell.evidence["metric"], cell.evidence["source"], strict=True))
    return 4 * len(measured) + 2 * len(set(zip(cell.bounds["metric"], cell.bounds["theorem"], strict=True)))


def _series(cell: int, line: int, rows: pd.DataFrame) -> Series:
    band = rows[rows["upper"] > rows["lower"]]
    lower, upper = ([float(value) for value in rows[key]] if len(band) else [] for key in ("lower", "upper"))
    return Series(cell, line, {"step": [int(k) for k in rows["step"]]}, [float(value) for value in rows["value"]], lower, upper)


def _first_line(results: Results, lines: Sequence[tuple[str, str, str]]) -> set[int]:
    """A bound with what is measured of its metric: one that is violated, or else the one that most cells have, the tightest."""
    judged = [v for v in results.verdicts if v.get("status") in ("violated", "inconclusive", "holds")]
    rank: dict[str, tuple[int, int, float]] = {}
    for verdict in judged:
        name, tight = str(verdict["theorem"]), _finite(verdict.get("tightness"))
        violated, cells, most = rank.get(name, (0, 0, 0.0))
        rank[name] = (max(violated, int(verdict["status"] == "violated")), cells + 1, max(most, tight))
    order = [*sorted(rank, key=rank.__getitem__, reverse=True), *(origin for kind, origin, _ in lines if kind == "bound")]
    bound = next(((o, m) for name in order for kind, o, m in lines if kind == "bound" and o == name), None)
    metric = bound[1] if bound else next((m for kind, _, m in lines if kind == "measured"), "")
    return {
        place
        for place, (kind, origin, own) in enumerate(lines)
        if own == metric and (kind == "measured" or (bound and origin == bound[0]))
    }


def _finite(value: object) -> float:
    x = to_number(value)
    return x if math.isfinite(x) else 0.0


def _line_name(kind: str, origin: str, metric: str, several: bool, shape: bool) -> str:
    symbol = metric_words(metric).symbol
    norm = f", {symbol}" if several and symbol else ""
    if kind == "bound":
        return f"{theorem_name(origin)}: {'shape, C = 1' if shape else 'bound'}{norm}"
    named = {"monte_carlo": "measured (Monte Carlo)", "exact": "exact expectation", "worst_case": "worst case"}
    return named.get(origin, origin) + norm


def _look(kind: str, origin: str, shape: bool) -> str:
    return ("shape" if shape else "bound") if kind == "bound" else "points" if origin == "exact" else "measured"


def _vertical(lines: Iterable[tuple[str, str, str]]) -> str:
    titles = list(dict.fromkeys(metric_words(metric).title for _, _, metric in lines))
    return f"{titles[0]} up to step k" if len(titles) == 1 and "step k" not in titles[0] else "average up to step k"


def _plain(values: Sequence[float]) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values]
