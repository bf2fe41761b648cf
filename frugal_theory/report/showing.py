"""Evidence, verdicts and studies as figures and tables for whoever works in Python: ``ft.plot`` and ``ft.table``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from frugal_theory.evidence.evidence import Evidence
from frugal_theory.report.drawing import COLOURS, HUES, canvas, log_ticks, style, thin
from frugal_theory.report.drawing import plot as rendered
from frugal_theory.report.overview import dots
from frugal_theory.report.words import source_name
from frugal_theory.verdicts.verdict import Verdict

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["plot", "table"]

COLUMNS = (
    "theorem",
    "status",
    "measured",
    "bound",
    "margin",
    "tightness",
    "lower",
    "upper",
    "step",
    "confidence",
    "source",
    "trials",
    "learning_rate",
    "largest_step",
    "reason",
)
"""Of a table of verdicts, behind a column for every key of the sweep."""


def table(verdicts: Iterable[Verdict]) -> pd.DataFrame:
    """A tidy table: a row a verdict, a column for every swept key, then what a verdict says.

    >>> import frugal_theory as ft
    >>> sgd = {"density": 0.0, "state_full": "sgdm", "state_free": "sgd", "learning_rate": 0.5}
    >>> tables = {"algorithm": sgd, "problem": {"kind": "quadratic", "dimension": 4}, "verify": {"theorems": ["sgd"]}}
    >>> experiment = ft.parse({"name": "two", **tables, "sweep": {"algorithm.learning_rate": [0.5, 0.25]}})
    >>> ft.table(ft.verify(experiment))[["algorithm.learning_rate", "theorem", "status"]].values.tolist()
    [[0.5, 'sgd', 'holds'], [0.25, 'sgd', 'holds']]
    """
    import pandas as pd

    found = list(verdicts)
    keys = list(dict.fromkeys(key for verdict in found for key in verdict.cell))
    rows = [
        {**{key: verdict.cell.get(key) for key in keys}, **{name: getattr(verdict, name) for name in COLUMNS}}
        for verdict in found
    ]
    return pd.DataFrame(rows, columns=[*keys, *COLUMNS])


def plot(what: Any, table: pd.DataFrame | None = None, *, title: str = "") -> Any:
    """A Matplotlib figure of evidence, of verdicts, or of a study with its table.

    ``what``: an :class:`Evidence`, several of them (a sequence, or a mapping from label to evidence: one line each, with its
    band), a sequence of :class:`Verdict` (measured over bound of each), or a study, whose first figure of ``table`` is drawn.
    Raises TypeError for anything else, and ValueError where there is nothing to draw.
    """
    if isinstance(what, Evidence):
        what = [what]
    if hasattr(what, "draw") and table is not None:
        figures = list(what.draw(table).values())
        if not figures:
            raise ValueError("the study draws no figure of this table")
        return figures[0]
    entries = list(what.values()) if isinstance(what, Mapping) else list(what) if isinstance(what, Sequence) else []
    if entries and all(isinstance(entry, Verdict) for entry in entries):
        figure = dots([verdict.record() for verdict in entries])
        if figure is None:
            raise ValueError("no verdict has a measured value: nothing to draw")
        return figure.figure
    if entries and all(isinstance(entry, Evidence) for entry in entries):
        labels = list(what) if isinstance(what, Mapping) else _labels(entries)
        return _lines(dict(zip(map(str, labels), entries, strict=True)), title)
    raise TypeError(
        "plot takes an Evidence, several of them, a list of verdicts, or a study with its table: "
        f"plot(study, table); got {type(what).__name__}"
    )


def _labels(entries: Sequence[Evidence]) -> list[str]:
    """What tells them apart: the source, with a number where it does not."""
    names = [source_name(entry.source) for entry in entries]
    return [f"{name} {place + 1}" if names.count(name) > 1 else name for place, name in enumerate(names)]


def _lines(evidence: Mapping[str, Evidence], title: str) -> Any:
    """Running averages against the horizon, each with the band of its interval."""
    import numpy as np
    import pandas as pd
    import seaborn as sns

    frames = [found.frame().assign(evidence=label) for label, found in evidence.items()]
    data = pd.concat([thin(frame) for frame in frames], ignore_index=True)
    metrics = {found.metric for found in evidence.values()}
    what = "average of E‖g‖² over the first k steps" if metrics == {"squared_gradient_norm"} else ", ".join(sorted(metrics))
    with style():
        figure, axes = canvas(title or "Evidence", what, right=24)
        hues = [COLOURS[role] for role in HUES]
        enough = hues if len(evidence) <= len(hues) else sns.color_palette("colorblind", len(evidence))
        palette = dict(zip(evidence, enough, strict=False))
        sns.lineplot(data=data, x="step", y="mean", hue="evidence", palette=palette, ax=axes, legend=len(evidence) > 1)
        for label, lines in data.groupby("evidence", sort=False):
            axes.fill_between(
                lines["step"], lines["lower"].clip(lower=0), lines["upper"], color=palette[str(label)], alpha=0.2, linewidth=0
            )
        positive = data[["lower", "mean", "upper"]].to_numpy(dtype=float)
        positive = positive[np.isfinite(positive) & (positive > 0)]
        axes.set(xscale="log", xlabel="step k", ylabel="")
        if positive.size:
            axes.set_yscale("log")
            low, high = positive.min() / 1.2, positive.max() * 1.2
            axes.set_ylim(low, high)
            log_ticks(axes.yaxis, low, high)
        log_ticks(axes.xaxis, 1, float(data["step"].max()))
        if len(evidence) > 1:
            axes.legend(frameon=False, title=None)
        return rendered("evidence", title or "Evidence", figure, data).figure
