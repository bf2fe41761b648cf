"""Measured under its bounds, a panel a cell: each is drawn from one tidy table, and that table is saved beside it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from frugal_theory.metrics import words
from frugal_theory.report.drawing import (
    COLOURS,
    HUES,
    POINTS,
    EndLabel,
    Plot,
    canvas,
    draw_line,
    end_labels,
    log_limits,
    plot,
    shorten,
    style,
    thin,
)
from frugal_theory.report.words import theorem_label
from frugal_theory.results.read import Results, to_number

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Cell", "by_cell", "measured_and_bounds", "panel_data"]

LINE_LABEL = 18
"""Characters at the end of a line, at most."""


@dataclass(frozen=True)
class Cell:
    """One cell's rows of evidence.parquet and bounds.parquet, and the exact expectations that its verdicts name."""

    evidence: pd.DataFrame
    bounds: pd.DataFrame


def by_cell(results: Results) -> dict[str, Cell]:
    """The rows of every cell that has some, in the order of the sweep."""
    import pandas as pd

    there = [table for table in (results.evidence, _exact(results)) if len(table)]
    evidence = pd.concat(there, ignore_index=True) if there else results.evidence
    measured, bounds = (dict(iter(table.groupby("cell", sort=False))) for table in (evidence, results.bounds))
    none = results.evidence.head(0), results.bounds.head(0)
    return {
        cell: Cell(measured.get(cell, none[0]), bounds.get(cell, none[1]))
        for cell in results.cells()
        if cell in measured or cell in bounds
    }


def _exact(results: Results) -> pd.DataFrame:
    """What verdicts were judged by and evidence.parquet, which has the trials, does not hold: the exact expectations, each at
    the horizon that its verdict names. Columns as there."""
    import pandas as pd

    evidence = results.evidence
    there = set(evidence.loc[evidence["source"] == "exact", ["cell", "metric"]].itertuples(index=False, name=None))
    rows = [
        {
            "cell": v["label"],
            "source": "exact",
            "metric": v["metric"],
            "step": int(step),
            "mean": mean,
            "lower": low,
            "upper": high,
        }
        for v in results.verdicts
        if v.get("source") == "exact" and v.get("metric") and (v["label"], v["metric"]) not in there
        for step, mean, low, high in [[to_number(v.get(key)) for key in ("step", "measured", "lower", "upper")]]
        if all(map(math.isfinite, (step, mean, low, high)))
    ]
    return pd.DataFrame(rows, columns=["cell", "source", "metric", "step", "mean", "lower", "upper"]).drop_duplicates()


def panel_data(cell: Cell, points: int = POINTS) -> pd.DataFrame:
    """One cell's measured metrics and bounds, thinned: columns kind, origin, metric, explicit, step, value, lower, upper."""
    import pandas as pd

    parts = []
    evidence, bounds = cell.evidence, cell.bounds
    for (metric, source), group in evidence.groupby(["metric", "source"], sort=False):
        rows = group[group["mean"] > 0].sort_values("step")
        crowded = source == "exact" and "monte_carlo" in set(evidence.loc[evidence["metric"] == metric, "source"])
        parts.append(
            thin(rows, 14 if crowded else points)
            .rename(columns={"mean": "value"})
            .assign(kind="measured", origin=source, metric=metric, explicit=True)
        )
    for (metric, theorem), group in bounds.groupby(["metric", "theorem"], sort=False):
        rows = group[group["bound"] > 0].sort_values("step").rename(columns={"bound": "value"})
        parts.append(thin(rows, points).assign(kind="bound", origin=theorem, metric=metric, lower=math.nan, upper=math.nan))
    columns = ["kind", "origin", "metric", "explicit", "step", "value", "lower", "upper"]
    table = pd.concat([part[columns] for part in parts if len(part)]) if any(map(len, parts)) else pd.DataFrame(columns=columns)
    return table[table["value"].map(math.isfinite)].reset_index(drop=True)


def limits(panels: list[pd.DataFrame]) -> tuple[float, float] | None:
    """One vertical range for all panels, so that they compare; None where more than eight decades would flatten them.

    Bounds start high above anything measured; the range ends where they have nothing left to say about it, but shows at
    least the end of every bound.
    """
    table = _together(panels)
    if table.empty:
        return None
    measured = table[table["kind"] == "measured"]
    ends = [panel.groupby(["origin", "metric"])["value"].last().max() for panel in panels if len(panel)]
    high = max(6 * measured["value"].max(), 1.5 * max(ends)) if len(measured) else table["value"].max()
    low, high = table["value"].min(), min(high, table["value"].max())
    return (low, high) if high / low <= 1e8 else None


def _together(panels: list[pd.DataFrame]) -> pd.DataFrame:
    import pandas as pd

    return pd.concat([panel for panel in panels if len(panel)] or panels[:1])


def measured_and_bounds(results: Results, cells: list[str]) -> tuple[list[Plot], list[str]]:
    """For each cell a panel: the measured metrics with their bands and bounds, on log axes; and the cells that have one.

    A cell without anything that a logarithmic axis can show has none.
    """
    rows = by_cell(results)
    panels = {cell: data for cell in cells if cell in rows and len(data := panel_data(rows[cell]))}
    if not panels:
        return [], []
    shared = limits(list(panels.values()))
    with style():
        plots = [
            _panel(f"measured-and-bounds-{place:02d}", cell or _heading(results), data, shared)
            for place, (cell, data) in enumerate(panels.items(), start=1)
        ]
    return plots, list(panels)


