"""The experiment as a whole: its tables, and which of their combinations can be run."""

from __future__ import annotations

import html
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from frugal_theory.config.adapter import Adapter
from frugal_theory.config.algorithm import Algorithm
from frugal_theory.config.data import Data
from frugal_theory.config.model import Model
from frugal_theory.config.parts import Count, Part, quoted
from frugal_theory.config.problem import Matrix, MinibatchNoise, Noise, NoNoise, Problem, Quadratic, Vector, coordinates
from frugal_theory.config.registry import SUBSPACES
from frugal_theory.config.training import Probes, Training

__all__ = ["Case", "Experiment", "Simulation", "Verify"]


GROWTH = 2**4
"""How many times the trials may grow if the experiment does not say."""


OF_ALL_CELLS = ("name", "verify", "sweep", "cases")
"""Keys that no cell has of its own: the verdicts of all cells share one level."""


class Simulation(Part):
    """How much Monte Carlo evidence to gather: ``trials`` to begin with, and for what is still open then more, up to
    ``max_trials`` (16 times as many if not given)."""

    steps: Count = 1000
    """K, the length of a run."""
    trials: Count = 128
    """Independent runs to begin with."""
    max_trials: Count | None = None
    """The most that what is still open may get; 16 times ``trials`` by default."""

    @model_validator(mode="after")
    def _budget(self) -> Simulation:
        if self.max_trials is not None and self.max_trials < self.trials:
            raise ValueError(f"simulation.max_trials = {self.max_trials} is less than simulation.trials = {self.trials}")
        return self

    @property
    def budget(self) -> int:
        """The largest number of trials."""
        return GROWTH * self.trials if self.max_trials is None else self.max_trials


class Verify(Part):
    """Which theorems to judge, and the family-wise confidence of all the verdicts together."""

    theorems: Annotated[tuple[str, ...], Field(strict=False, min_length=1)] = ("sgd", "sgdm", "run_length", "theorem_5_2")
    """Those to judge, by name (``frugal-theory theorems`` lists them)."""
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.99
    """The probability that every verdict of the experiment is right, at least."""


class Case(BaseModel):
    """One named variation of the experiment: the tables it replaces."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: Annotated[str, Field(min_length=1)]
    """The name of the variation; any table of the file may stand beside it."""


class Experiment(Part):
    """The validated contents of one experiment file."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """The name of the experiment, and of its folder under runs/. Letters, digits, ``.``, ``_`` and ``-``."""
    seed: Annotated[int, Field(ge=0)] = 0
    """From which every random stream is derived: start, noise, selection, weights, batches."""
    algorithm: Algorithm = Field(default_factory=Algorithm)
    """What both engines run."""
    adapter: Adapter | None = None
    """Low-rank adapters in place of the full weights; only the trainer reads it."""
    problem: Problem | None = None
    """f, its gradient, L and f*; the theory bench needs it."""
    noise: Noise = NoNoise()
    """What turns the gradient into a stochastic one."""
    simulation: Simulation = Simulation()
    """How much Monte Carlo evidence is gathered."""
    verify: Verify = Verify()
    """What is judged, and how surely."""
    model: Model | None = None
    """The LLaMA that is trained."""
    data: Data = Data()
    """The text."""
    training: Training | None = None
    """The run."""
    probes: Probes | None = None
    """What is measured on the model during training."""
    sweep: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(default_factory=dict)
    """Keys in quotes and their values: every combination is a cell."""
    cases: list[Case] = Field(default_factory=list)
    """Named variations, ``[[cases]]``: each replaces the tables that stand in it, in every cell of the sweep."""

    def __repr__(self) -> str:
        rule = self.algorithm
        full, free = (getattr(table, "rule", "?") for table in (rule.state_full, rule.state_free))
        parts = [f"{full} on {rule.subspace} of density {rule.density:g}, {free} off them, T = {rule.update_gap}"]
        parts += [] if self.problem is None else [f"problem {getattr(self.problem, 'kind', '?')}, noise {self.noise.kind}"]
        parts += [] if self.training is None else [f"a model trained for {self.training.steps} steps"]
        parts += ["a sweep"] if self.sweep or self.cases else []
        return f"<experiment {self.name}: {'; '.join(parts)}>"

    def _repr_html_(self) -> str:
        from frugal_theory.config.tables import dump

        changed = dump(self)
        return f"<details><summary>{html.escape(repr(self))}</summary><pre>{html.escape(changed)}</pre></details>"

    @model_validator(mode="after")
    def _algorithm_seed(self) -> Experiment:
        """``algorithm.seed`` defaults to the experiment's: both engines then draw the same subspaces."""
        if self.algorithm.seed is None:
            object.__setattr__(self, "algorithm", self.algorithm.model_copy(update={"seed": self.seed}))
        return self

    @model_validator(mode="after")
    def _each_once(self) -> Experiment:
        """Cells that differ, and only by what a cell may have of its own."""
        lists = {"verify.theorems": self.verify.theorems, "cases": [case.name for case in self.cases]}
        for key, values in {**lists, **{f"sweep.{key}": values for key, values in self.sweep.items()}}.items():
            twice = next((value for i, value in enumerate(values) if any(value == seen for seen in values[:i])), None)
            if twice is not None:
                raise ValueError(f"{key} has {twice!r} twice; each is allowed once")
        own = [(f"sweep.{key}", key.split(".")[0]) for key in self.sweep]
        own += [(f"case {case.name!r}", table) for case in self.cases for table in case.model_extra or {}]
        for place, table in own:
            if table in OF_ALL_CELLS:
                raise ValueError(f"{place}: {table} is of all cells together; it stands outside of sweep and cases")
        return self

    @model_validator(mode="after")
    def _combinations(self) -> Experiment:
        if self.problem is not None:
            _check_subspace(self.algorithm, self.problem)
            _check_noise(self.noise, self.problem)
        return self


