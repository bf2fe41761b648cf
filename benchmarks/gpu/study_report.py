"""The tables and the picture of the training study.

A method is shown at its system's own learning rate; where it was tried at others, they stand in a table of their own, and
none is picked. Seeds share start, data and order among methods, so that differences within a seed say more than the spread of
the losses does.
"""

from __future__ import annotations

from collections import Counter
from statistics import mean
from typing import Any

import pandas as pd

from benchmarks.gpu.methods import METHODS
from benchmarks.gpu.place import MIB, markdown, sentence
from frugal_theory.report.drawing import style
from frugal_theory.studies.figures import panels, picture

Row = dict[str, Any]

REFERENCE = "AdamW"

WINDOW = 10
"""Steps over which a drawn training loss is averaged."""

LONG = ("losses", "validation", "machine", "constants", "verdicts", "what", "probe measurements", "verdict counts")
"""What a row has that is no cell of a table."""


def report(rows: list[Row]) -> str:
    """Of every model: losses at equal steps, state, speed and memory by method; other rates and seeds; what theory says."""
    machines = dict.fromkeys(sentence(row["machine"]) for row in rows)
    lines = [f"{'; '.join(machines)}." if rows else "Nothing was run."]
    for preset in dict.fromkeys(row["preset"] for row in rows):
        of_model = [row for row in rows if row["preset"] == preset]
        tokens = max((row.get("tokens", 0) for row in of_model), default=0)
        lines += ["", f"### {preset}, {tokens:,} tokens a run"]
        for table_of in (_methods, _rates, _seeds, _practice):
            lines += table_of(of_model)
    return "\n".join([*lines, *_failures(rows)])


def table(rows: list[Row]) -> pd.DataFrame:
    """A row a run, what is a list of its own left out."""
    return pd.DataFrame([{key: value for key, value in row.items() if key not in LONG} for row in rows])


def curves(rows: list[Row]) -> pd.DataFrame:
    """A row a step of every run: ``name``, ``method``, ``step``, ``loss`` and, where it was evaluated, ``validation``."""
    found = []
    for row in rows:
        losses = dict(enumerate(row.get("losses", []), start=1))
        validation = {int(step): loss for step, loss in row.get("validation", {}).items()}
        steps = sorted({*losses, *validation})
        named = {"name": row["name"], "method": row["method"]}
        found += [{**named, "step": k, "loss": losses.get(k), "validation": validation.get(k)} for k in steps]
    return pd.DataFrame(found, columns=["name", "method", "step", "loss", "validation"])


def picture_of(rows: list[Row]) -> bytes | None:
    """The comparison as a PNG: training loss and validation loss by step. None as long as nothing of it has trained."""
    import seaborn as sns

    shown = [row for row in _base(rows) if row["preset"] == rows[0]["preset"] and not row["compiled"]]
    if not shown:
        return None
    drawn = curves(shown)
    drawn["loss"] = drawn.groupby("method")["loss"].transform(lambda loss: loss.rolling(WINDOW, min_periods=1).mean())
    order = [method for method in METHODS if method in set(drawn["method"])]
    colours = dict(zip(METHODS, sns.color_palette("colorblind", len(METHODS)), strict=True))
    with style():
        title = f"{shown[0]['preset']}, {max(row['tokens'] for row in shown):,} tokens"
        note = f"{sentence(shown[0]['machine'])}; each at its system's own learning rate"
        figure, axes = panels(title, [f"training loss, mean of {WINDOW} steps", "validation loss"], note, height=400)
        for own, column in zip(axes, ("loss", "validation"), strict=True):
            part = drawn[(drawn["step"] > 0) & drawn[column].notna()]
            legend = "brief" if column == "loss" else False
            sns.lineplot(
                part, x="step", y=column, hue="method", hue_order=order, palette=colours, ax=own, legend=legend, errorbar=None
            )
            own.set(xlabel="", ylabel="")
        axes[0].legend(frameon=False, fontsize=9.5)
        return picture(figure)


def _trained(rows: list[Row]) -> list[Row]:
    return [row for row in rows if row["outcome"] == "trained"]


def _base(rows: list[Row]) -> list[Row]:
    """The runs of the comparison: the system's own rate, the first seed."""
    return [row for row in _trained(rows) if row["factor"] == 1 and row["seed"] == 0]


