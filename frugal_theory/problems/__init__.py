"""Problems and noise: f, its gradient, L and f*, and what turns the gradient into a stochastic one."""

from __future__ import annotations

import numpy as np

from frugal_theory import config
from frugal_theory.algorithm.selection import stream
from frugal_theory.loading import ExperimentError
from frugal_theory.problems import logistic, matrix, nonconvex, quadratic
from frugal_theory.problems.logistic import Logistic
from frugal_theory.problems.matrix import Layer, Matrix
from frugal_theory.problems.noise import Gaussian, Minibatch, NoNoise, StudentT
from frugal_theory.problems.nonconvex import Nonconvex
from frugal_theory.problems.partition import Partition
from frugal_theory.problems.problem import FiniteSum, Noise, Problem
from frugal_theory.problems.quadratic import Quadratic

__all__ = [
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


def build_problem(experiment: config.Experiment) -> Problem:
    """The problem of the experiment's ``[problem]`` table; its random parts come from the seed's "problem" stream.

    ``build_problem(e).start(np.random.default_rng(stream(e.seed, "start")))`` is the experiment's x¹. Raises
    ExperimentError without a ``[problem]`` table, and for subspace "eigen" with x cut into blocks.
    """
    table = experiment.problem
    if table is None:
        raise ExperimentError(
            f'{experiment.name}: the experiment has no [problem] table; add one, for example kind = "quadratic"'
        )
    by_block = experiment.algorithm.subspace == "blocks"
    rng = np.random.default_rng(stream(experiment.seed, "problem"))
    if isinstance(table, config.Matrix):
        return matrix.from_config(table, table.layers or (LAYERS if by_block else 1), rng)
    blocks = table.blocks or (min(table.dimension, BLOCKS) if by_block else 1)
    if experiment.algorithm.subspace == "eigen" and blocks > 1:
        raise ExperimentError(
            f'{experiment.name}: problem.blocks = {blocks}: algorithm.subspace = "eigen" needs x as one parameter; 1 is allowed'
        )
    if isinstance(table, config.Quadratic):
        return quadratic.from_config(table, blocks, rng)
    if isinstance(table, config.Logistic):
        return logistic.from_config(table, blocks)
    return nonconvex.from_config(table, blocks, rng)


def build_noise(experiment: config.Experiment) -> Noise:
    """The noise of the experiment's ``[noise]`` table. It holds no random state: draws come from the caller's generator."""
    table = experiment.noise
    if isinstance(table, config.GaussianNoise):
        return Gaussian(table.sigma)
    if isinstance(table, config.StudentNoise):
        return StudentT(table.degrees_of_freedom, table.sigma)
    if isinstance(table, config.MinibatchNoise):
        return Minibatch(table.batch_size)
    return NoNoise()
