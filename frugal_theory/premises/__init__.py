"""Premises P1–P6, tested: a search for P1 and P2, statistical tests with a level and a power for P3–P5, a rerun for P6."""

from frugal_theory.premises.check import LEVEL, PREMISES, add_premise, check_noise_premises, check_premises
from frugal_theory.premises.grounds import Grounds, PremiseTest
from frugal_theory.premises.search import largest_gradient_ratio

__all__ = [
    "LEVEL",
    "PREMISES",
    "Grounds",
    "PremiseTest",
    "add_premise",
    "check_noise_premises",
    "check_premises",
    "largest_gradient_ratio",
]
