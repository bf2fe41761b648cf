"""Every tolerance of the test suite, named, with the reason for its size."""

ROUNDING = 1e-12
"""Elementwise paths that do the same arithmetic in another order: a few hundred roundings of 1e-16, relative."""

FACTORISATION = 1e-9
"""Paths through svd or qr, whose backward error is a modest multiple of 1e-16 times the condition of the step."""
