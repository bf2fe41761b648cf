"""The figures of practice: what training measured, drawn in the same hand as theory's."""

from __future__ import annotations

from typing import Any

from frugal_theory.report.drawing import (
    COLOURS,
    EndLabel,
    Plot,
    canvas,
    end_labels,
    linear_ticks,
    log_limits,
    log_ticks,
    plot,
    style,
    thin,
)
from frugal_theory.report.results import Results, to_number
from frugal_theory.report.words import number

__all__ = ["gradient_norm", "perplexity", "training_loss"]


def training_loss(results: Results) -> Plot | None:
    """Training loss, raw and smoothed, with the validation loss over it."""
    import pandas as pd
    import seaborn as sns

    rows = results.training
    if len(rows) < 2:
        return None
    smooth = rows["loss"].ewm(span=max(2, len(rows) / 30)).mean()
    parts = [
        thin(rows, 400, logarithmic=False)[["step", "loss"]].assign(series="training"),
        thin(rows.assign(loss=smooth), logarithmic=False)[["step", "loss"]].assign(series="training, smoothed"),
    ]
    if len(results.validation):
        parts.append(
            thin(results.validation, logarithmic=False)[["step", "validation_loss"]]
            .rename(columns={"validation_loss": "loss"})
            .assign(series="validation")
        )
    data = pd.concat(parts).reset_index(drop=True)
    looks: dict[str, dict[str, Any]] = {
        "training": {"color": COLOURS["hue-1"], "alpha": 0.28, "linewidth": 0.9},
        "training, smoothed": {"color": COLOURS["hue-1"], "linewidth": 2.2},
        "validation": {"color": COLOURS["hue-2"], "linewidth": 1.4, "marker": "o", "markersize": 4.5, "markeredgewidth": 0},
    }
    with style():
        figure, axes = canvas("Training loss", "cross-entropy, nats per token")
        for series, line in data.groupby("series", sort=False):
            sns.lineplot(data=line, x="step", y="loss", ax=axes, errorbar=None, estimator=None, legend=False, **looks[series])
        axes.set(xlabel="step k", ylabel="", xlim=(0, data["step"].max()))
        linear_ticks(axes)
        ends = {series: line.iloc[-1] for series, line in data.groupby("series", sort=False) if series != "training"}
        names = {"training, smoothed": "training", "validation": "validation"}
        end_labels(axes, [EndLabel(e["step"], e["loss"], names[s], looks[s]["color"]) for s, e in ends.items()])
        return plot("training-loss", "Training and validation loss over steps", figure, data)


def perplexity(results: Results) -> Plot | None:
    """Validation perplexity over steps, with the perplexity of the unigram model as the line to beat."""
    import pandas as pd
    import seaborn as sns

    if "validation_perplexity" not in results.validation or results.validation.empty:
        return None
    data = thin(results.validation, logarithmic=False)[["step", "validation_perplexity"]]
    unigram = to_number((results.summary or {}).get("unigram_perplexity"))
    data = data.rename(columns={"validation_perplexity": "perplexity"}).assign(series="validation")
    with style():
        figure, axes = canvas("Validation perplexity", "perplexity of held-out text; lower is better")
        axes.set_yscale("log")
        colour = COLOURS["hue-2"]
        sns.lineplot(data=data, x="step", y="perplexity", ax=axes, color=colour, errorbar=None, estimator=None, linewidth=2.2,
                     marker="o", markersize=5, markeredgewidth=0, legend=False)  # fmt: skip
        end = data.iloc[-1]
        labels = [EndLabel(end["step"], end["perplexity"], f"validation {number(end['perplexity'])}", colour)]
        if unigram > 0:
            line = pd.DataFrame({"step": [0, max(1, end["step"])], "perplexity": unigram, "series": "unigrams"})
            axes.plot(line["step"], line["perplexity"], color=COLOURS["ink"], linewidth=1.2, linestyle=(0, (5, 2.5)))
            labels.append(EndLabel(max(1, end["step"]), unigram, f"unigrams {number(unigram)}", COLOURS["ink"]))
            data = pd.concat([data, line])
        values = data["perplexity"]
        axes.set(xlabel="step k", ylabel="", xlim=(0, max(1, end["step"])), ylim=(values.min() / 1.25, values.max() * 1.25))
        log_ticks(axes.yaxis, values.min() / 1.25, values.max() * 1.25)
        linear_ticks(axes, y=False)
        end_labels(axes, labels)
        return plot("validation-perplexity", "Validation perplexity over steps", figure, data)


def gradient_norm(results: Results) -> Plot | None:
    """The practice counterpart of theory's metric: running average of the squared norm of the mini-batch gradient."""
    import pandas as pd
    import seaborn as sns

    if "squared_gradient_norm" not in results.training:
        return None
    rows = results.training[["step", "squared_gradient_norm"]].dropna()
    rows = rows[(rows["step"] > 0) & (rows["squared_gradient_norm"] > 0)].rename(columns={"squared_gradient_norm": "value"})
    if len(rows) < 2:
        return None
    average = rows.assign(value=rows["value"].expanding().mean())
    data = pd.concat([thin(rows).assign(series="one mini-batch"), thin(average).assign(series="running average")])
    colour = COLOURS["hue-1"]
    with style():
        figure, axes = canvas("Measured in training", "average squared norm of the mini-batch gradient up to step k")
        axes.set(xscale="log", yscale="log")
        looks = {"one mini-batch": {"alpha": 0.28, "linewidth": 0.9}, "running average": {"linewidth": 2.4}}
        for series, line in data.groupby("series", sort=False):
            sns.lineplot(
                data=line,
                x="step",
                y="value",
                ax=axes,
                color=colour,
                errorbar=None,
                estimator=None,
                legend=False,
                **looks[series],
            )
        log_limits(axes, rows["step"].min(), rows["step"].max(), data["value"].min(), data["value"].max())
        axes.set(xlabel="step k", ylabel="")
        ends = {series: line.iloc[-1] for series, line in data.groupby("series", sort=False)}
        end_labels(axes, [EndLabel(e["step"], e["value"], s, colour) for s, e in ends.items()])
        return plot("gradient-norm", "Average squared norm of the mini-batch gradient up to step k", figure, data)
