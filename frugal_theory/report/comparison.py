"""All training runs in one figure, against steps, tokens, seconds or the bytes of optimizer state, and their table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from frugal_theory.report import words
from frugal_theory.report.drawing import thin
from frugal_theory.report.overlay import Axis, Entry, Group, Overlay, Series
from frugal_theory.report.runs import CONFIDENCE, Interval, Run, SameSetting, interval
from frugal_theory.verdicts.status import counted

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["curves", "rows", "validation"]

AXES = (
    Axis("step", "step k", False),
    Axis("tokens", "tokens", False),
    Axis("seconds", "seconds of training", False),
    Axis("state", "bytes of optimizer state", True),
)
VALIDATION, SEEDS, TRAINING, UNIGRAMS = range(4)
POINTS = 120

MANY = 12
"""Settings that are shown at once before a reader chooses."""


def curves(settings: Sequence[SameSetting]) -> Overlay | None:
    """Validation and training perplexity of every setting; against state, the best of each. None without a single point.

    Seeds of one setting are one line, the mean of the loss with its interval; each by itself can be switched on.
    """
    series: list[Series] = []
    for cell, setting in enumerate(settings):
        joined = validation(setting)
        if len(joined):
            series.append(_line(cell, VALIDATION, joined))
        for run in setting.runs:
            if len(setting.runs) > 1 and len(own := validation(SameSetting("", (run,)))):
                series.append(_line(cell, SEEDS, own, run.name))
            if len(smooth := _training(run)):
                series.append(_line(cell, TRAINING, smooth, run.name if len(setting.runs) > 1 else ""))
        if (point := _best_against_state(cell, setting)) is not None:
            series.append(point)
        series += _unigrams(cell, setting)
    if not series:
        return None
    several = any(len(setting.runs) > 1 for setting in settings)
    note = f"Of several seeds the mean validation loss, as perplexity, with its {words.percent(CONFIDENCE)} interval."
    entries = [
        Entry("validation", True),
        Entry("validation, each seed", False, "faint"),
        Entry("training, smoothed", len(settings) == 1, "bound"),
        Entry("unigram model", len(settings) == 1, "shape"),
    ]
    used = sorted({one.line for one in series})
    axes = tuple(axis for axis in AXES if any(axis.key in one.x for one in series))
    return Overlay(
        "perplexity",
        "Perplexity of the training runs" if len(settings) > 1 else "Training curve",
        axes,
        Axis("value", "perplexity; against state the best of the run", True),
        Group("Settings" if several else "Runs", tuple(Entry(_said(s), i < MANY) for i, s in enumerate(settings))),
        Group("Lines", tuple(entries[line] for line in used)),
        tuple(replace(one, line=used.index(one.line)) for one in series),
        note if several else "",
    )


def _said(setting: SameSetting) -> str:
    """The setting's name, and that it diverged."""
    count = sum(run.state == "diverged" for run in setting.runs)
    if not count:
        return setting.name
    return f"{setting.name} ({f'{count} of {len(setting.runs)} ' if len(setting.runs) > 1 else ''}diverged)"


def validation(setting: SameSetting) -> pd.DataFrame:
    """The mean validation loss of the runs at the steps at which all of them were evaluated that got so far, as perplexity.

    Columns step, tokens, seconds, value, lower, upper, count. At a step at which fewer runs have been evaluated than at the
    one before (some are not finished) the line ends. What diverged is not averaged: a mean over those that did not would
    speak of them only.
    """
    import pandas as pd

    sound = [run for run in setting.runs if run.state != "diverged" or len(setting.runs) == 1]
    parts = [_checks(run).assign(run=place) for place, run in enumerate(sound) if len(run.run.validation)]
    columns = ["step", "tokens", "seconds", "value", "lower", "upper", "count"]
    if not parts:
        return pd.DataFrame(columns=columns)
    table = pd.concat(parts, ignore_index=True)
    rows = []
    for step, at in table.groupby("step"):
        if len(at) < len(parts):
            continue
        mean = interval([float(x) for x in at["validation_loss"]])
        values = [_exp(x) for x in (mean.mean, mean.lower, mean.upper)]
        rows.append((step, float(at["tokens"].mean()), float(at["seconds"].mean()), *values, mean.count))
    return pd.DataFrame(rows, columns=columns)


def _checks(run: Run) -> pd.DataFrame:
    """The run's evaluations with the tokens and the seconds of their steps, from the steps around them."""
    import numpy as np

    checks, steps = run.run.validation[["step", "validation_loss"]], run.run.steps
    found = {}
    for key in ("tokens", "seconds"):
        known = steps.dropna(subset=[key]) if key in steps else steps.head(0)
        found[key] = (
            np.interp(checks["step"], [0, *known["step"]], [0, *known[key]]) if len(known) else np.full(len(checks), math.nan)
        )
    return checks.assign(**found)


def _training(run: Run) -> pd.DataFrame:
    """The smoothed training loss as perplexity."""
    import numpy as np
    import pandas as pd

    rows = run.run.steps
    if len(rows) < 2:
        return pd.DataFrame()
    smooth = rows["loss"].ewm(span=max(2, len(rows) / 30)).mean()
    table = pd.DataFrame({"step": rows["step"], "value": np.exp(np.minimum(smooth, 80.0))})
    for key in ("tokens", "seconds"):
        table[key] = rows.get(key, math.nan)
    return thin(table[np.isfinite(table["value"])], POINTS, logarithmic=False)


