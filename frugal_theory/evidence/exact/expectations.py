"""Exact evidence: expectations of Algorithm 2 on a quadratic, over its noise and its random sets, without sampling.

Four cases (theory, section 5), the cheapest that applies:

1. The sets are known (fixed, scheduled, everything, nothing, eigen-directions): exact, O(d) a step where the
   coordinates (or the eigen-directions) decouple, O(d³) otherwise.
2. The sets are drawn anew at every step: exact, O(d) or, with the pairwise inclusion probabilities of Bernoulli and
   fixed-size sampling, O(d³).
3. The sets are drawn anew every T steps and the coordinates decouple: exact, O(d).
4. Everything else: exact over the noise, averaged over trials of the sets, with the interval that goes with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from frugal_theory.config import Experiment
from frugal_theory.config.load import ExperimentError, takes_a_file
from frugal_theory.evidence.evidence import Evidence
from frugal_theory.evidence.exact import dense as exact_dense
from frugal_theory.evidence.exact.recursion import METRICS, recursion, running
from frugal_theory.instance import Instance, instance_of
from frugal_theory.metrics import GrowingNorm, Metric, RegularisedNorm
from frugal_theory.problems.noise import has_mean_zero
from frugal_theory.problems.quadratic import Quadratic

__all__ = [
    "METRICS",
    "at_most",
    "averaged_over_sets",
    "decouples",
    "exact",
    "exact_metrics",
    "expectations",
    "has_expectation",
    "noise_floor",
]

Array = NDArray[np.float64]


@takes_a_file
def exact(experiment: Experiment, *, metric: str = METRICS[0], learning_rate: float | None = None) -> Evidence:
    """The running average (1/k) Σ_{i≤k} E‖gⁱ‖², k = 1 … steps, exactly.

    ``metric``: one of ``METRICS``, as in ``simulate``. ``learning_rate`` (α) defaults to the experiment's; a fraction of the
    admissible step is resolved as in ``verify``.
    In case 4 above the average is over ``simulation.trials`` trials of the momentum sets, the same sets that Monte
    Carlo draws, and the evidence has an interval. Raises ExperimentError for what is not Algorithm 2 on a quadratic with
    additive noise of finite variance, and for an unknown metric.

    >>> import frugal_theory as ft
    >>> sgd = {"density": 0.0, "state_full": "sgdm", "state_free": "sgd", "learning_rate": 0.5}
    >>> parabola = {"problem": {"kind": "quadratic", "eigenvalues": [1.0], "start": "ones"}, "noise": {"kind": "none"}}
    >>> experiment = ft.parse({"name": "one", "algorithm": sgd, **parabola, "simulation": {"steps": 4}})
    >>> ft.exact(experiment).mean.round(4).tolist()
    [1.0, 0.625, 0.4375, 0.332]
    """
    return exact_metrics(experiment, (metric,), learning_rate=learning_rate)[metric]


def exact_metrics(
    experiment: Experiment, metrics: Sequence[str] = METRICS, *, learning_rate: float | None = None
) -> dict[str, Evidence]:
    """As :func:`exact`, for every one of ``metrics``: ‖g‖² and ‖g‖²_W, W the weights of the run-length theorem."""
    instance = instance_of(experiment, learning_rate=learning_rate)
    try:
        return expectations(instance, metrics)
    except ValueError as error:
        raise ExperimentError(f"{experiment.name}: no exact expectation: {error}") from None


@takes_a_file
def noise_floor(experiment: Experiment, *, learning_rate: float | None = None) -> float:
    """What the running average (1/K) Σ E‖gᵏ‖² tends to as K → ∞ (averaged over a period where sets are held), exactly.

    ``learning_rate`` (α) defaults to the experiment's; a fraction of the admissible step is resolved as in ``verify``. inf if
    the run diverges. For T = 1 it is the sum over the eigenvalues of the closed form of
    :func:`frugal_theory.evidence.exact.stationary.stationary_expression`. Raises ExperimentError for what is not Algorithm 2 on
    a quadratic whose coordinates (or eigen-directions) decouple, with sets that are fixed or drawn.

    >>> import frugal_theory as ft
    >>> sgd = {"density": 0.0, "state_full": "sgdm", "state_free": "sgd", "learning_rate": 0.5}
    >>> noisy = {"kind": "gaussian", "sigma": 1.0}
    >>> parabola = {"problem": {"kind": "quadratic", "eigenvalues": [1.0]}, "noise": noisy}
    >>> round(ft.noise_floor(ft.parse({"name": "one", "algorithm": sgd, **parabola})), 4)  # αλσ²/(2 − αλ)
    0.3333
    """
    instance = instance_of(experiment, learning_rate=learning_rate)
    try:
        model = recursion(instance, instance.setting.alpha)
        if not model.decouples or model.runs.law == "scheduled":
            raise ValueError("its coordinates mix, or its sets follow a schedule; the floor is known where they decouple")
    except ValueError as error:
        raise ExperimentError(f"{experiment.name}: no noise floor: {error}") from None
    return model.settled()


def expectations(
    instance: Instance,
    metrics: Sequence[str] = METRICS[:1],
    *,
    trials: int | None = None,
    confidence: float | None = None,
    measures: Mapping[str, Metric] | None = None,
) -> dict[str, Evidence]:
    """Exact evidence of every metric: the expectation of what Monte Carlo measures on the instance.

    ``measures``: metrics that depend on the setting, by name, of those that :func:`has_expectation`. ``trials`` counts trials
    of the momentum sets (default: the instance's) and is read in case 4 only; ``confidence`` is that of the interval there.
    Raises ValueError for what is not Algorithm 2 on a :class:`Quadratic` with additive noise of finite variance, and for an
    unknown metric.
    """
    own = {name: metric for name, metric in (measures or {}).items() if has_expectation(instance, metric)}
    unknown = [name for name in metrics if name not in METRICS and name not in own]
    if unknown:
        raise ValueError(f"unknown metric {unknown[0]!r}; known are {', '.join((*METRICS, *own))}")
    model = recursion(instance, instance.setting.alpha)
    confidence = instance.confidence if confidence is None else confidence
    if model.decouples:
        values: Callable[[str], Array] = model.scheduled if model.runs.law == "scheduled" else model.redrawn
        found = {name: model.own(own[name]) if name in own else values(name) for name in metrics}
        return {name: _exact_evidence(name, running(found[name]), confidence) for name in metrics}
    law = model.inclusion()
    if law is not None:
        moments = exact_dense.along_masks(*model.vectors, law, model.updates, update_gap=model.algorithm.update_gap)
        found = model.observe(moments, metrics, model.mean_weight)
        return {name: _exact_evidence(name, running(found[name]), confidence) for name in metrics}
    return model.average_over_sets(metrics, instance.trials if trials is None else trials, confidence)


def has_expectation(instance: Instance, metric: Metric | None) -> bool:
    """Whether :func:`expectations` has this metric, which depends on the setting: where nothing, or everything, is selected."""
    problem, runs = instance.problem, instance.setting.runs
    if type(problem) is not Quadratic or runs is None or not (runs.full or runs.empty):
        return False
    decayed = isinstance(metric, RegularisedNorm) and float(problem.eigenvalues.min()) > 0
    return isinstance(metric, GrowingNorm) or decayed


def decouples(instance: Instance) -> bool:
    """Whether :func:`expectations` is exact and costs no more than a run: coordinates, or eigen-directions, that do not mix."""
    try:
        return recursion(instance, 1.0).decouples
    except ValueError:
        return False


def averaged_over_sets(instance: Instance) -> bool:
    """Whether :func:`expectations` averages over trials of the sets (case 4); False where it refuses, too."""
    try:
        model = recursion(instance, 1.0)
    except ValueError:
        return False
    return not model.decouples and model.inclusion() is None


def at_most(instance: Instance, metrics: Sequence[str]) -> dict[str, Array]:
    """Upper bounds of the expectations, shape (steps,), under any noise that keeps to its variances (P3 to P5), by metric.

    Second moments of a linear recursion grow with the variances of its noise, whatever else that is and wherever it is less.
    Nothing for problems that are no quadratics, for coordinates that mix, and for directions that do, unless noise is known to
    be uncorrelated.
    """
    wanted = [name for name in metrics if name in METRICS]
    try:
        model = recursion(instance, instance.setting.alpha, any_noise=True)
    except ValueError:
        return {}
    known = instance.setting.constants.uncorrelated and has_mean_zero(instance.noise)
    if not model.decouples or not (model.problem.separable or known):
        return {}
    values: Callable[[str], Array] = model.scheduled if model.runs.law == "scheduled" else model.redrawn
    return {name: running(values(name)) for name in wanted}


def _exact_evidence(metric: str, mean: Array, confidence: float) -> Evidence:
    return Evidence("exact", np.arange(1, len(mean) + 1), mean, mean, mean, metric, confidence)