def _check_subspace(algorithm: Algorithm, problem: Any) -> None:
    """Combinations that cannot be run. What an added problem does not say (see ``coordinates``) is not checked."""
    subspace, vector = algorithm.subspace, isinstance(problem, Vector)
    if vector and SUBSPACES[subspace].matrix:
        quadratic = isinstance(problem, Quadratic)
        allowed = quoted(s for s, kind in SUBSPACES.items() if not kind.matrix and (s != "eigen" or quadratic))
        raise ValueError(
            f'algorithm.subspace = "{subspace}" needs a matrix, and problem.kind = "{problem.kind}" is a vector; '
            f'{allowed} are allowed, or problem.kind = "matrix"'
        )
    if subspace == "eigen" and not isinstance(problem, Quadratic):
        raise ValueError(f'algorithm.subspace = "eigen" needs problem.kind = "quadratic"; it is "{problem.kind}"')
    dimension = coordinates(problem)
    if algorithm.set is not None and dimension is not None:
        outside = [j for j in algorithm.set if j >= dimension]
        if outside:
            raise ValueError(f"algorithm.set names coordinate {outside[0]}; the problem has coordinates 0 to {dimension - 1}")
    key = "layers" if isinstance(problem, Matrix) else "blocks"
    parts = getattr(problem, key, None)
    if vector and parts is not None and dimension is not None and parts > dimension:
        raise ValueError(f"problem.blocks = {parts} is more than the problem's dimension {dimension}")
    if SUBSPACES[subspace].whole and parts == 1 and 0 < algorithm.density < 1:
        raise ValueError(f'algorithm.subspace = "{subspace}" needs problem.{key} >= 2; it is 1')


def _check_noise(noise: Any, problem: Any) -> None:
    if isinstance(noise, MinibatchNoise) and isinstance(problem, (Quadratic, Matrix)):
        raise ValueError(
            'noise.kind = "minibatch" needs a problem made of samples ("logistic", "nonconvex"); '
            f'problem.kind is "{problem.kind}"'
        )
    sigma, dimension = getattr(noise, "sigma", None), coordinates(problem)
    if isinstance(sigma, tuple) and dimension is not None and len(sigma) != dimension:
        raise ValueError(f"noise.sigma has {len(sigma)} entries, the problem has {dimension} coordinates; they must agree")
