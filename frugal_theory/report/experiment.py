"""The experiment in words: what runs, on which problem, on which model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from frugal_theory.config import Experiment, FractionOfAdmissible, Nonconvex, Quadratic
from frugal_theory.config.registry import RULES
from frugal_theory.report.words import number, percent, theorem_name

__all__ = ["experiment_groups", "rule_name"]


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
        groups.append(("Cases", [("Each replaces some settings", "; ".join(case.name for case in experiment.cases))]))
    return groups


def rule_name(name: str) -> str:
    """A rule in words: the title of its table, if it has one; other words stay as they are."""
    kind = RULES.get(name)
    return str(getattr(kind.table, "title", "") or name) if kind is not None else name


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
    return number(value, 4) if isinstance(value, float) else rule_name(str(value))


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
        ("Density ρ", show("algorithm.density", algorithm.density) + _line(algorithm.density_schedule)),
        ("Update gap T", show("algorithm.update_gap", algorithm.update_gap) + _growth(algorithm.update_gap_schedule)),
        ("Learning rate α", show("algorithm.learning_rate", algorithm.learning_rate)),
        ("State on update", show("algorithm.on_update", algorithm.on_update)),
    ]
    if algorithm.set is not None:
        rows[3] = ("Momentum set", show("algorithm.set", algorithm.set))
    return rows


def _line(schedule: Any) -> str:
    return "" if schedule is None else f", to {schedule.to:g} in {schedule.steps:,} steps"


def _growth(schedule: Any) -> str:
    return "" if schedule is None else f", up to {schedule.most:,} where evaluations stop to improve"


def _theory(experiment: Experiment, show: Show) -> list[tuple[str, str]]:
    problem, noise, simulation = experiment.problem, experiment.noise, experiment.simulation
    settings = problem.model_dump(exclude_defaults=True, exclude={"kind"}) if problem is not None else {}
    if isinstance(problem, (Quadratic, Nonconvex)):
        settings = {"dimension": problem.dimension, **settings}
    words = [f"{key.replace('_', ' ')} {show(f'problem.{key}', value)}" for key, value in settings.items()]
    said = {"sigma": "σ of each coordinate"}  # the σ² of theorems is the sum of its squares
    noises = noise.model_dump(exclude={"kind"}).items()
    spread = [f"{said.get(key, key.replace('_', ' '))} {show(f'noise.{key}', v)}" for key, v in noises]
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
