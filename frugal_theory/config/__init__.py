"""The experiment file: what it may say, and how it is read.

One TOML file describes one :class:`Experiment`. Its ``[algorithm]`` table is read by both engines,
``frugal_theory`` (NumPy) and ``frugal_gpu`` (PyTorch). Everything here is frozen: an override makes a
new experiment, it never edits one.
"""

from frugal_theory.config.algorithm import (
    BASIS_SUBSPACES,
    MATRIX_SUBSPACES,
    UNIT_SUBSPACES,
    AdamW,
    Algorithm,
    FractionOfAdmissible,
    Lion,
    Sgdm,
    StateFree,
    StateFull,
    state_full_tables,
    subspaces,
)
from frugal_theory.config.experiment import (
    Case,
    Experiment,
    Simulation,
    Verify,
)
from frugal_theory.config.parts import (
    Part,
    quoted,
)
from frugal_theory.config.problem import (
    DIMENSIONS,
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
from frugal_theory.config.training import (
    Data,
    Model,
    Training,
)

__all__ = [
    "BASIS_SUBSPACES",
    "DIMENSIONS",
    "MATRIX_SUBSPACES",
    "UNIT_SUBSPACES",
    "AdamW",
    "Algorithm",
    "Case",
    "Data",
    "Experiment",
    "FractionOfAdmissible",
    "GaussianNoise",
    "Lion",
    "Logistic",
    "Matrix",
    "MinibatchNoise",
    "Model",
    "NoNoise",
    "Noise",
    "Nonconvex",
    "Part",
    "Problem",
    "Quadratic",
    "Sgdm",
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
    "state_full_tables",
    "subspaces",
]
