"""Verify: theorem × evidence → verdict, for every cell of an experiment, under one family-wise error level."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from frugal_theory.algorithm.run_lengths import run_lengths
from frugal_theory.algorithm.selection import stream
from frugal_theory.config import Algorithm, Experiment, FractionOfAdmissible, quoted
from frugal_theory.config.load import Cell, ExperimentError, cells
from frugal_theory.evidence.evidence import Evidence
from frugal_theory.evidence.monte_carlo.simulation import Simulation, run, simulation
from frugal_theory.metrics import Metric
from frugal_theory.premises import check_premises
from frugal_theory.premises.premise import Premise
from frugal_theory.problems import build_noise, build_problem
from frugal_theory.theorems import THEOREMS, Setting, Theorem
from frugal_theory.verdicts.judging import judge
from frugal_theory.verdicts.stopping import settle
from frugal_theory.verdicts.verdict import Verdict

__all__ = [
    "Study",
    "bound",
    "gather",
    "gather_all",
    "judge",
    "resolved",
    "setting_of",
    "settle_all",
    "simulate",
    "studies",
    "verify",
]

Array = NDArray[np.float64]
Index = NDArray[np.int64]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Study:
    """One cell made ready: its setting with the learning rate in numbers, and what each theorem says of it."""

    cell: Cell
    setting: Setting
    theorems: tuple[Theorem, ...]
    premises: tuple[Premise, ...]

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that the theorems need, the squared gradient norm always among them."""
        needed = [t.metric for t in self.theorems if self.excuse(t) is None]
        return tuple(dict.fromkeys(["squared_gradient_norm", *needed]))

    @property
    def measures(self) -> dict[str, Metric]:
        """The metrics that depend on the setting, by name: those that a theorem brings with it (``measure``)."""
        own = [t for t in self.theorems if hasattr(t, "measure") and self.excuse(t) is None]
        return {t.metric: t.measure(self.setting) for t in own}

    def simulation(
        self, metrics: Sequence[str], *, measures: Mapping[str, Metric] | None = None, trials: tuple[int, int] | None = None
    ) -> Simulation:
        """The simulation of these metrics, ready to run; ``trials``: first and last + 1, if not all of the experiment's."""
        setting, experiment = self.setting, self.cell.experiment
        first, last = trials or (0, experiment.simulation.trials)
        return simulation(
            setting.problem,
            setting.noise,
            setting.algorithm,
            learning_rate=setting.alpha,
            steps=setting.steps,
            trials=last,
            first=first,
            seed=experiment.seed,
            metrics=metrics,
            measures=measures,
            confidence=experiment.verify.confidence,
        )

    def exact(
        self, metrics: Sequence[str], *, trials: int | None = None, confidence: float | None = None
    ) -> dict[str, Evidence]:
        """The exact expectations of these metrics, over ``trials`` draws of the sets where those are random.

        Raises ValueError where there is no way to them: other than Algorithm 2 on a quadratic with additive noise.
        """
        from frugal_theory.evidence.exact.expectations import expectations

        setting, experiment = self.setting, self.cell.experiment
        return expectations(
            setting.problem,
            setting.noise,
            setting.algorithm,
            learning_rate=setting.alpha,
            steps=setting.steps,
            trials=experiment.simulation.trials if trials is None else trials,
            seed=experiment.seed,
            metrics=metrics,
            confidence=experiment.verify.confidence if confidence is None else confidence,
        )

    def excuse(self, theorem: Theorem) -> str | None:
        """Why the theorem is not applicable, or None: the algorithm, then a premise, then the step size."""
        if reason := theorem.covers(self.setting):
            return reason
        for premise in self.premises:
            if not premise.held:
                return f"premise {premise.name} fails: {premise.how}"
        largest, admitted = theorem.largest_step(self.setting)
        alpha = self.setting.alpha
        if alpha > largest or (alpha == largest and not admitted):
            sign = "at most" if admitted else "below"
            return f"the learning rate {alpha:.4g} is too large: the theorem admits α {sign} {largest:.4g}"
        return None


