"""Certificates: proofs of a bound for one configuration, found by a semidefinite program and checked in rational arithmetic.

``checker.py`` is a program of its own: it needs SymPy alone, and nothing else of this package.
"""

from frugal_theory.certificates.checker import check
from frugal_theory.certificates.plan import Group, Plan
from frugal_theory.certificates.search import TRADES, Certificate, NotCertified, certificate, sealed

__all__ = ["TRADES", "Certificate", "Group", "NotCertified", "Plan", "certificate", "check", "sealed"]