def _heading(results: Results) -> str:
    """What a figure of one cell shows; that something lies under its bounds is said only where every verdict says so."""
    statuses = [verdict.get("status") for verdict in results.verdicts]
    if "violated" in statuses:
        return "Measured, above a bound"
    return "Measured under its bounds" if "holds" in statuses and "inconclusive" not in statuses else "Measured, and bounds"


def _panel(name: str, title: str, data: pd.DataFrame, shared: tuple[float, float] | None) -> Plot:
    families = hue_families(data)
    measured = list(families)
    same = words(measured[0]).title if len(measured) == 1 else "average squared gradient norm"
    if not all("squared_gradient_norm" in metric for metric in measured) and len(measured) > 1:
        same = "average up to step k; each bound has the colour of its metric"
    figure, axes = canvas(title, f"{same} up to step k" if "step k" not in same else same)
    axes.set(xscale="log", yscale="log")
    labels = []
    for (kind, origin, metric), line in data.groupby(["kind", "origin", "metric"], sort=False):
        colour = COLOURS[HUES[families[metric] % len(HUES)]]
        rings = set(data.loc[(data["metric"] == metric) & (data["kind"] == "measured"), "origin"]) & {"exact", "monte_carlo"}
        crowded = origin == "exact" and len(rings) == 2
        looks = _looks(kind, origin, bool(line["explicit"].iloc[0]), crowded=crowded)
        draw_line(axes, line, "step", "value", color=colour, **looks)
        band = line[(line["upper"] > line["lower"]) & (line["upper"] > 0)]
        if kind == "measured" and len(band):
            axes.fill_between(
                band["step"], band["lower"].clip(lower=1e-300), band["upper"], color=colour, alpha=0.3, linewidth=0
            )
        end = line.iloc[-1]
        again = kind == "measured" and families[metric] != measured.index(metric)
        if not (crowded or again):
            several = len(set(families.values())) > 1
            labels.append(EndLabel(end["step"], end["value"], _line_label(line, several, len(rings) == 2), colour))
    low, high = shared or limits([data]) or (data["value"].min(), data["value"].max())
    log_limits(axes, data["step"].min(), data["step"].max(), low, high)
    axes.set(xlabel="step k", ylabel="")
    end_labels(axes, labels)
    return plot(name, f"{title}: {same} and its bounds", figure, data)


def hue_families(data: pd.DataFrame) -> dict[str, int]:
    """For each metric the number of its hue. Metrics measured the same everywhere (W = 1) are one line, and share one."""
    import numpy as np

    measured = data[data["kind"] == "measured"]
    families: dict[str, int] = {}
    for place, metric in enumerate(dict.fromkeys(data["metric"])):
        families[metric] = place
        own = _of_metric(measured, metric)
        for other in list(families)[:-1]:
            its = _of_metric(measured, other)
            shared = [origin for origin in own if origin in its and own[origin].index.equals(its[origin].index)]
            if shared and all(np.allclose(own[origin], its[origin], rtol=1e-9, atol=0) for origin in shared):
                families[metric] = families[other]
                break
    return families


def _of_metric(measured: pd.DataFrame, metric: str) -> dict[str, pd.Series]:
    """For each origin the metric's values by step."""
    rows = measured[measured["metric"] == metric].set_index("step")
    return {str(origin): line["value"] for origin, line in rows.groupby("origin")}


def _looks(kind: str, origin: str, explicit: bool, *, crowded: bool) -> dict[str, Any]:
    """Measured is solid, a bound dashed, a shape (hidden constant) dotted; exact over Monte Carlo is rings on its line."""
    if kind == "bound":
        return {"linestyle": (0, (5, 2.5)) if explicit else (0, (1, 2.2)), "linewidth": 1.6}
    if crowded:
        return {"linestyle": "none", "marker": "o", "markersize": 5.5, "markerfacecolor": "none", "markeredgecolor": None}
    if origin == "worst_case":
        return {"linestyle": "-", "linewidth": 1.1, "marker": "s", "markersize": 3.5, "markeredgewidth": 0}
    return {"linestyle": "-", "linewidth": 1.9}


def _line_label(line: pd.DataFrame, several: bool, rings: bool) -> str:
    first = line.iloc[0]
    symbol = words(first["metric"]).symbol
    norm = f", {symbol}" if several and symbol else ""
    if first["kind"] == "bound":
        name = theorem_label(first["origin"])
        if not first["explicit"]:
            return f"{shorten(name, LINE_LABEL - 7)}, shape"
        return f"{name} bound" if len(name) <= LINE_LABEL - 6 else shorten(name, LINE_LABEL)
    if first["origin"] == "monte_carlo":
        return f"measured{norm}" + (", ○ exact" if rings else "")
    return {"exact": "exact", "worst_case": "worst case"}.get(first["origin"], str(first["origin"])) + norm
