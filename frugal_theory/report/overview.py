"""The overview: measured / bound of every verdict, drawn from one tidy table that is saved beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from frugal_theory.report.drawing import COLOURS, Plot, canvas, log_ticks, plot, shorten, style
from frugal_theory.report.words import number, percent, theorem_name
from frugal_theory.results.read import Results, to_number
from frugal_theory.verdicts.status import sign

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["dots", "overview"]

OVERVIEW_ROWS = 24
"""Verdicts that the overview shows, at most: the most urgent, then the tightest."""


def overview_data(verdicts: Sequence[Mapping[str, Any]], cells: Sequence[str] = ()) -> pd.DataFrame:
    """One row a verdict that has a tightness: columns theorem, cell, status, tightness, lower, upper, constant.

    ``lower`` and ``upper`` are the interval as a share of the bound, ``constant`` the one that a shape implies. No more than
    OVERVIEW_ROWS of them, the most urgent and the tightest; ``attrs["all"]`` is how many there are.
    ``cells``: labels, in their order.
    """
    import pandas as pd

    rows = []
    places = {cell: place for place, cell in enumerate(cells)}
    for verdict in sorted(verdicts, key=lambda v: places.get(v["label"], len(places))):
        bound = to_number(verdict.get("bound"))
        tightness = to_number(verdict.get("tightness"))
        if math.isnan(tightness):
            tightness = to_number(verdict.get("implied_constant"))
        if not tightness > 0:
            continue
        ends = [to_number(verdict.get(key)) / bound if bound > 0 else math.nan for key in ("lower", "upper")]
        constant = to_number(verdict.get("implied_constant"))
        rows.append((verdict["theorem"], verdict["label"], verdict["status"], tightness, *ends, constant))
    table = pd.DataFrame(rows, columns=["theorem", "cell", "status", "tightness", "lower", "upper", "constant"])
    urgent = table["status"].isin(["violated", "inconclusive"])
    ranked = table.assign(urgent=urgent).sort_values(["urgent", "tightness"], ascending=False, kind="stable")
    chosen = ranked.head(OVERVIEW_ROWS).sort_index()
    order = {theorem: place for place, theorem in enumerate(dict.fromkeys(v["theorem"] for v in verdicts))}
    chosen = chosen.sort_values("theorem", key=lambda names: names.map(order), kind="stable")
    chosen = chosen.drop(columns="urgent").reset_index(drop=True)
    chosen.attrs["all"] = len(table)
    return chosen


def overview(results: Results) -> Plot | None:
    """Measured / bound of every verdict with its interval; right of the line at 100 % a bound is violated."""
    return dots(results.verdicts, results.cells())


def dots(verdicts: Sequence[Mapping[str, Any]], cells: Sequence[str] = ()) -> Plot | None:
    """The same of verdicts as ``verdicts.json`` has them; None if none of them has a number."""
    data = overview_data(verdicts, cells)
    if data.empty:
        return None
    with style():
        return _dots(data)


def _rows(data: pd.DataFrame) -> tuple[list[float], dict[float, str], float]:
    """Vertical place of each dot, a heading above each theorem's cells if there are cells, and the height of all."""
    places, headings, place, last = [], {}, 0.0, None
    cells = any(data["cell"])
    for theorem in data["theorem"]:
        if cells and theorem != last:
            place += 0.35 if last is not None else 0.0
            headings[place] = theorem_name(theorem)
            place += 1
        places.append(place)
        place, last = place + 1, theorem
    return places, headings, place


