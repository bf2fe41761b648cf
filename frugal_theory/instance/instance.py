"""Instance: one cell made ready. The one object that evidence, premises and verdicts take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from frugal_theory.algorithm.run_lengths import run_lengths
from frugal_theory.algorithm.schedules import in_period
from frugal_theory.algorithm.selection import stream
from frugal_theory.config import Algorithm, Experiment, FractionOfAdmissible
from frugal_theory.config.cells import Cell
from frugal_theory.config.experiment import Simulation, Verify
from frugal_theory.config.load import ExperimentError, takes_a_file
from frugal_theory.instance.sizes import check_sizes
from frugal_theory.problems import build_noise, build_problem
from frugal_theory.problems.problem import Noise, Problem, read_only
from frugal_theory.theorems.resolve import resolve
from frugal_theory.theorems.setting import Constant, Constants, Law, ProblemSetting, declared

__all__ = ["Instance", "instance_of", "resolved", "setting_of", "starting_point"]

Array = NDArray[np.float64]

EPSILON, ROUNDINGS = float(np.finfo(float).eps), 4
"""A rounding, relative, and how many of them f(x¹) and f* may each be off."""


@dataclass(frozen=True)
class Instance:
    """A cell with what its experiment describes: the setting, with problem and noise, and x¹ by parameter.

    ``bases``: the eigenvectors that subspace "eigen" selects from, by parameter; None for another subspace. Every random
    stream is a function of ``seed`` (:func:`~frugal_theory.algorithm.selection.stream`), so an instance holds no state.
    """

    cell: Cell
    setting: ProblemSetting
    start: Mapping[str, Array]
    bases: Mapping[str, Array] | None

    @classmethod
    def of_parts(
        cls,
        problem: Problem,
        noise: Noise,
        algorithm: Algorithm | None = None,
        *,
        learning_rate: float | None = None,
        steps: int = 1,
        trials: int = 128,
        seed: int = 0,
        confidence: float = 0.99,
    ) -> Instance:
        """Objects that no experiment file describes. The algorithm is taken as it is, its learning rate (α) from here."""
        simulation, verify = Simulation(steps=steps, trials=trials), Verify(confidence=confidence)
        experiment = Experiment(name="parts", seed=seed, simulation=simulation, verify=verify)
        return _made(Cell({}, experiment), problem, noise, algorithm or Algorithm(), learning_rate)

    @property
    def experiment(self) -> Experiment:
        """The cell's experiment. Of an instance made of parts it says no more than seed, steps, trials and confidence."""
        return self.cell.experiment

    @property
    def problem(self) -> Problem:
        """f."""
        return self.setting.problem

    @property
    def noise(self) -> Noise:
        """What turns the gradient into a stochastic one."""
        return self.setting.noise

    @property
    def seed(self) -> int:
        """The seed of all random streams."""
        return self.cell.experiment.seed

    @property
    def trials(self) -> int:
        """The number of trials to begin with."""
        return self.cell.experiment.simulation.trials

    @property
    def budget(self) -> int:
        """The largest number of trials."""
        return self.cell.experiment.simulation.budget

    @property
    def confidence(self) -> float:
        """The family-wise confidence of all the experiment's verdicts together."""
        return self.cell.experiment.verify.confidence


def instance_of(source: Experiment | Cell, *, learning_rate: float | None = None) -> Instance:
    """The cell, or the experiment itself (not its sweep), made ready, its learning rate in numbers.

    ``learning_rate`` (α) replaces the experiment's. Raises ExperimentError for an experiment that cannot be run, and if the
    learning rate is a fraction that cannot be resolved (:func:`~frugal_theory.theorems.resolve.resolve`).
    """
    cell = source if isinstance(source, Cell) else Cell({}, source)
    if learning_rate is not None:
        return _built(cell, learning_rate)
    made = _unresolved(cell)
    return replace(made, setting=resolve(made.setting, cell.experiment))


@takes_a_file
def setting_of(experiment: Experiment) -> ProblemSetting:
    """The experiment in the symbols of the theorems, its learning rate left as it is in the file (None if a fraction)."""
    return _unresolved(Cell({}, experiment)).setting


@takes_a_file
def resolved(experiment: Experiment) -> Experiment:
    """The experiment with its learning rate as a number.

    A fraction is one of the smallest "largest admissible step" among the experiment's theorems that speak of its
    algorithm, or among all theorems if none of those does. Raises ExperimentError if there is no such theorem at all.
    """
    alpha = instance_of(experiment).setting.alpha / experiment.algorithm.split_lr_scale
    algorithm = experiment.algorithm.model_copy(update={"learning_rate": alpha})
    return experiment.model_copy(update={"algorithm": algorithm})


def starting_point(problem: Problem, seed: int) -> dict[str, Array]:
    """x¹ by parameter: where every trial of an experiment with this seed starts."""
    return problem.start(np.random.default_rng(stream(seed, "start")))


