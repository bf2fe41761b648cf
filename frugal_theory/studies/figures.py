"""The frame of a study's figures, and the file that each becomes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from frugal_theory.report.drawing import COLOURS, HUES

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["bars", "panels", "picture"]

WIDTH, HEIGHT = 860, 330
"""Size of a figure, in points: as wide as a README is read."""


def panels(
    title: str,
    subtitles: Sequence[str],
    note: str = "",
    *,
    height: float = HEIGHT,
    left: float = 52,
    gap: float = 58,
    right: float = 16,
) -> tuple[Any, list[Any]]:
    """A figure of panels side by side, and their axes; call it, and draw, inside ``frugal_theory.report.drawing.style()``.

    The title states the finding; each panel has a subtitle that says what its vertical axis measures; the note below them
    says what the marks are. ``left``, ``gap`` and ``right``, in points, are the room beside and between the axes, for tick
    labels and names of lines.
    """
    from matplotlib.figure import Figure

    top, bottom = 58, 60 if note else 44
    figure = Figure(figsize=(WIDTH / 72, height / 72))
    figure.text(8 / WIDTH, 1 - 18 / height, title, fontsize=13, fontweight="bold", va="baseline")
    figure.text(8 / WIDTH, 9 / height, note, fontsize=9.5, color=COLOURS["quiet"], va="baseline")
    width = (WIDTH - left - right - gap * (len(subtitles) - 1)) / len(subtitles)
    found = []
    for place, subtitle in enumerate(subtitles):
        x = left + place * (width + gap)
        axes: Any = figure.add_axes((x / WIDTH, bottom / height, width / WIDTH, (height - top - bottom) / height))
        figure.text((x - left + 8) / WIDTH, 1 - 42 / height, subtitle, fontsize=10.5, color=COLOURS["quiet"], va="baseline")
        axes.tick_params(length=0, pad=4)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        found.append(axes)
    return figure, found


def picture(figure: Any, kind: Literal["png", "svg"] = "png") -> bytes:
    """The figure as a file, the same bytes whenever it is drawn from the same numbers."""
    file = io.BytesIO()
    without = {"Software": None} if kind == "png" else {"Date": None, "Creator": None}
    figure.savefig(file, format=kind, dpi=130, metadata=without)
    return file.getvalue()


def bars(title: str, subtitle: str, table: pd.DataFrame, columns: Sequence[str], note: str = "", *, left: float = 270) -> Any:
    """A horizontal bar a row of ``table``, named by its first column, of the ``columns`` one after the other."""
    figure, (axes,) = panels(title, [subtitle], note, left=left, height=120 + 26 * len(table))
    place, end = range(len(table))[::-1], [0.0] * len(table)
    for hue, column in zip(HUES, columns, strict=False):
        axes.barh(place, table[column], left=end, height=0.62, color=COLOURS[hue], label=column)
        end = [a + b for a, b in zip(end, table[column], strict=True)]
    axes.set_yticks(place, table.iloc[:, 0])
    axes.grid(False, axis="y")
    if len(columns) > 1:
        axes.legend(frameon=False, fontsize=9.5, labelcolor=COLOURS["quiet"], loc="lower right")
    return figure
