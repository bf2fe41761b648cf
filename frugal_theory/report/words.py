"""Numbers, names and sentences as the report says them."""

from __future__ import annotations

import math
from typing import Any

from frugal_theory.config import Experiment
from frugal_theory.results.read import to_number
from frugal_theory.results.training import TrainingRun
from frugal_theory.verdicts.status import counted

__all__ = [
    "duration",
    "memory",
    "number",
    "percent",
    "practice_sentence",
    "source_name",
    "theorem_label",
    "theorem_name",
    "theorem_statement",
    "training_details",
    "training_sentence",
    "verdict_sentence",
]

SOURCES = {"monte_carlo": "Monte Carlo", "exact": "exact expectation", "worst_case": "worst case (SDP)", "training": "training"}


def theorem_name(name: str, otherwise: str = "") -> str:
    """A theorem in words; one that this installation does not know is called ``otherwise``, or by its name."""
    from frugal_theory.theorems import THEOREMS
    from frugal_theory.theorems.names import short_name

    return short_name(THEOREMS[name]) if name in THEOREMS else otherwise or name.replace("_", " ")


def theorem_label(name: str) -> str:
    """A theorem at the end of its line."""
    from frugal_theory.theorems import THEOREMS
    from frugal_theory.theorems.names import label

    return label(THEOREMS[name]) if name in THEOREMS else name.replace("_", " ")


def theorem_statement(name: str) -> tuple[str, str]:
    """What a theorem says and where it comes from; empty for one that this installation does not know."""
    from frugal_theory.theorems import THEOREMS

    theorem = THEOREMS.get(name)
    return ("", "") if theorem is None else (theorem.statement, theorem.source)


def source_name(name: str | None) -> str:
    """Where evidence comes from, in words."""
    return SOURCES.get(name or "", (name or "").replace("_", " "))


def number(value: object, digits: int = 3) -> str:
    """``digits`` significant digits; a dash for what does not exist; thousands separated; 2.5×10⁻⁵ for the very small."""
    x = to_number(value)
    if math.isnan(x):
        return "–"
    if math.isinf(x):
        return "∞" if x > 0 else "−∞"
    if x == 0:
        return "0"
    if 1e-4 <= abs(x) < 1e6:
        decimals = max(0, digits - 1 - math.floor(math.log10(abs(x))))
        text = f"{x:,.{decimals}f}"
        return (text.rstrip("0").rstrip(".") if "." in text else text).replace("-", "−")
    mantissa, exponent = f"{x:.{digits - 1}e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".").replace("-", "−")
    power = "10" + str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return power if mantissa == "1" else f"{mantissa}×{power}"


def percent(share: object) -> str:
    """A share as a percentage of two or three digits; what is not 100 % is never rounded to it."""
    x = 100 * to_number(share)
    if not math.isfinite(x):
        return number(x)
    if 99.95 <= x < 100 or 100 < x < 100.05:
        return "< 100 %" if x < 100 else "> 100 %"
    return f"{number(x, 2 if x < 99 else 3 if x < 99.5 or x > 101 else 4)} %"


def memory(bytes_: object) -> str:
    """Bytes in decimal units."""
    x = to_number(bytes_)
    power = min(4, max(0, math.floor(math.log10(x) / 3))) if x >= 1 else 0
    return f"{number(x / 1000**power)} {('B', 'kB', 'MB', 'GB', 'TB')[power]}"


def duration(seconds: object) -> str:
    """Seconds in the unit that a person would use."""
    x = to_number(seconds)
    if x < 120:
        return f"{number(x, 2)} s"
    return f"{number(x / 60, 2)} min" if x < 7200 else f"{number(x / 3600, 2)} h"


def verdict_sentence(verdicts: list[dict[str, Any]]) -> str:
    """``10 verdicts: 6 hold, 2 shape only, 2 not applicable; nothing violated``."""
    statuses = [str(verdict.get("status")) for verdict in verdicts]
    end = "" if "violated" in statuses else "; nothing violated"
    return f"{len(verdicts)} verdict{'s' if len(verdicts) != 1 else ''}: {counted(statuses)}{end}"


def practice_sentence(verdicts: list[dict[str, Any]]) -> str:
    """``theorems on measured constants: 2 consistent, 26 not applicable; nothing contradicted``."""
    statuses = [str(verdict.get("status")) for verdict in verdicts]
    end = "" if "contradicted" in statuses else "; nothing contradicted"
    return f"Theorems with the constants measured on the run: {counted(statuses)}{end}"


def training_sentence(run: TrainingRun, experiment: Experiment | None = None) -> str:
    """The result of training in one sentence; where it stands, of how many steps of its experiment, if it has not finished."""
    summary = run.summary
    if run.diverged is not None:
        return f"Training diverged: {run.diverged}"
    if summary is None:
        total = f" of {experiment.training.steps:,}" if experiment and experiment.training else ""
        steps = [*run.steps["step"], *run.validation["step"]]
        place = f"at step {int(max(steps)):,}{total}" if steps else "before its first step"
        text = f"Training is in progress or was interrupted {place}"
        if len(run.validation):
            last = run.validation.iloc[-1]
            key = "perplexity" if "validation_perplexity" in last else "loss"
            text += f"; validation {key} {number(last.get(f'validation_{key}'))} at step {int(last['step']):,}"
        return text
    parts = []
    if summary.get("final_validation_perplexity") is not None:
        parts.append(f"Validation perplexity {number(summary['final_validation_perplexity'])}")
        if summary.get("unigram_perplexity") is not None:
            parts[-1] += f" against {number(summary['unigram_perplexity'])} for unigrams"
    if summary.get("task") is not None:
        before = "final_validation_"
        found = [f"{key.removeprefix(before)} {number(value)}" for key, value in summary.items() if key.startswith(before)]
        parts.append(f"{summary['task']}: validation {', '.join(found)}")
    if summary.get("steps") is not None:
        parts.append(f"{int(to_number(summary['steps'])):,} steps")
    if summary.get("parameters") is not None:
        parts.append(f"{count(summary['parameters'])} parameters")
    return ", ".join(parts) if parts else "Training has finished"


def count(value: object) -> str:
    """How many: every digit below a million, such as 999,424, then 4.1 million or 1.31 billion."""
    x = to_number(value)
    for size, word in ((1e9, "billion"), (1e6, "million")):
        if x >= size:
            return f"{number(x / size)} {word}"
    return number(x, 6)


def training_details(run: TrainingRun) -> list[str]:
    """Short facts of the training run: what it read, where it ran, what the optimizer state weighs."""
    summary = run.summary or {}
    facts = []
    if summary.get("tokens") is not None:
        facts.append(f"{count(summary['tokens'])} tokens")
    if summary.get("seconds") is not None:
        facts.append(duration(summary["seconds"]))
    facts += [str(summary[key]) for key in ("device", "precision") if summary.get(key)]
    state, adamw = to_number(summary.get("optimizer_state_bytes")), to_number(summary.get("adamw_state_bytes"))
    if math.isfinite(state):
        facts.append(f"optimizer state {memory(state)}")
        if adamw > 0:
            facts[-1] += f", {percent(state / adamw)} of AdamW’s {memory(adamw)}"
    return facts
