"""A set of coordinates as zeros and ones: the form in which trials of different sets run side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from frugal_theory.algorithm.parts.part import Reading, State
from frugal_theory.algorithm.rules.rule import namespace

__all__ = ["Mask"]

Array = Any


@dataclass(frozen=True)
class Mask:
    """The coordinates in the set: booleans that broadcast against the gradient.

    Right for rules whose update of a coordinate depends on that coordinate alone: to them an entry off the set, a zero, does
    not matter. Others need the part itself (:class:`~frugal_theory.algorithm.parts.units.Units`).
    """

    inside: Array
    compact: Any = None
    """The same set as :class:`~frugal_theory.algorithm.parts.units.Units`, where it is one parameter's own and known."""
    empty: ClassVar[bool] = False

    def project(self, gradient: Array) -> Array:
        """P g, with zeros off the set."""
        return gradient * self.inside

    def lift(self, update: Array) -> Array:
        """P⁻¹ u."""
        return update * self.inside

    def residual(self, gradient: Array) -> Array:
        """g − P⁻¹P g: exactly zero on the set."""
        return gradient * ~self.inside

    def shown(self, x: Array) -> Array:
        """The units in the set; off it, under "decay", the state-full rule makes updates that nobody takes."""
        return x if self.compact is None else self.compact.project(x)

    def covered(self, gradient: Array, reading: Reading) -> Array:  # noqa: ARG002
        """P g."""
        return self.project(gradient)

    def see(self, kept: State, reading: Reading) -> State:  # noqa: ARG002
        """All of it."""
        return kept

    def keep(self, kept: State, new: State, reading: Reading) -> State:
        """Zeros off the set ("reset"), the new state everywhere ("decay"), or the old one off the set ("hold")."""
        if reading == "decay":
            return new
        if reading == "hold":
            return {key: namespace(value).where(self.inside, value, kept[key]) for key, value in new.items()}
        return {key: value * self.inside for key, value in new.items()}
