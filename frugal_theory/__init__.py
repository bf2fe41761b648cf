"""FRUGAL in theory: simulate the algorithm family and judge, honestly, whether convergence bounds hold."""

from frugal_theory.algorithm import State, init, step
from frugal_theory.config import Algorithm, Experiment
from frugal_theory.loading import ExperimentError, cells, load, parse

__all__ = ["Algorithm", "Experiment", "ExperimentError", "State", "cells", "init", "load", "parse", "step"]
