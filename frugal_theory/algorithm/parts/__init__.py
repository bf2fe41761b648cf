"""Parts: which share of one parameter a rule sees, and how its update comes back.

A part has ``project`` (what the state-full rule sees), ``lift`` (its update in the parameter's own axes) and ``residual`` (what
is left to the state-free rule); ``see`` and ``keep`` say what the rule sees of a state that is kept, and what is kept of a new
one. All of it is written for NumPy arrays and torch tensors.
"""

from frugal_theory.algorithm.parts.basis import ROUNDING, Basis
from frugal_theory.algorithm.parts.mask import Mask
from frugal_theory.algorithm.parts.part import Part, Reading
from frugal_theory.algorithm.parts.sketch import Sketch
from frugal_theory.algorithm.parts.units import Units, compact

__all__ = ["ROUNDING", "Basis", "Mask", "Part", "Reading", "Sketch", "Units", "compact"]
