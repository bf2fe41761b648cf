"""Verdicts as the texts of a table's rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from frugal_theory.report import words
from frugal_theory.results.read import to_number
from frugal_theory.results.training import TrainingRun
from frugal_theory.verdicts.status import sign

__all__ = ["confidence", "exact", "practice_rows", "premise_line", "row"]

NUMBERS = ("measured", "lower", "upper", "bound", "margin", "tightness", "step", "trials", "learning_rate", "largest_step")
"""What a row has with every digit, for sorting and for its CSV."""


def row(verdict: dict[str, Any]) -> dict[str, Any]:
    """One verdict as the texts of its row in the table."""
    status = str(verdict.get("status", "unknown"))
    interval = [_finite(verdict.get(key)) for key in ("lower", "upper")]
    has_interval = None not in interval and interval[0] != interval[1]
    share = words.percent(verdict.get("tightness"))
    if status == "shape only" and _finite(verdict.get("implied_constant")) is not None:
        share = f"C ≤ {words.number(verdict['implied_constant'])}"
    premises = verdict.get("premises") or []
    return {
        "name": str(verdict.get("theorem", "")),
        "status": status,
        "symbol": sign(status).mark,
        "slug": sign(status).role,
        "theorem": words.theorem_name(str(verdict.get("theorem", ""))),
        "cell": verdict["label"],
        "measured": words.number(verdict.get("measured")),
        "interval": f"[{words.number(interval[0])}, {words.number(interval[1])}]" if has_interval else "",
        "origin": _origin(verdict),
        "bound": words.number(verdict.get("bound")),
        "share": share,
        "rate": words.number(verdict.get("learning_rate")),
        "largest": words.number(verdict.get("largest_step")),
        "reason": verdict.get("reason") or "",
        "premises": premises,
        "premise_line": premise_line(premises, status),
        "exact": {key: exact(verdict.get(key)) for key in NUMBERS},
    }


def premise_line(premises: Sequence[dict[str, Any]], status: str) -> str:
    """What the premises came to. Of a theorem that is not applicable though all are met: that they are not why."""
    failed = [str(premise.get("name", "")) for premise in premises if not premise.get("held")]
    if failed:
        return f"{', '.join(failed)} not met"
    if status == "not applicable":
        return f"{len(premises)} premises tested, none of them is the reason"
    return f"all {len(premises)} premises met"


def practice_rows(runs: Sequence[TrainingRun]) -> list[dict[str, Any]]:
    """For each training run that was judged: its constants, its verdicts as rows, and how many are not applicable."""
    found = []
    for place, run in enumerate(runs):
        if not run.verdicts:
            continue
        judged = [v for v in run.verdicts if v.get("status") != "not applicable"]
        near = [v for v in run.verdicts if v.get("status") == "not applicable" and v.get("largest_step") is not None]
        found.append(
            {
                "name": run.name if place else "",
                "constants": _constants(run.constants),
                "rows": [{**row(v), "dominant": v.get("dominant") or "–"} for v in [*judged, *near]],
                "others": len(run.verdicts) - len(judged) - len(near),
            }
        )
    return found


def _constants(record: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(name, value, where from) of what was measured."""
    if not record:
        return []
    smooth, gap, sigma = record["smoothness"], record["gap"], record["variance"]
    noise = record.get("noise") or {}
    rows = [
        ("L, at least about", words.number(smooth["value"]), smooth["source"]),
        ("Δ, at most", words.number(gap["value"]), gap["source"]),
        ("σ², at least about", words.number(sigma["total"]), sigma["source"]),
    ]
    if noise:
        kurtosis = noise["kurtosis"]
        between = f"[{words.number(kurtosis['lower'])}, {words.number(kurtosis['upper'])}]"
        rows.append(("kurtosis of the noise", words.number(kurtosis["value"]), f"{between}; {noise['sentence']}"))
    if descent := record.get("descent"):
        needed = descent["needed"]
        rows.append(
            (
                "L that descent needs",
                words.number(needed["largest"]),
                f"at most, of {descent['measurements']} steps; the loss of the sample fell at {descent['descended']} of them",
            )
        )
    if hessian := record.get("hessian"):
        tops = [entry["top"] for entry in hessian["measurements"]]
        rows.append(("top Hessian eigenvalue", words.number(max(tops)), f"largest of {len(tops)}, by Lanczos on a sample"))
    if angles := record.get("angles"):
        last = angles["measurements"][-1]
        how = f"between gradient subspaces of steps {last['since']} and {last['step']}"
        rows.append(("mean cosine of principal angles", words.number(last["cosine"]), how))
    return rows


def _origin(verdict: dict[str, Any]) -> str:
    """Where the measurement comes from: source, trials, horizon."""
    trials, step = _finite(verdict.get("trials")), _finite(verdict.get("step"))
    parts = [words.source_name(verdict.get("source"))] if verdict.get("source") else []
    if trials is not None and trials > 1:
        parts.append(f"{int(trials):,} trials")
    if step is not None:
        parts.append(f"k = {int(step):,}")
    return ", ".join(parts)


def confidence(verdicts: Sequence[dict[str, Any]]) -> str | None:
    """With which all of them are right together, in words; None where none says it."""
    values = {value for v in verdicts if (value := _finite(v.get("confidence"))) is not None}
    return words.percent(min(values)) if values else None


def exact(value: object) -> str:
    """A number with every digit; empty for what does not exist."""
    x = to_number(value)
    return "" if math.isnan(x) else repr(int(x) if x.is_integer() and abs(x) < 1e15 else x)


def _finite(value: object) -> float | None:
    x = to_number(value)
    return x if math.isfinite(x) else None
