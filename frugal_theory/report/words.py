"""Numbers, names and sentences as the report says them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from frugal_theory.config import Experiment, FractionOfAdmissible, Nonconvex, Quadratic
from frugal_theory.results.read import Results, to_number
from frugal_theory.verdicts.status import counted

__all__ = [
    "duration",
    "experiment_groups",
    "memory",
    "number",
    "percent",
    "source_name",
    "theorem_label",
    "theorem_name",
    "theorem_statement",
    "training_details",
    "training_sentence",
    "verdict_sentence",
]

SOURCES = {"monte_carlo": "Monte Carlo", "exact": "exact expectation", "worst_case": "worst case (SDP)", "training": "training"}
RULES = {"sgdm": "SGDM", "adamw": "AdamW", "lion": "Lion", "sgd": "SGD", "signsgd": "signSGD", "none": "none"}


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


def _total(results: Results) -> str:
    training = results.experiment.training if results.experiment else None
    return f" of {training.steps:,}" if training else ""


def training_sentence(results: Results) -> str:
    """The result of training in one sentence; where it stands if it has not finished."""
    summary = results.summary
    if summary is None:
        steps = [*results.training["step"], *results.validation["step"]]
        place = f"at step {int(max(steps)):,}{_total(results)}" if steps else "before its first step"
        text = f"Training is in progress or was interrupted {place}"
        if len(results.validation):
            last = results.validation.iloc[-1]
            text += f"; validation perplexity {number(last.get('validation_perplexity'))} at step {int(last['step']):,}"
        return text
    parts = []
    if summary.get("final_validation_perplexity") is not None:
        parts.append(f"Validation perplexity {number(summary['final_validation_perplexity'])}")
        if summary.get("unigram_perplexity") is not None:
            parts[-1] += f" against {number(summary['unigram_perplexity'])} for unigrams"
    if summary.get("steps") is not None:
        parts.append(f"{int(to_number(summary['steps'])):,} steps")
    if summary.get("parameters") is not None:
        parts.append(f"{_count(summary['parameters'])} parameters")
    return ", ".join(parts) if parts else "Training has finished"


def _count(value: object) -> str:
    x = to_number(value)
    for size, word in ((1e9, "billion"), (1e6, "million")):
        if x >= size:
            return f"{number(x / size)} {word}"
    return number(x, 6)


def training_details(results: Results) -> list[str]:
    """Short facts of the training run: what it read, where it ran, what the optimizer state weighs."""
    summary = results.summary or {}
    facts = []
    if summary.get("tokens") is not None:
        facts.append(f"{_count(summary['tokens'])} tokens")
    if summary.get("seconds") is not None:
        facts.append(duration(summary["seconds"]))
    facts += [str(summary[key]) for key in ("device", "precision") if summary.get(key)]
    state, adamw = to_number(summary.get("optimizer_state_bytes")), to_number(summary.get("adamw_state_bytes"))
    if math.isfinite(state):
        facts.append(f"optimizer state {memory(state)}")
        if adamw > 0:
            facts[-1] += f", {percent(state / adamw)} of AdamW’s {memory(adamw)}"
    return facts


# --- the experiment in words -------------------------------------------------------------------------

Show = Callable[[str, object], str]


def experiment_groups(experiment: Experiment) -> list[tuple[str, list[tuple[str, str]]]]:
    """The experiment as groups of (term, value): what runs, on which problem, on which model. Swept keys list their values."""

    def show(key: str, value: object) -> str:
        values = experiment.sweep.get(key)
        return f"{', '.join(_plain(v) for v in values)} (swept)" if values else _plain(value)

    groups = [("Algorithm", _algorithm(experiment, show))]
    if experiment.problem is not None:
        groups.append(("Theory", _theory(experiment, show)))
    if experiment.training is not None:
        groups.append(("Practice", _practice(experiment, show)))
    if experiment.cases:
        groups.append(("Cases", [("Each replaces some settings", ", ".join(case.name for case in experiment.cases))]))
    return groups


def _plain(value: object) -> str:
    if isinstance(value, FractionOfAdmissible):
        return f"{number(value.fraction_of_admissible)} × the largest admissible step"
    if isinstance(value, dict):
        return " ".join(_plain(v) for v in value.values())
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, (tuple, list)):
        return ", ".join(_plain(v) for v in value[:8]) + (f", … ({len(value)} in all)" if len(value) > 8 else "")
    return number(value, 4) if isinstance(value, float) else RULES.get(str(value), str(value))


def _rule(key: str, rule: Any, parameters: dict[str, str], show: Show) -> str:
    named = [
        f"{sign} = {show(f'{key}.{name}', getattr(rule, name))}" for name, sign in parameters.items() if hasattr(rule, name)
    ]
    return ", ".join([show(key, rule.rule), *named])


def _algorithm(experiment: Experiment, show: Show) -> list[tuple[str, str]]:
    algorithm = experiment.algorithm
    rows = [
        ("State-full rule", _rule("algorithm.state_full", algorithm.state_full, {"beta": "β", "betas": "β₁, β₂"}, show)),
        ("State-free rule", _rule("algorithm.state_free", algorithm.state_free, {"lr_scale": "learning rate scale"}, show)),
        ("Subspace", show("algorithm.subspace", algorithm.subspace)),
        ("Density ρ", show("algorithm.density", algorithm.density)),
        ("Update gap T", show("algorithm.update_gap", algorithm.update_gap)),
        ("Learning rate α", show("algorithm.learning_rate", algorithm.learning_rate)),
        ("State on update", show("algorithm.on_update", algorithm.on_update)),
    ]
    if algorithm.set is not None:
        rows[3] = ("Momentum set", show("algorithm.set", algorithm.set))
    return rows


def _theory(experiment: Experiment, show: Show) -> list[tuple[str, str]]:
    problem, noise, simulation = experiment.problem, experiment.noise, experiment.simulation
    settings = problem.model_dump(exclude_defaults=True, exclude={"kind"}) if problem is not None else {}
    if isinstance(problem, (Quadratic, Nonconvex)):
        settings = {"dimension": problem.dimension, **settings}
    words = [f"{key.replace('_', ' ')} {show(f'problem.{key}', value)}" for key, value in settings.items()]
    spread = [f"{key.replace('_', ' ')} {show(f'noise.{key}', v)}" for key, v in noise.model_dump(exclude={"kind"}).items()]
    return [
        ("Problem", ", ".join([show("problem.kind", getattr(problem, "kind", None)), *words])),
        ("Gradient noise", ", ".join([show("noise.kind", noise.kind), *spread])),
        ("Steps", show("simulation.steps", simulation.steps)),
        ("Monte Carlo trials", show("simulation.trials", simulation.trials)),
        ("Theorems", ", ".join(theorem_name(name) for name in experiment.verify.theorems)),
        ("Confidence, all verdicts together", percent(experiment.verify.confidence)),
    ]


def _practice(experiment: Experiment, show: Show) -> list[tuple[str, str]]:
    training = experiment.training
    assert training is not None  # the caller asked
    rate = training.learning_rate if training.learning_rate is not None else experiment.algorithm.learning_rate
    warmup = [f"{training.warmup:,} warm-up steps"] if training.warmup else []
    batch = f"{show('training.batch_size', training.batch_size)} × {training.sequence_length:,} tokens"
    return [
        ("Model", show("model.preset", experiment.model.preset if experiment.model else "llama-9m")),
        ("Data", show("data.source", experiment.data.source)),
        ("Steps", show("training.steps", training.steps)),
        ("Learning rate", ", ".join([show("training.learning_rate", rate), training.schedule, *warmup])),
        ("Batch", batch),
        ("Precision", show("training.precision", training.precision)),
    ]
