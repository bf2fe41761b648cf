"""The ladder on the page: a figure for every cell, rung over rung, and the table of what each rung is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from frugal_theory.metrics import words as metric_words
from frugal_theory.report import words
from frugal_theory.report.drawing import (
    COLOURS,
    HUES,
    EndLabel,
    Plot,
    canvas,
    draw_line,
    end_labels,
    linear_ticks,
    log_ticks,
    plot,
    style,
)
from frugal_theory.report.verdict_rows import exact
from frugal_theory.results.read import Results, to_number
from frugal_theory.verdicts.status import LINKS

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["figures", "groups", "sentence"]

LABELS = {"monte_carlo": "○ Monte Carlo", "exact": "exact", "worst_case": "■ worst case"}
"""What stands at the end of the line of what is measured; a theorem says it itself."""

MEASURED, WORST, PROVED, PUBLISHED = HUES

LOOKS: dict[str, dict[str, Any]] = {
    "monte_carlo": {
        "color": COLOURS[MEASURED],
        "linestyle": "none",
        "marker": "o",
        "markersize": 6,
        "markerfacecolor": "none",
        "markeredgecolor": COLOURS[MEASURED],
        "clip_on": False,
    },
    "exact": {"color": COLOURS[MEASURED], "linewidth": 1.9},
    "worst_case": {
        "color": COLOURS[WORST],
        "linewidth": 1.0,
        "marker": "s",
        "markersize": 5.5,
        "markeredgewidth": 0,
        "clip_on": False,
    },
    "sgdm_sharp": {"color": COLOURS[PROVED], "linewidth": 1.6, "linestyle": (0, (1, 1.2))},
    "run_length_sharp": {"color": COLOURS[PROVED], "linewidth": 1.6, "linestyle": (0, (2.5, 1.8))},
    "run_length": {"color": COLOURS[PROVED], "linewidth": 1.6, "linestyle": (0, (6, 2.5))},
}
PUBLISHED_LOOK: dict[str, Any] = {"color": COLOURS[PUBLISHED], "linewidth": 1.6, "linestyle": (0, (6, 2.5))}
HIDDEN_LOOK: dict[str, Any] = {"color": COLOURS[PUBLISHED], "linewidth": 1.6, "linestyle": (0, (1, 2.2))}


def sentence(results: Results) -> str:
    """What all ladders of the folder say together."""
    bad = [one for one in results.ladders if not one["in_order"]]
    cells = f"{len(results.ladders)} cells" if len(results.ladders) > 1 else "one cell"
    if bad:
        return f"Out of order in {len(bad)} of {cells}" if len(results.ladders) > 1 else "Out of order"
    links = [link for one in results.ladders for link in one["comparisons"]]
    count = {status: sum(link["status"] == status for link in links) for status in LINKS}
    facts = [f"{count['equal']} equal, {count['below']} below the next rung"]
    facts += [f"{count[status]} {status}" for status in ("inconclusive", "not comparable") if count[status]]
    missing = sum(bool(rung["missing"]) for one in results.ladders for rung in one["rungs"])
    facts += [f"{missing} rungs missing" if missing > 1 else "1 rung missing"] if missing else []
    return f"In order in {cells}: {', '.join(facts)}"


def figures(results: Results) -> list[Plot]:
    """One figure a cell, all on the same vertical range."""
    curves = results.ladder_curves[results.ladder_curves["value"] > 0]
    if curves.empty:
        return []
    measured = curves.loc[curves["rung"].isin(["monte_carlo", "exact", "worst_case"]), "value"].max()
    ends = curves.groupby(["cell", "rung"])["value"].last().max()
    low, high = float(curves["value"].min()), float(max(6 * measured, 1.3 * ends))  # bounds begin far above
    with style():
        return [
            _figure(place, one, curves[curves["cell"] == one["label"]], low, min(high, float(curves["value"].max())))
            for place, one in enumerate(results.ladders)
        ]


def _figure(place: int, ladder: dict[str, Any], curves: pd.DataFrame, low: float, high: float) -> Plot:
    verdict = "every rung below the next"
    if not ladder["in_order"]:
        verdict = "out of order"
    elif any(link["status"] in ("not comparable", "inconclusive") for link in ladder["comparisons"]):
        verdict = "in order where comparable"
    title = f"{ladder['label']}: {verdict}" if ladder["label"] else verdict[0].upper() + verdict[1:]
    norm = metric_words(ladder["metric"]).title
    figure, axes = canvas(title, f"{norm} up to step k", right=126)
    axes.set_yscale("log")
    rungs = {rung["name"]: rung for rung in ladder["rungs"]}
    labels = []
    for name, line in curves.groupby("rung", sort=False):
        hidden = rungs[name]["constant"] is not None
        look = LOOKS.get(name, HIDDEN_LOOK if hidden else PUBLISHED_LOOK)
        draw_line(axes, line, "step", "value", **look)
        band = line[line["upper"] > line["lower"] * 1.000001]
        if name == "monte_carlo" and len(band):
            axes.fill_between(band["step"], band["lower"], band["upper"], color=look["color"], alpha=0.3, linewidth=0)
        end = line.iloc[-1]
        text = LABELS.get(name) or words.theorem_label(name)
        if name == "worst_case" and not all(rung["noise_free"] for rung in ladder["rungs"] if not rung["missing"]):
            text = "■ worst, no noise"
        if hidden:
            text = f"{words.number(rungs[name]['constant'])} × {text}"
        labels.append(EndLabel(float(end["step"]), float(end["value"]), text, look["color"]))
    last = max(2, int(curves["step"].max()))
    axes.set(xlabel="step k", ylabel="", xlim=(1 - 0.02 * last, last), ylim=(low / 1.15, high * 1.15))
    log_ticks(axes.yaxis, low / 1.15, high * 1.15)
    linear_ticks(axes.xaxis)
    end_labels(axes, _joined(labels))
    return plot(f"ladder-{place + 1:02d}", f"{title}: {norm} up to step k", figure, curves)


def _joined(labels: list[EndLabel]) -> list[EndLabel]:
    """Lines of one colour that end at one place share a label: Monte Carlo rings on the exact line."""
    found: list[EndLabel] = []
    for label in labels:
        twin = next((i for i, one in enumerate(found) if one.colour == label.colour and abs(one.y / label.y - 1) < 0.01), None)
        if twin is None:
            found.append(label)
        else:
            old = found[twin]
            found[twin] = EndLabel(old.x, old.y, f"{old.text}, {label.text}", old.colour)
    return found


def groups(results: Results) -> list[dict[str, Any]]:
    """The table: for every cell its heading and its rows, the lowest rung first, every entry a text."""
    return [
        {
            "label": ladder["label"] or "This experiment",
            "sentence": ladder["sentence"][0].upper() + ladder["sentence"][1:],
            "slug": "holds" if ladder["in_order"] else "violated",
            "steps": ladder["steps"],
            "rows": [_row(rung, ladder) for rung in ladder["rungs"]],
        }
        for ladder in results.ladders
    ]


def _row(rung: dict[str, Any], ladder: dict[str, Any]) -> dict[str, Any]:
    ends = [to_number(rung[key]) for key in ("lower", "upper")]
    links = [link for link in ladder["comparisons"] if link["lower"] == rung["name"]]
    value = "missing" if rung["missing"] else "unsolved" if rung["value"] is None else words.number(rung["value"], 4)
    lower, upper = (words.number(end, 4) for end in ends)
    symbol = metric_words(rung["metric"]).symbol
    found = [_link(link, ladder, first=not place) for place, link in enumerate(links)]
    return {
        "name": rung["name"],
        "title": rung_name(rung["name"], rung["title"]),
        "value": value,
        "interval": f"[{lower}, {upper}]" if lower != upper else "",
        "norm": f"{symbol} norm" if symbol else "",
        "links": found,
        "said": "; ".join(" ".join(link[key] for key in ("status", "over", "ratio") if link[key]) for link in found),
        "how": rung["missing"] or rung["how"],
        "source": rung["source"],
        "missing": bool(rung["missing"]),
        "exact": {key: exact(rung[key]) for key in ("value", "lower", "upper")},
    }


def _link(link: dict[str, Any], ladder: dict[str, Any], *, first: bool) -> dict[str, str]:
    sign = LINKS[link["status"]]
    ratio = "" if link["status"] in ("equal", "not comparable", "inconclusive") else words.percent(link["ratio"])
    title = {rung["name"]: rung["title"] for rung in ladder["rungs"]}[link["upper"]]
    over = "" if first else rung_name(link["upper"], title)
    return {
        "symbol": sign.mark,
        "slug": sign.role,
        "status": link["status"],
        "ratio": ratio,
        "over": over,
        "reason": link["reason"],
    }


def rung_name(name: str, title: str) -> str:
    """A rung in words: a theorem by the report's name for it, a measurement by its own."""
    known = title if name in LABELS else words.theorem_name(name, title)
    return known[0].upper() + known[1:]
