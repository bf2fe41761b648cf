"""The theorems, one file each."""

from __future__ import annotations

from frugal_theory.config.registry import Registry
from frugal_theory.theorems.setting import Constant, Constants, Law, ProblemSetting, Setting
from frugal_theory.theorems.theorem import Theorem

__all__ = ["THEOREMS", "Constant", "Constants", "Law", "ProblemSetting", "Setting", "Theorem", "add_theorem"]

THEOREMS: Registry[Theorem] = Registry(
    "theorem",
    "frugal_theory.theorems:THEOREMS",
    {
        "sgd": "frugal_theory.theorems.sgd:Sgd",
        "sgdm": "frugal_theory.theorems.sgdm:Sgdm",
        "sgdm_sharp": "frugal_theory.theorems.sgdm_sharp:SgdmSharp",
        "sgdm_linear": "frugal_theory.theorems.sgdm_linear:SgdmLinear",
        "sgd_weight_decay": "frugal_theory.theorems.sgd_weight_decay:SgdWeightDecay",
        "run_length": "frugal_theory.theorems.run_length:RunLength",
        "theorem_5_2": "frugal_theory.theorems.theorem_5_2:Theorem52",
        "fixed_set": "frugal_theory.theorems.fixed_set:FixedSet",
        "independent_sampling": "frugal_theory.theorems.independent_sampling:IndependentSampling",
        "held_sets": "frugal_theory.theorems.held_sets:HeldSets",
        "orthogonal_subspaces": "frugal_theory.theorems.orthogonal_subspaces:OrthogonalSubspaces",
        "run_length_sharp": "frugal_theory.theorems.run_length_sharp:RunLengthSharp",
        "short_runs": "frugal_theory.theorems.short_runs:ShortRuns",
        "run_length_by_coordinate": "frugal_theory.theorems.run_length_by_coordinate:RunLengthByCoordinate",
        "signsgd": "frugal_theory.theorems.signsgd:SignSgd",
        "signsgd_sharp": "frugal_theory.theorems.signsgd_sharp:SignSgdSharp",
        "signsgd_symmetric": "frugal_theory.theorems.signsgd_symmetric:SignSgdSymmetric",
        "signsgd_medians": "frugal_theory.theorems.signsgd_medians:SignSgdMedians",
        "hybrid": "frugal_theory.theorems.hybrid:Hybrid",
        "hybrid_sharp": "frugal_theory.theorems.hybrid_sharp:HybridSharp",
        "hybrid_symmetric": "frugal_theory.theorems.hybrid_symmetric:HybridSymmetric",
        "adagrad": "frugal_theory.theorems.adagrad:Adagrad",
        "adam": "frugal_theory.theorems.adam:Adam",
        "adam_hybrid": "frugal_theory.theorems.adam_hybrid:AdamHybrid",
        "lion": "frugal_theory.theorems.lion:Lion",
        "eigen_aligned": "frugal_theory.theorems.eigen_aligned:EigenAligned",
        "certified": "frugal_theory.theorems.certified:Certified",
        "svd_selection": "frugal_theory.theorems.svd_selection:SvdSelection",
    },
    each=lambda theorem: theorem(),
)
"""Every theorem that an experiment's ``[verify] theorems`` may name."""


def add_theorem(theorem: Theorem) -> Theorem:
    """Add a theorem under its own name. Raises ValueError if that name is taken."""
    return THEOREMS.add(theorem.name, theorem)