def _unresolved(cell: Cell) -> Instance:
    rate = cell.experiment.algorithm.learning_rate
    return _built(cell, None if isinstance(rate, FractionOfAdmissible) else float(rate))


def _built(cell: Cell, learning_rate: float | None) -> Instance:
    experiment = cell.experiment
    check_sizes(experiment)
    try:
        in_period(experiment.algorithm, 0)
    except ValueError as error:
        raise ExperimentError(f"{experiment.name}: {error}") from None
    return _made(cell, build_problem(experiment), build_noise(experiment), experiment.algorithm, learning_rate)


def _gap(value: float, infimum: float) -> float:
    """Δ, and what rounding may have taken from it: f(x¹) and f* are each off by some roundings, all that is left if f is large.

    >>> _gap(1e10 + 0.605, 1e10) >= 0.605, _gap(0.605, 0.0)
    (True, 0.605)
    """
    return value - infimum + (ROUNDINGS * EPSILON * (abs(value) + abs(infimum)) if infimum else 0.0)


def _positive(value: float | None) -> Constant[float] | None:
    return declared(float(value)) if value is not None and value > 0 else None


def _by_noise(noise: Noise, name: str, problem: Problem) -> Constant[Mapping[str, Array]] | None:
    """What the noise's method of this name says of the problem, if it has one and knows."""
    declare = getattr(noise, name, None)
    found = declare(problem) if declare is not None else None
    return None if found is None else declared(_own(found), "declared by the noise")


def _variance(problem: Problem, noise: Noise) -> Mapping[str, Array]:
    """σ_j², of the parameters' shapes: one number for all coordinates of a parameter would count as that of one."""
    found = _own(_shaped(problem, "the noise's variance(problem)", noise.variance(problem)))
    for name, value in found.items():
        if not np.all(value >= 0):
            raise ExperimentError(f"the noise's variance(problem) is for {name} not a number ≥ 0")
    return found


def _shaped(problem: Problem, what: str, arrays: Mapping[str, Array]) -> Mapping[str, Array]:
    """The arrays, if they are of the problem's parameters. Raises ExperimentError, one line, if they are not."""
    if not isinstance(arrays, Mapping) or set(arrays) != set(problem.shapes):
        found = sorted(arrays) if isinstance(arrays, Mapping) else type(arrays).__name__
        raise ExperimentError(f"{what} gives {found}; arrays by name are expected, for {sorted(problem.shapes)}")
    for name, shape in problem.shapes.items():
        if np.shape(arrays[name]) != tuple(shape):
            raise ExperimentError(f"{what} has shape {np.shape(arrays[name])} for {name}; {tuple(shape)} is expected")
    return arrays


def _own(arrays: Mapping[str, Array]) -> Mapping[str, Array]:
    """Copies that no theorem can change for the next one."""
    return read_only({name: np.array(value, dtype=float) for name, value in arrays.items()})


def _unscaled(algorithm: Algorithm, learning_rate: float | None) -> tuple[Algorithm, float | None]:
    """The same method without a factor s on the step: (1 − αλ)x − αs·u is α ← αs, λ ← λ/s. All that follows sees it so."""
    scale = algorithm.split_lr_scale
    if scale == 1:
        return algorithm, learning_rate
    own = {"split_lr_scale": 1.0, "weight_decay": algorithm.weight_decay / scale}
    if learning_rate is None:
        return algorithm.model_copy(update=own), None
    return algorithm.model_copy(update={**own, "learning_rate": learning_rate * scale}), learning_rate * scale


def _made(cell: Cell, problem: Problem, noise: Noise, algorithm: Algorithm, learning_rate: float | None) -> Instance:
    """Where x¹, the bases, the run lengths and the constants of an instance come from."""
    algorithm, learning_rate = _unscaled(algorithm, learning_rate)
    start = read_only(_shaped(problem, "the problem's start(rng)", starting_point(problem, cell.experiment.seed)))
    bases: Mapping[str, Array] | None = getattr(problem, "bases", None) if algorithm.subspace == "eigen" else None
    with np.errstate(over="ignore", invalid="ignore"):  # a start that is too far away is refused where it is judged
        gap = _gap(float(problem.value(start)), problem.infimum)
        squared_start = float(sum(np.sum(value**2) for value in start.values()))
    constants = Constants(
        smoothness=declared(problem.smoothness),
        gap=declared(gap),
        variance=declared(_variance(problem, noise)),
        symmetric_unimodal=bool(getattr(noise, "symmetric_unimodal", False)),
        uncorrelated=bool(getattr(noise, "uncorrelated", False)),
        strong_convexity=_positive(getattr(problem, "strong_convexity", None)),
        squared_start=declared(squared_start),
        gradient_bound=_by_noise(noise, "gradient_bound", problem),
        median_deviation=_by_noise(noise, "median_deviation", problem),
    )
    law = Law(algorithm, learning_rate, run_lengths(algorithm, problem.shapes, bases))
    setting = ProblemSetting(constants, law, cell.experiment.simulation.steps, problem, noise)
    return Instance(cell, setting, start, bases)
