"""Rates: exponents fitted to exact expectations on quadratics, against what theory predicts."""

from frugal_theory.studies.rates.fits import RateFit, rates

__all__ = ["RateFit", "rates"]
