"""Verdicts as the texts of a table's rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from frugal_theory.report import words
from frugal_theory.results.read import to_number
from frugal_theory.verdicts.status import sign

__all__ = ["confidence", "row"]


def row(verdict: dict[str, Any]) -> dict[str, Any]:
    """One verdict as the texts of its row in the table."""
    status = str(verdict.get("status", "unknown"))
    interval = [_finite(verdict.get(key)) for key in ("lower", "upper")]
    has_interval = None not in interval and interval[0] != interval[1]
    share = words.percent(verdict.get("tightness"))
    if status == "shape only" and _finite(verdict.get("implied_constant")) is not None:
        share = f"C ≤ {words.number(verdict['implied_constant'])}"
    premises = verdict.get("premises") or []
    failed = [p.get("name", "") for p in premises if not p.get("held")]
    statement, source = words.theorem_statement(str(verdict.get("theorem", "")))
    return {
        "statement": statement,
        "theorem_source": source,
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
        "premise_line": f"{', '.join(failed)} not met" if failed else f"all {len(premises)} premises met",
    }


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


def _finite(value: object) -> float | None:
    x = to_number(value)
    return x if math.isfinite(x) else None