def _methods(rows: list[Row]) -> list[str]:
    """A line a method, and one more where it was compiled, too."""
    own = _base(rows)
    if not own:
        return []
    marks = sorted({int(step) for row in own for step in row["validation"]})
    columns = {
        "method": "method",
        "rate": "rate",
        **{f"{k}": f"step {k}" for k in marks},
        "training": "training loss",
        "state MiB": "state, MiB",
        "speed": "tokens/s",
        "mfu": "MFU, %",
        "peak MiB": "peak, MiB",
        "probes": "probes, % of the time",
    }
    return ["", "Validation loss, and what it took:", "", markdown([_line(row, marks) for row in own], columns)]


def _line(row: Row, marks: list[int]) -> Row:
    share = row.get("probe share")
    return {
        "method": f"{row['method']}{', compiled' if row['compiled'] else ''}",
        "rate": row["rate"],
        **{str(k): f"{loss:.3f}" for k in marks if (loss := row["validation"].get(str(k))) is not None},
        "training": f"{row['training loss']:.3f}",
        "state MiB": row["state bytes"] / MIB,
        "speed": None if row["tokens a second"] is None else f"{row['tokens a second']:,.0f}",
        "mfu": None if row["mfu"] is None else f"{100 * row['mfu']:.1f}",
        "peak MiB": row["peak MiB"],
        "probes": None if share is None else f"{100 * share:.1f}",
    }


def _rates(rows: list[Row]) -> list[str]:
    """The last validation loss at every multiple of the system's own rate."""
    own = [row for row in rows if row["seed"] == 0 and not row["compiled"]]
    factors = sorted({row["factor"] for row in own})
    return [] if len(factors) < 2 else _grid("learning rate × ", own, "factor", factors)


def _seeds(rows: list[Row]) -> list[str]:
    """The last validation loss by seed, and its differences from AdamW's within each."""
    own = [row for row in rows if row["factor"] == 1 and not row["compiled"]]
    seeds = sorted({row["seed"] for row in own})
    return [] if len(seeds) < 2 else _grid("seed ", own, "seed", seeds)


def _grid(word: str, rows: list[Row], key: str, values: list[Any]) -> list[str]:
    reference = {row[key]: row["validation loss"] for row in _trained(rows) if row["method"] == REFERENCE}
    found = []
    for method in METHODS:
        own = [row for row in rows if row["method"] == method and row["outcome"] != "failed"]
        less = [row["validation loss"] - reference[row[key]] for row in _trained(own) if row[key] in reference]
        line = {"method": method, **{f"{row[key]:.3g}": _loss(row) for row in own}}
        if key == "seed" and method != REFERENCE and less:
            line["less"] = f"{mean(less):+.3f} ({min(less):+.3f} to {max(less):+.3f})"
        if own:
            found.append(line)
    columns = {"method": "last validation loss", **{f"{value:.3g}": f"{word}{value:.3g}" for value in values}}
    if key == "seed":
        columns["less"] = f"less {REFERENCE}'s, mean and range"
    return ["", markdown(found, columns)]


def _loss(row: Row) -> str:
    return f"{row['validation loss']:.3f}" if row["outcome"] == "trained" else "diverged"


def _practice(rows: list[Row]) -> list[str]:
    """What the probes found along every run of the comparison, and what theorems say of it."""
    own = [row for row in _base(rows) if "probe share" in row]
    if not own:
        return []
    columns = {"method": "method", "L": "L, at least about", "σ²": "σ², at least about", "Δ": "Δ, at most"}
    columns |= {"measured": "measured", "verdicts": "verdicts", "why": "reason most given"}
    return ["", "Measured along the path, and the verdicts (docs/practice.md):", "", markdown(list(map(_judged, own)), columns)]


def _judged(row: Row) -> Row:
    counts, verdicts = row.get("verdict counts") or {}, row["verdicts"] or []
    reasons = Counter(verdict["reason"] for verdict in verdicts).most_common(1)
    return {
        "method": row["method"],
        **{key: value for key, value in (row["constants"] or {}).items() if key != "noise"},
        "measured": ", ".join(f"{count} × {group}" for group, count in row["probe measurements"].items()),
        "verdicts": ", ".join(f"{count} {status}" for status, count in counts.items()) or None,
        "why": reasons[0][0] if reasons else None,
    }


def _failures(rows: list[Row]) -> list[str]:
    broken = [row for row in rows if row["outcome"] == "failed"]
    return [f"\nA run failed ({row['name']}):\n\n```\n{row['what'][-1500:]}\n```" for row in broken]
