"""Problems and noise: f, its gradient, L and f*, and what turns the gradient into a stochastic one."""

from __future__ import annotations

from typing import Any

import numpy as np

from frugal_theory import config
from frugal_theory.algorithm.selection import stream
from frugal_theory.algorithm.subspaces import check_experts, check_groups
from frugal_theory.config.load import takes_a_file
from frugal_theory.config.one_line import ExperimentError
from frugal_theory.config.registry import NOISES, PROBLEMS, SUBSPACES
from frugal_theory.problems.logistic import Logistic
from frugal_theory.problems.matrix import Layer, Matrix
from frugal_theory.problems.noise import Gaussian, Minibatch, NoNoise, StudentT
from frugal_theory.problems.nonconvex import Nonconvex
from frugal_theory.problems.partition import Partition
from frugal_theory.problems.problem import FiniteSum, Noise, Problem
from frugal_theory.problems.quadratic import Quadratic

__all__ = [
    "NOISES",
    "PROBLEMS",
    "FiniteSum",
    "Gaussian",
    "Layer",
    "Logistic",
    "Matrix",
    "Minibatch",
    "NoNoise",
    "Noise",
    "Nonconvex",
    "Partition",
    "Problem",
    "Quadratic",
    "StudentT",
    "build_noise",
    "build_problem",
]

BLOCKS = 10
"""Into how many blocks subspace "blocks" cuts a vector that is long enough, unless ``problem.blocks`` says otherwise."""

LAYERS = 4
"""How many matrices subspace "blocks" is given, unless ``problem.layers`` says otherwise."""


@takes_a_file
def build_problem(experiment: config.Experiment) -> Problem:
    """The problem of the experiment's ``[problem]`` table; its random parts come from the seed's "problem" stream.

    ``build_problem(e).start(np.random.default_rng(stream(e.seed, "start")))`` is the experiment's x¹. Raises
    ExperimentError without a ``[problem]`` table, for subspace "eigen" with x cut into blocks, and for mini-batch noise
    without samples.
    """
    table = experiment.problem
    if table is None:
        raise ExperimentError(
            f'{experiment.name}: the experiment has no [problem] table; add one, for example kind = "quadratic"'
        )
    parts = _parts(table, by_block=SUBSPACES[experiment.algorithm.subspace].whole)
    if experiment.algorithm.subspace == "eigen" and parts > 1:
        raise ExperimentError(
            f'{experiment.name}: problem.blocks = {parts}: algorithm.subspace = "eigen" needs x as one parameter; 1 is allowed'
        )
    problem = PROBLEMS[table.kind].make(table, parts, np.random.default_rng(stream(experiment.seed, "problem")))
    try:
        check_groups(experiment.algorithm, problem.shapes)
        check_experts(experiment.algorithm, problem.shapes)
    except ValueError as error:
        raise ExperimentError(f"{experiment.name}: {error}") from None
    if isinstance(experiment.noise, config.MinibatchNoise) and not isinstance(problem, FiniteSum):
        raise ExperimentError(
            f'{experiment.name}: noise.kind = "minibatch" needs a problem made of samples; '
            f'problem.kind = "{table.kind}" has no samples, batch_gradient and sample_variance'
        )
    return problem


def build_noise(experiment: config.Experiment) -> Noise:
    """The noise of the experiment's ``[noise]`` table. It holds no random state: draws come from the caller's generator."""
    return NOISES[experiment.noise.kind].make(experiment.noise)


def _parts(table: Any, by_block: bool) -> int:
    """How many parameters the problem is to have: as the table says, or a few for subspace "blocks" and else one."""
    if isinstance(table, config.Matrix):
        return table.layers or (LAYERS if by_block else 1)
    blocks: int | None = getattr(table, "blocks", None)
    dimension = config.coordinates(table) or 1
    return blocks or (min(dimension, BLOCKS) if by_block else 1)
