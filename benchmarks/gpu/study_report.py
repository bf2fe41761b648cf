"""The tables of the training study.

Where a piece has several rates, a method is shown at its best one; where it has several seeds, by the mean over them, never
by its best seed, and beside AdamW seed by seed: seeds share start, data and order, so that differences within a seed say more
than the spread of the losses does.
"""

from __future__ import annotations

from statistics import mean
from typing import Any

from benchmarks.gpu.methods import METHODS
from benchmarks.gpu.place import MIB, markdown, sentence

Row = dict[str, Any]

REFERENCE = "AdamW"


def best_rows(rows: list[Row]) -> dict[str, Row]:
    """Of every method that trained the run with the smallest last validation loss."""
    trained = sorted((row for row in rows if row["outcome"] == "trained"), key=lambda row: -row["validation loss"])
    found = {row["method"]: row for row in trained}  # the last of a method is its best
    return {method: found[method] for method in METHODS if method in found}


def report(rows: list[Row]) -> str:
    """Of every piece: losses at equal steps, state, speed and memory by method; then every run's last validation loss."""
    machines = dict.fromkeys(sentence(row["machine"]) for row in rows)
    lines = [f"{'; '.join(machines)}." if rows else "Nothing was run."]
    for number in sorted({row["piece"] for row in rows}):
        of_piece = [row for row in rows if row["piece"] == number]
        first = of_piece[0]
        title = f"### Piece {number}: {first['preset']}, {max(row['tokens'] for row in of_piece):,} tokens a run"
        lines += ["", title, "", *_methods(of_piece), "", _runs(of_piece)]
    return "\n".join(lines)


def _seeds(rows: list[Row]) -> list[int]:
    return sorted({row["seed"] for row in rows})


def _methods(rows: list[Row]) -> list[str]:
    """A line a method."""
    seeds = _seeds(rows)
    if len(seeds) == 1:
        chosen = {method: [row] for method, row in best_rows(rows).items()}
    else:
        chosen = {method: own for method in METHODS if (own := _trained(rows, method))}
    marks = sorted({int(step) for own in chosen.values() for row in own for step in row["validation"]})
    columns = {"method": "method", "rate": "rate" if len(seeds) > 1 else "best rate", **{f"{k}": f"step {k}" for k in marks}}
    columns |= {"training loss": "training loss", "state MiB": "state, MiB", "speed": "tokens/s", "peak MiB": "peak, MiB"}
    columns |= {"less": "last, less AdamW's"} if len(seeds) > 1 else {"edge": "note"}
    table = [_line(method, own, chosen.get(REFERENCE, []), marks, rows) for method, own in chosen.items()]
    return [
        f"Validation loss, mean over seeds {', '.join(map(str, seeds))}:" if len(seeds) > 1 else "Validation loss:",
        "",
        markdown(table, columns),
    ]


def _trained(rows: list[Row], method: str) -> list[Row]:
    return [row for row in rows if row["method"] == method and row["outcome"] == "trained"]


def _line(method: str, own: list[Row], reference: list[Row], marks: list[int], rows: list[Row]) -> Row:
    speeds = [row["tokens a second"] for row in own if row["tokens a second"]]
    peaks = [row["peak MiB"] for row in own if row["peak MiB"] is not None]
    return {
        "method": method,
        "rate": own[0]["rate"],
        **{str(k): f"{mean(row['validation'][str(k)] for row in own):.3f}" for k in marks},
        "training loss": f"{mean(row['training loss'] for row in own):.3f}",
        "state MiB": mean(row["state bytes"] for row in own) / MIB,
        "speed": f"{mean(speeds):,.0f}" if speeds else None,
        "peak MiB": max(peaks) if peaks else None,
        "less": _less(own, reference),
        "edge": _edge(own[0], rows),
    }


def _less(own: list[Row], reference: list[Row]) -> str | None:
    """The smallest and the largest difference within a seed, and of how many seeds."""
    beside = {row["seed"]: row["validation loss"] for row in reference}
    found = sorted(row["validation loss"] - beside[row["seed"]] for row in own if row["seed"] in beside)
    return f"{found[0]:+.3f} to {found[-1]:+.3f} ({len(found)} seeds)" if found else None


def _edge(row: Row, rows: list[Row]) -> str:
    """A best rate at the end of those that were tried may not be the best."""
    rates = sorted({other["rate"] for other in rows if other["method"] == row["method"]})
    return "at the edge of the rates tried" if len(rates) > 1 and row["rate"] in (rates[0], rates[-1]) else ""


def _runs(rows: list[Row]) -> str:
    """The last validation loss, a column for every rate, or for every seed."""
    key = "seed" if len(_seeds(rows)) > 1 else "rate"
    values = sorted({row[key] for row in rows})
    table = [{"method": method, **{str(row[key]): _loss(row) for row in rows if row["method"] == method}} for method in METHODS]
    return markdown(table, {"method": "last validation loss", **{str(value): f"{key} {value:g}" for value in values}})


def _loss(row: Row) -> str:
    return f"{row['validation loss']:.3f}" if row["outcome"] == "trained" else "diverged"