def _line(cell: int, line: int, table: pd.DataFrame, name: str = "") -> Series:
    x = {key: [float(v) for v in table[key]] for key in ("step", "tokens", "seconds") if table[key].notna().all()}
    known = "lower" in table and table["lower"].notna().any()
    lower, upper = ([float(value) for value in table[key]] if known else [] for key in ("lower", "upper"))
    return Series(cell, line, x, [float(value) for value in table["value"]], lower, upper, name)


def _best_against_state(cell: int, setting: SameSetting) -> Series | None:
    """The best perplexity over the bytes that the optimizer holds: one point, with the interval over seeds."""
    done = [run for run in setting.runs if run.state == "finished" and math.isfinite(run.of_summary("optimizer_state_bytes"))]
    mean = interval([run.best for run in done])
    if not mean.count:
        return None
    bytes_ = sum(run.of_summary("optimizer_state_bytes") for run in done) / len(done)
    lower, upper = ([_exp(end)] if mean.count > 1 else [] for end in (mean.lower, mean.upper))
    return Series(cell, VALIDATION, {"state": [bytes_]}, [_exp(mean.mean)], lower, upper)


def _unigrams(cell: int, setting: SameSetting) -> list[Series]:
    run = next((run for run in setting.runs if run.of_summary("unigram_perplexity") > 0), None)
    if run is None or run.run.steps.empty:
        return []
    level = run.of_summary("unigram_perplexity")
    ends = {key: [0.0, float(run.run.steps[key].max())] for key in ("step", "tokens", "seconds") if key in run.run.steps}
    return [Series(cell, UNIGRAMS, ends, [level, level])]


def rows(settings: Sequence[SameSetting]) -> list[dict[str, Any]]:
    """The table: for every setting its runs, and over several seeds their mean; every entry a text."""
    return [
        {
            "name": setting.name,
            "several": len(setting.runs) > 1,
            "mean": _mean(setting),
            "runs": [_row(run) for run in setting.runs],
        }
        for setting in settings
    ]


def _mean(setting: SameSetting) -> dict[str, str]:
    """Over the seeds: best and last perplexity with their intervals. One that diverged is said, never averaged away."""
    diverged = sum(run.state == "diverged" for run in setting.runs)
    open_ = sum(run.state == "unfinished" for run in setting.runs)
    states = f"{len(setting.runs)} seeds"
    if diverged:
        states += f", {diverged} diverged"
    if open_:
        states += f", {open_} unfinished"
    best, last = (
        interval([getattr(run, which) for run in setting.runs if run.state == "finished"]) for which in ("best", "last")
    )
    return {
        "state": states,
        "best": words.number(_exp(best.mean), 4),
        "last": words.number(_exp(last.mean), 4),
        "best_range": _range(best),
        "last_range": _range(last),
        "best_exact": _digits(_exp(best.mean)),
        "last_exact": _digits(_exp(last.mean)),
    }


def _range(mean: Interval) -> str:
    return f"[{words.number(_exp(mean.lower), 4)}, {words.number(_exp(mean.upper), 4)}]" if mean.count > 1 else ""


def _row(run: Run) -> dict[str, Any]:
    summary = run.run.summary or {}
    steps = run.run.steps
    rates = steps["learning_rate"].dropna() if "learning_rate" in steps else []
    total = run.experiment.training.steps if run.experiment and run.experiment.training else None
    made = [*steps["step"], *run.run.validation["step"]]
    at = f"step {int(max(made)):,}" if made else "no step yet"
    state = {
        "finished": "finished",
        "diverged": f"diverged: {run.run.diverged}",
        "unfinished": f"unfinished, {at}{f' of {total:,}' if total and made else ''}",
    }[run.state]
    own, adamw = run.of_summary("optimizer_state_bytes"), run.of_summary("adamw_state_bytes")
    tokens = float(steps["tokens"].dropna().max()) if "tokens" in steps and len(steps) else math.nan
    seconds = float(steps["seconds"].dropna().max()) if "seconds" in steps and len(steps) else math.nan
    return {
        "name": run.name,
        "seed": "–" if run.experiment is None else str(run.experiment.seed),
        "state": state,
        "slug": {"finished": "holds", "diverged": "violated", "unfinished": "inconclusive"}[run.state],
        "best": words.number(_exp(run.best), 4),
        "last": words.number(_exp(run.last), 4),
        "rate": words.number(max(rates)) if len(rates) else "–",
        "tokens": words.count(tokens),
        "seconds": words.duration(seconds) if math.isfinite(seconds) else "–",
        "speed": words.number(summary.get("tokens_per_second")),
        "memory": words.memory(summary["peak_memory_bytes"]) if summary.get("peak_memory_bytes") else "–",
        "held": words.memory(own) if math.isfinite(own) else "–",
        "share": words.percent(own / adamw) if adamw > 0 and math.isfinite(own) else "",
        "exact": {
            "best": _digits(_exp(run.best)),
            "last": _digits(_exp(run.last)),
            "rate": _digits(max(rates) if len(rates) else math.nan),
            "tokens": _digits(tokens),
            "seconds": _digits(seconds),
            "speed": _digits(run.of_summary("tokens_per_second")),
            "memory": _digits(run.of_summary("peak_memory_bytes")),
            "held": _digits(own),
        },
        "verdicts": counted(str(v.get("status")) for v in run.run.verdicts) if run.run.verdicts else "–",
    }


def _exp(loss: float) -> float:
    return math.exp(min(loss, 80.0)) if math.isfinite(loss) else math.nan


def _digits(value: float) -> str:
    """Every digit; empty for what does not exist."""
    return repr(float(value)) if math.isfinite(value) else ""
