"""What a backend offers: rules that work in place, or the whole step of a parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from frugal_gpu.optim.subspaces import Basis, Free, Full, OffBlock, Units
from frugal_theory.algorithm.rules import Rule

__all__ = ["Backend", "Chosen", "Counts", "InPlace", "Job", "Law", "Tensors", "WholeStep"]

Tensors = list[Tensor]
Counts = list[int] | list[Tensor]
Chosen = Full | Free | OffBlock | Units | Basis


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


@dataclass(slots=True)
class Job:
    """The step of one parameter: its gradient, its part, and the statistics of that by name.

    Under "hold" statistics cover every unit; else they have the shape of the state-full part. "step" (only if the rule counts)
    is an int that counts this step, or a tensor, one number a unit, that does not yet: whoever takes the step adds 1.
    A job may be taken again in the next step, with another gradient of the same type and strides and another count, all else as
    it was: in ``known`` whole steps keep, under their names, what they found out about it.
    """

    parameter: Tensor
    gradient: Tensor
    part: Chosen
    statistics: dict[str, Any]
    known: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Law:
    """What all steps of a group have in common: x ← (1 − α · decay) x − α · split_scale · u, u of the two rules.

    ``full`` is the state-full rule and ``rule`` its accelerator; ``free`` the state-free rule by name, ``scale`` its factor.
    A tensor α is on a device that the host should not wait for. ``divided``: whether units are those of divided blocks.
    ``owner``: the group's first parameter, with which what is kept between its steps is kept, and goes.
    """

    full: Rule
    rule: InPlace
    free: str
    scale: float
    alpha: float | Tensor
    decay: float
    split_scale: float = 1.0
    divided: bool = False
    owner: Tensor | None = None


class WholeStep(Protocol):
    """Takes the step of a parameter as a whole, in place, and without temporaries of its size."""

    def missing(self) -> str | None:
        """What it needs and this machine lacks, in a few words; None if it can run."""
        ...

    def as_it_is(self, law: Law, parameter: Tensor, part: Any, stored: torch.dtype, state: Mapping[str, Any]) -> bool:
        """Whether it steps a parameter that has a gradient in its own form, where its type, its gradient's and the one in
        which statistics are ``stored`` need not be one: nothing need stand in for it then."""
        ...

    def step_(self, law: Law, jobs: Sequence[Job]) -> list[Job]:
        """Take the steps of those jobs that it knows; give back the others, untouched."""
        ...
