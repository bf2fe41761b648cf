"""How a figure of the report is made: its colours by role, its frame, its direct labels, and the files it becomes."""

from __future__ import annotations

import html
import io
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "COLOURS",
    "HEIGHT",
    "HUES",
    "POINTS",
    "WIDTH",
    "EndLabel",
    "Plot",
    "canvas",
    "draw_line",
    "end_labels",
    "inline",
    "linear_ticks",
    "log_limits",
    "log_ticks",
    "plot",
    "shorten",
    "style",
    "thin",
    "use_style",
]

COLOURS = {
    "ink": "#20262d",
    "quiet": "#5d6671",
    "faint": "#e3e6e9",
    "surface": "#fffffe",
    "hue-1": "#1f66b0",
    "hue-2": "#b8500c",
    "hue-3": "#7a45a8",
    "hue-4": "#0c7a70",
    "holds": "#157a55",
    "violated": "#c2242e",
    "inconclusive": "#8f6200",
    "shape-only": "#4d5cae",
}
"""Colours by role, on white. Inside the page each becomes the CSS variable ``--ROLE``, so a dark scheme can answer."""

HUES = ("hue-1", "hue-2", "hue-3", "hue-4")
WIDTH, HEIGHT = 400, 272
"""Size of a panel, in points: small enough that its text stays readable on a phone."""

POINTS = 240
"""Points of a line, at most; the eye sees no more, and the page stays small."""

FONT = "DejaVu Sans"
PAGE_FONT = "system-ui, -apple-system, Segoe UI, Roboto, Helvetica Neue, Arial, sans-serif"


@dataclass(frozen=True)
class Plot:
    """A figure and the numbers in it: ``data`` is exactly what is plotted; ``name`` is its file name without ending."""

    name: str
    title: str
    figure: Any
    data: pd.DataFrame
    svg: str
    png: bytes

    @property
    def csv(self) -> str:
        """``data`` as CSV, every digit kept."""
        return str(self.data.to_csv(index=False, lineterminator="\n"))

    @property
    def inline(self) -> str:
        """The SVG as an element of the page: colours are CSS variables, the text is set in the reader's font."""
        return inline(self.svg, self.name, self.title)


@contextmanager
def style() -> Iterator[None]:
    """Seaborn's style for the figures made inside; the user's global settings and backend stay as they are."""
    import matplotlib
    import seaborn as sns

    with matplotlib.rc_context(), sns.axes_style("whitegrid"):
        matplotlib.rcParams.update(_settings())
        yield


def use_style() -> list[str]:
    """Give all Matplotlib figures that are made from here on the fonts and colours of the report; returns its line colours.

    For notebooks and scripts: one line, after which ``$…$`` in labels is still set as a formula, in the same font, and
    colours ``C0`` to ``C3`` are those that are returned (blue, orange, purple, teal). ``ft.plot`` needs none of this.

    >>> import frugal_theory as ft
    >>> blue, orange, purple, teal = ft.use_style()
    >>> blue
    '#1f66b0'
    """
    import matplotlib
    import seaborn as sns
    from cycler import cycler

    colours = [COLOURS[role] for role in HUES]
    sns.set_theme(style="whitegrid")
    matplotlib.rcParams.update(_settings())
    matplotlib.rcParams.update(
        {
            "axes.prop_cycle": cycler(color=colours),
            "text.parse_math": True,
            "mathtext.fontset": "dejavusans",
            "axes.facecolor": COLOURS["surface"],
            "axes.titlecolor": COLOURS["ink"],
            "axes.titlesize": 12,
            "axes.titlelocation": "left",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.labelsize": 11,
            "legend.fontsize": 10,
            "legend.title_fontsize": 10,
            "legend.frameon": False,
            "lines.linewidth": 1.8,
            "xtick.bottom": False,
            "ytick.left": False,
            "figure.figsize": (8.0, 4.2),
            "figure.dpi": 90,
        }
    )
    return colours


def _settings() -> dict[str, Any]:
    """Matplotlib's settings for a figure of the report."""
    return {
        "font.family": FONT,
        "font.size": 11,
        "text.color": COLOURS["ink"],
        "axes.edgecolor": COLOURS["faint"],
        "axes.labelcolor": COLOURS["quiet"],
        "axes.facecolor": "none",
        "axes.linewidth": 1.0,
        "grid.color": COLOURS["faint"],
        "grid.linewidth": 0.8,
        "xtick.color": COLOURS["quiet"],
        "ytick.color": COLOURS["quiet"],
        "xtick.labelsize": 10.5,
        "ytick.labelsize": 10.5,
        "lines.solid_capstyle": "round",
        "figure.facecolor": COLOURS["surface"],
        "text.parse_math": False,
        "svg.fonttype": "none",
        "svg.hashsalt": "frugal",
        "axes.unicode_minus": True,
    }


def canvas(title: str, subtitle: str, *, left: float = 46, right: float = 120, height: float = HEIGHT) -> tuple[Any, Any]:
    """A figure and its axes; the title says what is shown, the subtitle what the vertical axis measures."""
    from matplotlib.figure import Figure

    top, bottom = 50, 40
    figure = Figure(figsize=(WIDTH / 72, height / 72))
    axes = figure.add_axes((left / WIDTH, bottom / height, (WIDTH - left - right) / WIDTH, (height - top - bottom) / height))
    figure.text(8 / WIDTH, 1 - 17 / height, shorten(title, 48), fontsize=12.5, fontweight="bold", va="baseline")
    figure.text(8 / WIDTH, 1 - 34 / height, subtitle, fontsize=10.5, color=COLOURS["quiet"], va="baseline")
    axes.tick_params(length=0, pad=4)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    return figure, axes


