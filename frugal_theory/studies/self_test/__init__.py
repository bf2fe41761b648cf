"""The self-test: false theorems, faulty engines and traps for the judge, and every one of them has to be caught."""

from frugal_theory.studies.self_test.finding import Finding
from frugal_theory.studies.self_test.run import Sheet, self_test

__all__ = ["Finding", "Sheet", "self_test"]