def _dots(data: pd.DataFrame) -> Plot:
    import seaborn as sns

    places, headings, rows = _rows(data)
    spacing = 17.5 if len(data) > 8 else 22
    height = 50 + 42 + rows * spacing
    cells = bool(headings)
    axes: Any
    bold = 7.6 if headings else 6.2
    widths = [6.2 * min(len(cell), 29) for cell in data["cell"]] + [
        bold * min(len(theorem_name(t)), 29) for t in data["theorem"]
    ]
    left = 12 + min(220.0, max(110.0, *widths))
    subtitle = "measured / bound, at the horizon where it is largest"
    if data.attrs.get("all", 0) > len(data):
        subtitle = f"measured / bound, where it is largest; {len(data)} of {data.attrs['all']} verdicts"
    figure, axes = canvas("How tight each bound is", subtitle, left=left, right=78, height=height)
    low, high = _row_limits(data)
    table = data.assign(place=places, **{key: data[key].clip(low, high) for key in ("tightness", "lower", "upper")})
    axes.set_xscale("log")
    axes.set(xlim=(low / 1.25, high * 1.25), ylim=(rows - 0.4, -0.6))  # before seaborn reads labels: one dot has no width
    for row, exact in zip(table.itertuples(), data["tightness"], strict=True):
        colour = _colour(row.status)
        if row.upper > row.lower:
            axes.plot([row.lower, row.upper], [row.place] * 2, color=colour, linewidth=2, alpha=0.55, solid_capstyle="butt")
        hidden = row.status == "shape only" and math.isfinite(row.constant)
        value = f"C ≤ {number(row.constant, 2)}" if hidden else percent(exact)
        _row_text(axes, 1.04, row.place, f"{sign(row.status).mark} {value}", colour, "left")
        name = row.cell if cells else theorem_name(row.theorem)
        _row_text(axes, -0.035, row.place, middle(name or "–", 29), COLOURS["quiet" if cells else "ink"], "right")
    for status, dots in table.groupby("status", sort=False):
        sns.scatterplot(data=dots, x="tightness", y="place", ax=axes, **_mark(status))
    for place, heading in headings.items():
        _row_text(axes, -0.035, place, shorten(heading, 29), COLOURS["ink"], "right", weight="bold")
    axes.axvline(1, color=COLOURS["ink"], linewidth=1.2)
    axes.set(ylabel="", xlabel="right of the line a bound is violated")
    axes.set_yticks([])
    log_ticks(axes.xaxis, low / 1.25, high * 1.25)
    axes.xaxis.set_major_formatter(lambda value, _: percent(value))
    return plot("verdicts", "Measured over bound for each verdict", figure, data)


def _row_limits(data: pd.DataFrame) -> tuple[float, float]:
    """Ends of the axis. What lies beyond 0.1 % or 1000 % (a run that diverges) is drawn at the end; its number says where."""
    low = min(0.5, data["tightness"].min(), data["lower"].where(data["lower"] > 0).min())
    high = max(1.0, data["tightness"].max(), data["upper"].max())
    return max(low, 1e-3), min(high, 10.0)


def _colour(status: str) -> str:
    return COLOURS.get(sign(status).role, COLOURS["quiet"])


def _mark(status: str) -> dict[str, Any]:
    """The mark of a status: its form says it without its colour, and a shape's is hollow."""
    colour = _colour(status)
    common = {"marker": sign(status).marker, "edgecolor": colour, "legend": False, "zorder": 3, "clip_on": False}
    if status == "shape only":
        return {**common, "facecolor": COLOURS["surface"], "linewidth": 1.5, "s": 46}
    return {**common, "facecolor": colour, "linewidth": 0, "s": 58}


def middle(text: str, length: int) -> str:
    """At most ``length`` characters, cut in the middle: cells of a sweep differ at the end."""
    return (
        text if len(text) <= length else f"{text[: length // 3].rstrip(' ,')}…{text[len(text) - (length - length // 3 - 1) :]}"
    )


def _row_text(axes: Any, x: float, place: float, text: str, colour: str, align: str, weight: str = "normal") -> None:
    """Text of a row outside the axes: x in axes widths, ``place`` in rows."""
    transform = axes.get_yaxis_transform()
    axes.text(
        x, place, text, transform=transform, color=colour, ha=align, va="center_baseline", fontsize=10.5, fontweight=weight
    )
