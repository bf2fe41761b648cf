"""The theorems, one file each."""

from frugal_theory.theorems.run_length import RunLength
from frugal_theory.theorems.sgd import Sgd
from frugal_theory.theorems.sgdm import Sgdm
from frugal_theory.theorems.theorem import Setting, Theorem
from frugal_theory.theorems.theorem_5_2 import Theorem52

__all__ = ["THEOREMS", "RunLength", "Setting", "Sgd", "Sgdm", "Theorem", "Theorem52", "register"]

THEOREMS: dict[str, Theorem] = {theorem.name: theorem for theorem in (Sgd(), Sgdm(), RunLength(), Theorem52())}
"""Every theorem that an experiment's ``[verify] theorems`` may name."""


def register(theorem: Theorem) -> Theorem:
    """Add a theorem under its own name. Raises ValueError if that name is taken."""
    if theorem.name in THEOREMS:
        raise ValueError(f"a theorem named {theorem.name!r} exists already")
    THEOREMS[theorem.name] = theorem
    return theorem
