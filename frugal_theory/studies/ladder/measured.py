"""The rungs that are measured: Monte Carlo, the exact expectation, and the worst case over all L-smooth functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from frugal_theory.config import Experiment, NoNoise
from frugal_theory.config.load import ExperimentError, dump
from frugal_theory.evidence.evidence import Evidence
from frugal_theory.evidence.horizons import horizons
from frugal_theory.evidence.monte_carlo.simulation import monte_carlo, simulation
from frugal_theory.studies.ladder.rung import Rung
from frugal_theory.theorems import THEOREMS, Setting
from frugal_theory.verdicts.claims import Claims

__all__ = ["PLAIN", "WEIGHTED", "expectations", "is_silent", "norm", "rung_horizons", "worst"]

HORIZONS = 20
"""Horizons at which Monte Carlo and the bounds are compared: every step up to this many, else spread in log k."""

PLAIN, WEIGHTED = "squared_gradient_norm", "weighted_squared_gradient_norm"


def rung_horizons(steps: int) -> NDArray[np.int64]:
    """The horizons of all rungs but the worst case, which has its own among them up to 20 steps."""
    return np.arange(1, steps + 1) if steps <= HORIZONS else horizons(steps, HORIZONS)


def norm(setting: Setting) -> str:
    """The norm of the ladder: the plain one where the run-length theorem bounds that (W = 1)."""
    return PLAIN if THEOREMS["fixed_set"].covers(setting) is None else WEIGHTED


def expectations(
    claims: Claims, single: float, jobs: int, say: Callable[[str], None], cluster: str | None = None
) -> list[Rung]:
    """Monte Carlo, and the exact expectation."""
    from frugal_theory.evidence.exact.expectations import expectations as exact

    metric = norm(claims.setting)
    say("Monte Carlo")
    sampled = monte_carlo(simulation(claims.instance, (metric,)), jobs=jobs, cluster=cluster)[metric]
    how = f"average of {sampled.trials:,} trials" if sampled.trials > 1 else "nothing is random: one trial"
    how = "; ".join([how, *(note for note in sampled.notes if sampled.trials > 1)])
    rungs = [_measured(claims, sampled, single, "monte_carlo", "Monte Carlo", "the algorithm itself", how)]
    say("exact expectation")
    name, title = "exact", "Exact expectation"
    try:
        evidence = exact(claims.instance, (metric,))[metric]
    except ValueError as error:
        return [*rungs, Rung.absent(name, title, metric, f"no exact expectation: {error}")]
    how = "; ".join(["a recursion of second moments", *evidence.notes])
    return [*rungs, _measured(claims, evidence, single, name, title, "docs/theory.md", how)]


def _measured(claims: Claims, evidence: Evidence, single: float, name: str, title: str, source: str, how: str) -> Rung:
    at = rung_horizons(claims.setting.steps) - 1
    steps, mean = evidence.steps[at], evidence.mean[at]
    lower, upper = (end[at] for end in evidence.interval(single))
    rung = Rung(name, title, evidence.metric, source, how, steps, mean, lower, upper, expectation=True)
    return replace(rung, sampled=bool(np.any(upper > lower)), noise_free=is_silent(claims))


def worst(claims: Claims, solved: dict[str, Rung], jobs: int, say: Callable[[str], None]) -> Rung:
    """The worst case without noise, whatever the noise; cells that differ in their noise alone share it."""
    from frugal_theory.evidence.worst_case.programs import AGREEMENT, worst_case

    experiment = with_numbers(claims).model_copy(update={"noise": NoNoise()})
    key = dump(experiment)
    if key in solved:
        return solved[key]
    say("worst case")
    name, title, metric = "worst_case", "Worst case (SDP), noise-free", norm(claims.setting)
    random = claims.setting.runs is not None and claims.setting.runs.law == "redrawn"
    try:
        evidence = worst_case(experiment, metric=PLAIN if random else metric, jobs=jobs)
    except ExperimentError as error:
        solved[key] = Rung.absent(name, title, metric, _without_name(error, experiment))
        return solved[key]
    known = evidence.upper > 0  # not nan, which is unsolved
    gap = (evidence.upper[known] - evidence.lower[known]) / evidence.upper[known]
    agree = f"two solvers agree to {gap.max():.0e}" if len(gap) else "the solvers do not agree"
    how = "; ".join([agree, *evidence.notes])
    source, ends = "Taylor, Hendrickx & Glineur 2017 (docs/theory.md)", (evidence.mean, evidence.lower, evidence.upper)
    rung = Rung(name, title, evidence.metric, source, how, evidence.steps, *ends, accuracy=AGREEMENT)
    solved[key] = replace(rung, noise_free=True, one_draw=random)
    return solved[key]


def with_numbers(claims: Claims) -> Experiment:
    """The cell's experiment, its learning rate a number: that of the claims, whatever theorems the file names."""
    experiment = claims.cell.experiment
    algorithm = claims.setting.algorithm.model_copy(update={"learning_rate": claims.setting.alpha})
    return experiment.model_copy(update={"algorithm": algorithm})


def is_silent(claims: Claims) -> bool:
    """Whether there is no noise."""
    return claims.setting.total_variance == 0


def _without_name(error: ExperimentError, experiment: Experiment) -> str:
    """The message without the experiment's name."""
    return str(error).removeprefix(f"{experiment.name}: ")
