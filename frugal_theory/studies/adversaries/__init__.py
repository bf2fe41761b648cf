"""Adversaries: every theorem against the worst few steps that a search finds, every noise and every set followed exactly."""

from frugal_theory.studies.adversaries.families import FAMILIES, Family
from frugal_theory.studies.adversaries.study import ADVERSARIES, Adversaries

__all__ = ["ADVERSARIES", "FAMILIES", "Adversaries", "Family"]
