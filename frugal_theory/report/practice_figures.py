"""Still figures of several training runs, and of what probes say of the gradient's subspaces (the paper's figure 2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from frugal_theory.report import words
from frugal_theory.report.comparison import validation
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
    shorten,
    style,
)
from frugal_theory.report.runs import Run, SameSetting, interval

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["angles", "angles_data", "comparison", "state"]

LABEL = 21
"""Characters at the end of a line, at most."""

LINES = 8
"""Settings that a still figure tells apart, at most; the page's own figure has all."""


def comparison(settings: Sequence[SameSetting]) -> Plot | None:
    """Validation perplexity over steps, a line a setting with the interval of its mean over seeds."""
    import pandas as pd

    parts = [validation(setting).assign(setting=setting.name) for setting in settings]
    parts = [part for part in parts if len(part)]
    if len(parts) < 2:
        return None
    parts.sort(key=lambda part: float(part["value"].iloc[-1]))
    shown, data = parts[:LINES], pd.concat(parts, ignore_index=True)
    more = f"; the best {LINES} of {len(parts)}" if len(parts) > LINES else ""
    ends = max(float(part["value"].iloc[-1]) for part in shown)
    low, high = float(data["value"].min()) / 1.1, max(1.6 * ends, 1.1 * float(data["value"].min()))
    with style():
        figure, axes = canvas("Training runs", f"validation perplexity, lower is better{more}", right=150)
        axes.set_yscale("log")
        labels = []
        for place, part in enumerate(shown):
            colour = COLOURS[HUES[place % len(HUES)]]
            dash = "-" if place < len(HUES) else (0, (5, 2))
            draw_line(axes, part, "step", "value", color=colour, linestyle=dash)
            band = part.dropna(subset=["lower"])
            axes.fill_between(band["step"], band["lower"], band["upper"], color=colour, alpha=0.2, linewidth=0)
            name = shorten(str(part["setting"].iloc[0]), LABEL)
            labels.append(EndLabel(float(part["step"].iloc[-1]), float(part["value"].iloc[-1]), name, colour))
        axes.set(xlabel="step k", ylabel="", xlim=(0, max(1, data["step"].max())), ylim=(low, high))
        log_ticks(axes.yaxis, low, high)
        linear_ticks(axes.xaxis)
        end_labels(axes, labels)
        return plot("training-runs", "Validation perplexity of the training runs over steps", figure, data)


def state(settings: Sequence[SameSetting]) -> Plot | None:
    """The best perplexity of every setting over the bytes that its optimizer holds, with the interval over seeds."""
    import pandas as pd
    import seaborn as sns

    rows = []
    for setting in settings:
        done = [r for r in setting.runs if r.state == "finished" and r.of_summary("optimizer_state_bytes") >= 0]
        mean = interval([run.best for run in done])
        if mean.count:
            held = sum(run.of_summary("optimizer_state_bytes") for run in done) / len(done)
            rows.append((setting.name, held, *(math.exp(x) for x in (mean.mean, mean.lower, mean.upper)), mean.count))
    data = pd.DataFrame(rows, columns=["setting", "bytes", "perplexity", "lower", "upper", "seeds"])
    if len(data) < 2:
        return None
    with style():
        figure, axes = canvas("Perplexity and memory", "best validation perplexity over bytes of optimizer state", right=150)
        labels = []
        for place, row in enumerate(data.sort_values("perplexity").head(LINES).itertuples(index=False)):
            colour = COLOURS[HUES[place % len(HUES)]]
            point = pd.DataFrame([row._asdict()])
            sns.scatterplot(data=point, x="bytes", y="perplexity", ax=axes, color=colour, s=58, linewidth=0, legend=False)
            if math.isfinite(row.lower):
                axes.plot([row.bytes] * 2, [row.lower, row.upper], color=colour, linewidth=1.5)
            labels.append(EndLabel(row.bytes, row.perplexity, shorten(row.setting, LABEL), colour))
        axes.set_yscale("log")
        low, high = float(data["perplexity"].min()) / 1.15, float(data["perplexity"].max()) * 1.15
        axes.set(xlabel="optimizer state", ylabel="", ylim=(low, high))
        axes.set_xlim(0, 1.08 * float(data["bytes"].max()))
        log_ticks(axes.yaxis, low, high)
        linear_ticks(axes.xaxis)
        axes.xaxis.set_major_formatter(lambda value, _: words.memory(value))
        end_labels(axes, labels)
        return plot("perplexity-and-state", "Best perplexity over bytes of optimizer state", figure, data)


def angles_data(run: Run) -> pd.DataFrame:
    """What probes say of principal angles: columns tensor, step, cosine, first, inside, random; a row a tensor and measurement.

    ``cosine``: the mean cosine of the angles between the leading subspace of the gradient and that of the measurement before;
    ``first``: to that of the first one; ``inside``: the gradient's energy in the subspace before; ``random``: what it is
    for unrelated subspaces, in the mean square.
    """
    import pandas as pd

    columns = ["tensor", "step", "cosine", "first", "inside", "random"]
    if "probes" not in run.run.steps:
        return pd.DataFrame(columns=columns)
    rows = []
    for step, found in run.run.steps[["step", "probes"]].itertuples(index=False):
        if not isinstance(found, dict):
            continue
        begin = "angles.cosine of "
        for tensor in (key.removeprefix(begin) for key in found if key.startswith(begin)):
            rows.append((tensor, int(step), *(found.get(f"angles.{key} of {tensor}", math.nan) for key in columns[2:])))
    return pd.DataFrame(rows, columns=columns)


def angles(run: Run, name: str = "angles") -> Plot | None:
    """Mean cosine of the principal angles to the first subspace over the steps: a line a tensor, the mean of all in bold.

    None for a run without two such measurements.
    """
    data = angles_data(run)
    if data["step"].nunique() < 2:
        return None
    mean = data.groupby("step")[["cosine", "first", "random"]].mean().reset_index()
    last = mean.iloc[-1]
    with style():
        figure, axes = canvas("Gradient subspaces over time", "mean cosine of principal angles; thin lines: tensors", right=120)
        for _, line in data.groupby("tensor", sort=False):
            axes.plot(line["step"], line["first"], color=COLOURS["hue-2"], linewidth=0.7, alpha=0.35)
        looks: dict[str, dict[str, Any]] = {
            "cosine": {"color": COLOURS["hue-1"], "linewidth": 2.2, "marker": "o", "markersize": 5, "markeredgewidth": 0},
            "first": {"color": COLOURS["hue-2"], "linewidth": 2.2, "marker": "o", "markersize": 5, "markeredgewidth": 0},
        }
        for key, look in looks.items():
            draw_line(axes, mean, "step", key, **look)
        chance = float((data["random"] ** 0.5).mean())
        axes.axhline(chance, color=COLOURS["ink"], linewidth=1.1, linestyle=(0, (5, 2.5)))
        end = float(last["step"])
        axes.set(xlabel="step k", ylabel="", xlim=(0, end), ylim=(0, 1))
        linear_ticks(axes.xaxis)
        linear_ticks(axes.yaxis)
        labels = [
            EndLabel(end, float(last["cosine"]), "to the one before", COLOURS["hue-1"]),
            EndLabel(end, float(last["first"]), "to the first", COLOURS["hue-2"]),
            EndLabel(end, chance, "unrelated, at most", COLOURS["ink"]),
        ]
        end_labels(axes, labels)
        return plot(name, "Principal angles of gradient subspaces over steps", figure, data)
