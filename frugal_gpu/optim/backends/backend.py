"""What a backend offers, and what it makes of a rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from torch import Tensor

from frugal_theory.algorithm.rules import Rule

__all__ = ["Backend", "Counts", "InPlace", "Tensors"]

Tensors = list[Tensor]
Counts = list[int] | list[Tensor]


class InPlace(Protocol):
    """A rule on lists of tensors of one device and dtype, in place on its statistics. It never hears of subspaces."""

    @property
    def vectors(self) -> tuple[str, ...]:
        """Names of the statistics that are linear in the gradient: they turn with a basis as Rm."""
        ...

    @property
    def squares(self) -> tuple[str, ...]:
        """Names of those that are quadratic in it: they turn as (R∘R)v."""
        ...

    @property
    def counts(self) -> bool:
        """Whether the rule needs the number of steps."""
        ...

    def update_(self, statistics: Mapping[str, Tensors], gradients: Tensors, counts: Counts) -> Sequence[Tensor]:
        """Change the statistics in place and return the update u of every tensor (the step is −αu).

        ``statistics[name][i]`` has the shape of ``gradients[i]``. ``counts[i]`` (only if the rule ``counts``) is the
        number of steps with this one: an int, or a tensor that broadcasts against it, one number a unit. An update may
        be one of the statistics itself, so it must not be written to.
        """
        ...


class Backend(Protocol):
    """A way to run rules faster."""

    def accelerator(self, rule: Rule) -> InPlace | None:
        """The rule in this backend's hands; None if it does not know it."""
        ...