def setting_of(experiment: Experiment) -> Setting:
    """The experiment in the symbols of the theorems, its learning rate left as it is in the file (None if a fraction)."""
    problem, noise = build_problem(experiment), build_noise(experiment)
    start = problem.start(np.random.default_rng(stream(experiment.seed, "start")))
    rate = experiment.algorithm.learning_rate
    bases = getattr(problem, "bases", None) if experiment.algorithm.subspace == "eigen" else None
    return Setting(
        algorithm=experiment.algorithm,
        problem=problem,
        noise=noise,
        steps=experiment.simulation.steps,
        smoothness=problem.smoothness,
        gap=float(problem.value(start)) - problem.infimum,
        variance=noise.variance(problem),
        runs=run_lengths(experiment.algorithm, problem.shapes, bases),
        learning_rate=None if isinstance(rate, FractionOfAdmissible) else float(rate),
    )


def resolved(experiment: Experiment) -> Experiment:
    """The experiment with its learning rate as a number.

    A fraction is one of the smallest "largest admissible step" among the experiment's theorems that speak of its
    algorithm, or among all theorems if none of those does. Raises ExperimentError if there is no such theorem at all.
    """
    setting = _resolve(experiment, setting_of(experiment))
    algorithm = experiment.algorithm.model_copy(update={"learning_rate": setting.alpha})
    return experiment.model_copy(update={"algorithm": algorithm})


