"""The theorems, one file each."""

from frugal_theory.theorems.run_length import RunLength
from frugal_theory.theorems.sgd import Sgd
from frugal_theory.theorems.sgdm import Sgdm
from frugal_theory.theorems.theorem import Setting, Theorem
from frugal_theory.theorems.theorem_5_2 import Theorem52

__all__ = ["THEOREMS", "RunLength", "Setting", "Sgd", "Sgdm", "Theorem", "Theorem52"]

THEOREMS: dict[str, Theorem] = {theorem.name: theorem for theorem in (Sgd(), Sgdm(), RunLength(), Theorem52())}
"""Every theorem that an experiment's ``[verify] theorems`` may name."""
