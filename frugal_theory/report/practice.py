"""The figures of practice: what training measured, drawn in the same hand as theory's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from frugal_theory.report.drawing import (
    COLOURS,
    POINTS,
    EndLabel,
    Plot,
    canvas,
    draw_line,
    end_labels,
    linear_ticks,
    log_limits,
    log_ticks,
    plot,
    style,
    thin,
)
from frugal_theory.report.words import number
from frugal_theory.results.read import Results, to_number

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["gradient_norm", "training_curve"]


def training_curve(results: Results) -> Plot | None:
    """Perplexity over steps: training (raw and smoothed loss), validation, and the unigram model as the line to beat."""
    import pandas as pd

    data = curve_data(results)
    if data.empty:
        return None
    train, test = COLOURS["hue-1"], COLOURS["hue-2"]
    looks: dict[str, dict[str, Any]] = {
        "training": {"color": train, "alpha": 0.28, "linewidth": 0.9},
        "training, smoothed": {"color": train, "linewidth": 2.2},
        "validation": {"color": test, "linewidth": 1.8, "marker": "o", "markersize": 4.5, "markeredgewidth": 0},
        "unigrams": {"color": COLOURS["ink"], "linewidth": 1.2, "linestyle": (0, (5, 2.5))},
    }
    last, low, high = max(1, data["step"].max()), data["perplexity"].min() / 1.2, curve_top(data)
    with style():
        experiment = results.training.experiment
        of_a_task = experiment is not None and experiment.data.task is not None
        what = "exp(loss a row), or a token of a task with answers" if of_a_task else "perplexity, exp(cross-entropy per token)"
        figure, axes = canvas("Training curve", f"{what}; lower is better")
        axes.set_yscale("log")
        labels = []
        for series, line in data.groupby("series", sort=False):
            draw_line(axes, line, "step", "perplexity", **looks[series])
            end = line.iloc[-1]
            text = f"{series.removesuffix(', smoothed')} {number(end['perplexity'])}"
            if series != "training" or "training, smoothed" not in set(data["series"]):
                labels.append(EndLabel(end["step"], end["perplexity"], text, looks[series]["color"]))
        axes.set(xlabel="step k", ylabel="", xlim=(0, last), ylim=(low, high))
        log_ticks(axes.yaxis, low, high)
        linear_ticks(axes.xaxis)
        end_labels(axes, labels)
        title = f"Training and validation {'loss, as its exponential,' if of_a_task else 'perplexity'} over steps"
        return plot("training-curve", title, figure, pd.DataFrame(data))


def curve_top(data: pd.DataFrame) -> float:
    """Where the axis ends: a little above the unigram model and the second half of training; the first steps are off it."""
    line = data.loc[data["series"] == "unigrams", "perplexity"]
    if line.empty:
        return float(data["perplexity"].max() * 1.2)
    late = data.loc[data["step"] >= data["step"].max() / 2, "perplexity"]
    return float(max(2.2 * line.max(), 1.2 * late.max()))


def curve_data(results: Results) -> pd.DataFrame:
    """The lines of the training curve: columns series, step, perplexity. The smoothed line averages the loss, not its exp."""
    import numpy as np
    import pandas as pd

    parts = []

    def add(series: str, steps: Any, loss: Any) -> None:
        line = pd.DataFrame({"series": series, "step": steps, "perplexity": np.exp(np.minimum(loss, 80.0))})
        parts.append(thin(line[np.isfinite(line["perplexity"])], POINTS, logarithmic=False))

    rows, checks = results.training.steps, results.training.validation
    if len(rows):
        add("training", rows["step"], rows["loss"])
    if len(rows) > 1:
        add("training, smoothed", rows["step"], rows["loss"].ewm(span=max(2, len(rows) / 30)).mean())
    if len(checks):
        add("validation", checks["step"], checks["validation_loss"])
    unigram = to_number((results.training.summary or {}).get("unigram_perplexity"))
    if unigram > 0 and parts:
        add("unigrams", [0, max(1, *(part["step"].max() for part in parts))], np.log([unigram, unigram]))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame({"series": [], "step": [], "perplexity": []})


def gradient_norm(results: Results) -> Plot | None:
    """The practice counterpart of theory's metric: running average of the squared norm of the mini-batch gradient.

    The average is the run's evidence; the single steps are those of its log.
    """
    import pandas as pd

    if "squared_gradient_norm" not in results.training.steps:
        return None
    rows = results.training.steps[["step", "squared_gradient_norm"]].dropna()
    rows = rows[(rows["step"] > 0) & (rows["squared_gradient_norm"] > 0)].rename(columns={"squared_gradient_norm": "value"})
    if len(rows) < 2:
        return None
    average = results.training.evidence.rename(columns={"mean": "value"})[["step", "value"]]
    data = pd.concat([thin(rows).assign(series="one mini-batch"), thin(average).assign(series="running average")])
    colour = COLOURS["hue-1"]
    with style():
        figure, axes = canvas("Measured in training", "average squared norm of the mini-batch gradient up to step k")
        axes.set(xscale="log", yscale="log")
        looks = {"one mini-batch": {"alpha": 0.28, "linewidth": 0.9}, "running average": {"linewidth": 2.4}}
        for series, line in data.groupby("series", sort=False):
            draw_line(axes, line, "step", "value", color=colour, **looks[series])
        log_limits(axes, rows["step"].min(), rows["step"].max(), data["value"].min(), data["value"].max())
        axes.set(xlabel="step k", ylabel="")
        ends = {series: line.iloc[-1] for series, line in data.groupby("series", sort=False)}
        end_labels(axes, [EndLabel(e["step"], e["value"], s, colour) for s, e in ends.items()])
        return plot("gradient-norm", "Average squared norm of the mini-batch gradient up to step k", figure, data)
