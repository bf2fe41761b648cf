"""Attacks: searches for what makes a theorem false, or as tight as it gets."""

from frugal_theory.studies.attack.candidates import PARTS
from frugal_theory.studies.attack.optimise import OPTIMIZERS
from frugal_theory.studies.attack.search import Attack, attack
from frugal_theory.studies.attack.study import AttackStudy

__all__ = ["OPTIMIZERS", "PARTS", "Attack", "AttackStudy", "attack"]
