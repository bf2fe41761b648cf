"""What every part offers."""

from __future__ import annotations

from typing import Any, Literal, Protocol

__all__ = ["Part", "Reading"]

Array = Any
State = dict[str, Array]

Reading = Literal["reset", "decay", "hold"]
"""The three readings of Algorithm 2's line 3 for the state off the set: forget it, let it see zero gradients, or freeze it."""


class Part(Protocol):
    """A share of one parameter: a linear map P onto it, its right inverse, and what becomes of the state off it."""

    @property
    def empty(self) -> bool:
        """Whether nothing is known to be in it, so that the state-full rule has nothing to do."""
        ...

    def project(self, gradient: Array) -> Array:
        """P g."""
        ...

    def lift(self, update: Array) -> Array:
        """P⁻¹ u, of the parameter's shape."""
        ...

    def residual(self, gradient: Array) -> Array:
        """g − P⁻¹P g, of the parameter's shape."""
        ...

    def shown(self, x: Array) -> Array:
        """What the state-free rule may see of the state-full side's gradient or update ``x``: the part alone."""
        ...

    def covered(self, gradient: Array, reading: Reading) -> Array:
        """What of the gradient the state covers: its part, or under "hold" all of it, in the form that the rule sees."""
        ...

    def see(self, kept: State, reading: Reading) -> State:
        """What the rule sees of the state that is kept."""
        ...

    def keep(self, kept: State, new: State, reading: Reading) -> State:
        """What is kept, given what was kept and the rule's new state."""
        ...
