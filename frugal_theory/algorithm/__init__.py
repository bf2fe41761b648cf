"""The algorithm family: rules, subspaces, selection, and one step of Algorithm 1."""

from frugal_theory.algorithm.rules import rule_of
from frugal_theory.algorithm.step import State, init, step
from frugal_theory.algorithm.subspaces import Basis, Mask, choose_parts

__all__ = ["Basis", "Mask", "State", "choose_parts", "init", "rule_of", "step"]