def simulate(
    experiment: Experiment,
    *,
    metric: str = "squared_gradient_norm",
    jobs: int = 1,
    cluster: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Evidence:
    """Monte Carlo evidence of the experiment itself (not of its sweep): the running average of E‖gᵏ‖², or of ``metric``.

    ``jobs`` processes share the work, or the workers of the Dask ``cluster`` with that address; the result is the same bit
    for bit. Raises ExperimentError if the experiment has no [problem], ValueError for an unknown metric.
    """
    study = Study(Cell({}, experiment), _resolve(experiment, setting_of(experiment)), (), ())
    report = None if progress is None else (lambda _, done, total: progress(done, total))
    return next(run([study.simulation((metric,))], jobs=jobs, cluster=cluster, progress=report))[metric]


def bound(experiment: Experiment, theorem: str) -> Array:
    """The right-hand side of a theorem for the experiment itself, K = 1 … steps, shape (steps,).

    Raises ExperimentError for an unknown theorem, and ValueError naming the reason where it is not applicable.
    """
    chosen = _named(experiment, theorem)
    (study,) = studies(experiment.model_copy(update={"sweep": {}, "cases": []}), [chosen])
    if excuse := study.excuse(chosen):
        raise ValueError(f"{theorem} is not applicable: {excuse}")
    return chosen.bound(study.setting)


def studies(experiment: Experiment, theorems: Sequence[Theorem] | None = None) -> list[Study]:
    """Every cell of the experiment made ready; nothing is simulated yet."""
    chosen = tuple(theorems) if theorems is not None else _theorems(experiment)
    result = []
    tested: dict[bytes, tuple[Premise, ...]] = {}
    for cell in cells(experiment):
        setting = _resolve(cell.experiment, setting_of(cell.experiment))
        result.append(Study(cell, setting, chosen, check_premises(setting, cell.experiment.seed, known=tested)))
    return result


def gather(study: Study, *, jobs: int = 1) -> dict[str, Evidence]:
    """Monte Carlo evidence for every metric that the study's theorems need."""
    return next(gather_all([study], jobs=jobs))


def gather_all(
    ready: Sequence[Study],
    *,
    jobs: int = 1,
    cluster: str | None = None,
    progress: Callable[[Study, int, int], None] | None = None,
    trials: Sequence[tuple[int, int]] | None = None,
) -> Iterator[dict[str, Evidence]]:
    """The evidence of every study, in order, each as soon as it is complete; all cores, or workers, are busy throughout.

    ``progress(study, done, total)`` is called as trials finish. ``trials``: first and last + 1 of each study's, if they are
    not the experiment's.
    """
    ranges = trials or [(0, study.cell.experiment.simulation.trials) for study in ready]
    work = [
        study.simulation(study.metrics, measures=study.measures, trials=part) for study, part in zip(ready, ranges, strict=True)
    ]
    report = None if progress is None else (lambda number, done, total: progress(ready[number], done, total))
    return run(work, jobs=jobs, cluster=cluster, progress=report)


def settle_all(
    ready: Sequence[Study],
    evidence: Sequence[Mapping[str, Evidence]],
    confidence: float,
    *,
    jobs: int = 1,
    cluster: str | None = None,
    progress: Callable[[Study, int, int], None] | None = None,
    keep: Callable[[Study, Mapping[str, Evidence]], None] | None = None,
) -> tuple[list[dict[str, Evidence]], list[Verdict]]:
    """Evidence and verdicts of all studies, trials added to what is open within each study's budget (:func:`settle`).

    ``keep(study, evidence)`` is called with all of a study's evidence whenever trials were added.
    """

    def more(wanted: Mapping[int, tuple[int, int]]) -> Iterator[tuple[int, dict[str, Evidence]]]:
        chosen = [ready[number] for number in wanted]
        work = gather_all(chosen, jobs=jobs, cluster=cluster, progress=progress, trials=list(wanted.values()))
        return zip(wanted, work, strict=True)

    return settle(ready, evidence, confidence, more, keep)


def verify(
    experiment: Experiment,
    *,
    theorems: Sequence[Theorem] | None = None,
    jobs: int = 1,
    cluster: str | None = None,
    progress: Progress | None = None,
) -> list[Verdict]:
    """Judge every theorem in every cell of the experiment by Monte Carlo, and by exact expectations where those settle it.

    All verdicts together are wrong with probability at most 1 − ``experiment.verify.confidence``. Trials are added to the
    cells that are open, up to ``simulation.max_trials``. ``theorems`` replaces those that the file names. ``jobs`` processes
    share the work, or the workers of the Dask ``cluster`` with that address. ``progress(cell, done, total)`` is called as
    trials finish. Raises ExperimentError for an experiment that cannot be run.
    """
    ready = studies(experiment, theorems)
    report = None if progress is None else (lambda study, done, total: progress(study.cell.label, done, total))
    evidence = list(gather_all(ready, jobs=jobs, cluster=cluster, progress=report))
    confidence = experiment.verify.confidence
    return settle_all(ready, evidence, confidence, jobs=jobs, cluster=cluster, progress=report)[1]


def _theorems(experiment: Experiment) -> tuple[Theorem, ...]:
    return tuple(_named(experiment, name) for name in experiment.verify.theorems)


def _named(experiment: Experiment, name: str) -> Theorem:
    if name not in THEOREMS:
        raise ExperimentError(
            f'{experiment.name}: verify.theorems names "{name}", which does not exist; allowed: {quoted(THEOREMS)}'
        )
    return THEOREMS[name]


def _resolve(experiment: Experiment, setting: Setting) -> Setting:
    """The setting with its learning rate in numbers: a function of the experiment alone, whatever is verified with it."""
    rate = experiment.algorithm.learning_rate
    if not isinstance(rate, FractionOfAdmissible):
        return setting
    steps = _admissible(setting, _theorems(experiment)) or _admissible(setting, tuple(THEOREMS.values()))
    if not steps:
        raise ExperimentError(
            f"{experiment.name}: algorithm.learning_rate is a fraction of the admissible step, and no theorem speaks of this "
            "algorithm; give a number"
        )
    alpha = rate.fraction_of_admissible * min(steps)
    algorithm: Algorithm = experiment.algorithm.model_copy(update={"learning_rate": alpha})
    return replace(setting, algorithm=algorithm, learning_rate=alpha)


def _admissible(setting: Setting, theorems: Sequence[Theorem]) -> list[float]:
    """The largest step of every theorem that speaks of the algorithm and limits its step."""
    steps = [theorem.largest_step(setting)[0] for theorem in theorems if theorem.covers(setting) is None]
    return [step for step in steps if math.isfinite(step)]
