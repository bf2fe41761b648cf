"""The theorems, one file each."""

from frugal_theory.theorems.eigen_aligned import EigenAligned
from frugal_theory.theorems.fixed_set import FixedSet
from frugal_theory.theorems.held_sets import HeldSets
from frugal_theory.theorems.hybrid import Hybrid
from frugal_theory.theorems.hybrid_sharp import HybridSharp
from frugal_theory.theorems.hybrid_symmetric import HybridSymmetric
from frugal_theory.theorems.independent_sampling import IndependentSampling
from frugal_theory.theorems.orthogonal_subspaces import OrthogonalSubspaces
from frugal_theory.theorems.run_length import RunLength
from frugal_theory.theorems.run_length_by_coordinate import RunLengthByCoordinate
from frugal_theory.theorems.run_length_sharp import RunLengthSharp
from frugal_theory.theorems.setting import Constant, Constants, Law, ProblemSetting, Setting
from frugal_theory.theorems.sgd import Sgd
from frugal_theory.theorems.sgdm import Sgdm
from frugal_theory.theorems.short_runs import ShortRuns
from frugal_theory.theorems.signsgd import SignSgd
from frugal_theory.theorems.signsgd_sharp import SignSgdSharp
from frugal_theory.theorems.signsgd_symmetric import SignSgdSymmetric
from frugal_theory.theorems.theorem import Theorem
from frugal_theory.theorems.theorem_5_2 import Theorem52

__all__ = [
    "THEOREMS",
    "Constant",
    "Constants",
    "EigenAligned",
    "FixedSet",
    "HeldSets",
    "Hybrid",
    "HybridSharp",
    "HybridSymmetric",
    "IndependentSampling",
    "Law",
    "OrthogonalSubspaces",
    "ProblemSetting",
    "RunLength",
    "RunLengthByCoordinate",
    "RunLengthSharp",
    "Setting",
    "Sgd",
    "Sgdm",
    "ShortRuns",
    "SignSgd",
    "SignSgdSharp",
    "SignSgdSymmetric",
    "Theorem",
    "Theorem52",
]

_ALL: tuple[Theorem, ...] = (
    Sgd(),
    Sgdm(),
    RunLength(),
    Theorem52(),
    FixedSet(),
    IndependentSampling(),
    HeldSets(),
    OrthogonalSubspaces(),
    RunLengthSharp(),
    ShortRuns(),
    RunLengthByCoordinate(),
    SignSgd(),
    SignSgdSharp(),
    SignSgdSymmetric(),
    Hybrid(),
    HybridSharp(),
    HybridSymmetric(),
    EigenAligned(),
)

THEOREMS: dict[str, Theorem] = {theorem.name: theorem for theorem in _ALL}
"""Every theorem that an experiment's ``[verify] theorems`` may name."""
