"""The algorithm family: rules, subspaces, selection, and one step of Algorithm 1."""

from frugal_theory.algorithm.rules import state_free_update, state_full_rule
from frugal_theory.algorithm.step import State, init, step
from frugal_theory.algorithm.subspaces import Basis, Mask, choose_parts

__all__ = ["Basis", "Mask", "State", "choose_parts", "init", "state_free_update", "state_full_rule", "step"]