def shorten(text: str, length: int) -> str:
    """At most ``length`` characters; a cut is marked with an ellipsis."""
    return text if len(text) <= length else text[: length - 1].rstrip(" ,") + "…"


@dataclass(frozen=True)
class EndLabel:
    """A label for the line that ends at data point (x, y)."""

    x: float
    y: float
    text: str
    colour: str


def end_labels(axes: Any, labels: list[EndLabel], spacing: float = 14.5) -> None:
    """Write each label beside the end of its line: pushed apart where they would overlap, tied by a thin line if moved.

    Call it when the limits of ``axes`` are final.
    """
    if not labels:
        return
    box = axes.get_position()
    height = box.height * axes.figure.get_figheight() * 72
    width = box.width * axes.figure.get_figwidth() * 72
    to_axes = axes.transData + axes.transAxes.inverted()
    ends = [to_axes.transform((label.x, label.y)) for label in labels]
    rank = sorted(range(len(labels)), key=lambda i: ends[i][1])
    places = spread([float(ends[i][1]) * height for i in rank], spacing, 0.0, height + 2)
    for i, place in zip(rank, places, strict=True):
        label, (x, y) = labels[i], ends[i]
        near = x > 0.8  # a line that ends early is tied by a longer line, drawn just as thin
        tie = {"arrowstyle": "-", "color": label.colour, "linewidth": 0.7, "shrinkA": 1, "shrinkB": 1, "relpos": (0.0, 0.5)}
        axes.annotate(
            label.text,
            xy=(float(x), float(y)),
            xycoords="axes fraction",
            xytext=((width + 11) / width, place / height),
            textcoords="axes fraction",
            va="center_baseline",
            ha="left",
            fontsize=10.5,
            color=label.colour,
            arrowprops={**tie, "alpha": 1.0 if near else 0.45},
            annotation_clip=False,
        )


def spread(positions: list[float], spacing: float, low: float, high: float) -> list[float]:
    """Ascending ``positions`` moved as little as a sweep up and a sweep down need, ``spacing`` apart, within [low, high]."""
    places: list[float] = []
    for position in positions:
        places.append(max(position, places[-1] + spacing if places else low))
    ceiling = high
    for i in reversed(range(len(places))):
        places[i] = min(places[i], ceiling)
        ceiling = places[i] - spacing
    return places


def log_ticks(axis: Any, low: float, high: float) -> None:
    """Ticks of a logarithmic axis at round numbers, written as people write them."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    from frugal_theory.report.words import number

    decades = math.log10(high / low)
    multiples = (
        (1,)
        if decades > 2.2
        else (1, 3)
        if decades > 1.7
        else (1, 2, 5)
        if decades > 0.5
        else (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)
    )
    every = max(1, math.ceil(decades / 6))
    powers = [p for p in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1) if p % every == 0]
    axis.set_major_locator(FixedLocator([m * 10.0**p for p in powers for m in multiples]))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: number(value, 2)))


def linear_ticks(axis: Any) -> None:
    """A few round ticks on a linear axis."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    from frugal_theory.report.words import number

    axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: number(value, 4)))


def log_limits(axes: Any, first: float, last: float, low: float, high: float) -> None:
    """Limits and ticks of log axes for steps ``first`` to ``last`` and values ``low`` to ``high``."""
    axes.set_xlim(first, max(last, first * 1.01))
    pad = max(1.15, (high / low) ** 0.04)
    axes.set_ylim(low / pad, high * pad)
    log_ticks(axes.xaxis, first, max(last, first * 1.01))
    log_ticks(axes.yaxis, low / pad, high * pad)


def draw_line(axes: Any, data: pd.DataFrame, x: str, y: str, **look: Any) -> None:
    """The rows of ``data`` joined as they are: no mean of any, no interval, no entry in a legend."""
    import seaborn as sns

    sns.lineplot(data=data, x=x, y=y, ax=axes, estimator=None, errorbar=None, legend=False, **look)


def thin(frame: pd.DataFrame, count: int = POINTS, *, logarithmic: bool = True) -> pd.DataFrame:
    """At most ``count`` rows of ``frame``, the first and the last among them, evenly spaced by (log) row."""
    import numpy as np

    from frugal_theory.evidence.horizons import horizons

    rows = len(frame)
    if rows <= count:
        return frame
    even = np.unique(np.round(np.linspace(0, rows - 1, count)).astype(int))
    return frame.iloc[horizons(rows, count) - 1 if logarithmic else even]


def plot(name: str, title: str, figure: Any, data: pd.DataFrame) -> Plot:
    """Render ``figure`` once as SVG and once as PNG."""
    svg, png = io.StringIO(), io.BytesIO()
    figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    figure.savefig(png, format="png", dpi=160, metadata={"Software": None})
    return Plot(name, title, figure, data.reset_index(drop=True), svg.getvalue(), png.getvalue())


def inline(svg: str, name: str, title: str) -> str:
    """An SVG file's text as an element of an HTML page: see :attr:`Plot.inline`."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.S)
    view = re.search(r'viewBox="[^"]*"', body)
    label = html.escape(title, quote=True)
    opening = f'<svg {view.group(0) if view else ""} role="img" aria-label="{label}">'
    body = re.sub(r"<svg\b.*?>", lambda _: opening, body, count=1, flags=re.S)
    body = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', body)
    body = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", body)
    body = re.sub(r'xlink:href="#([^"]+)"', rf'href="#{name}-\1"', body)
    roles = {value: f"var(--{role})" for role, value in COLOURS.items()}
    body = re.sub(r"#[0-9a-f]{6}\b", lambda found: roles.get(found.group(0), found.group(0)), body)
    return body.replace(f"'{FONT}'", PAGE_FONT)
