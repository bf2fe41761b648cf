"""The experiment file: what it may say, and how it is read.

One TOML file describes one :class:`Experiment`. Its ``[algorithm]`` table is read by both engines,
``frugal_theory`` (NumPy) and ``frugal_gpu`` (PyTorch). Everything here is frozen: an override makes a
new experiment, it never edits one.
"""

from frugal_theory.config.algorithm import Algorithm, FractionOfAdmissible, StateFree, StateFull
from frugal_theory.config.data import Data
from frugal_theory.config.experiment import (
    Case,
    Experiment,
    Simulation,
    Verify,
)
from frugal_theory.config.model import Model
from frugal_theory.config.parts import (
    Part,
    quoted,
)
from frugal_theory.config.problem import (
    GaussianNoise,
    Logistic,
    Matrix,
    MinibatchNoise,
    Noise,
    Nonconvex,
    NoNoise,
    Problem,
    Quadratic,
    Start,
    StudentNoise,
    Vector,
    coordinates,
)
from frugal_theory.config.training import Probes, Training

__all__ = [
    "Algorithm",
    "Case",
    "Data",
    "Experiment",
    "FractionOfAdmissible",
    "GaussianNoise",
    "Logistic",
    "Matrix",
    "MinibatchNoise",
    "Model",
    "NoNoise",
    "Noise",
    "Nonconvex",
    "Part",
    "Probes",
    "Problem",
    "Quadratic",
    "Simulation",
    "Start",
    "StateFree",
    "StateFull",
    "StudentNoise",
    "Training",
    "Vector",
    "Verify",
    "coordinates",
    "quoted",
]
