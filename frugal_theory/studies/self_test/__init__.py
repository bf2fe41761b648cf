"""The self-test: false theorems and faulty engines are planted, and every one of them has to be caught."""

from frugal_theory.studies.self_test.run import Finding, Sheet, self_test

__all__ = ["Finding", "Sheet", "self_test"]
