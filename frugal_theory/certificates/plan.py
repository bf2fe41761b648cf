"""What a certificate is to be found for: the method in exact fractions, and the branches of its steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

__all__ = ["Branch", "Group", "Plan"]

Label = Literal["in", "out"]


@dataclass(frozen=True)
class Group:
    """Coordinates with one law: in the set with probability ``share``, or, if that is None, by ``schedule``, an entry a period.

    ``weight``: their part of all coordinates, which only weighs their noise in the objective.
    """

    share: Fraction | None
    schedule: tuple[bool, ...] = ()
    weight: float = 1.0

    @property
    def random(self) -> bool:
        """Whether its members are drawn."""
        return self.share is not None and 0 < self.share < 1


@dataclass(frozen=True)
class Branch:
    """What can happen to a coordinate in a step. ``remembers``: whether it may come with momentum. ``drawn``: None, or the
    factor of what has mean zero over the draw."""

    label: Label
    now: Label
    after: Label
    remembers: bool
    drawn: Fraction | None


@dataclass(frozen=True)
class Plan:
    """SGDM on momentum sets, SGD off them, in the fractions of the doubles that configure it.

    ``horizon``: None for coefficients that repeat and a claim about every K, or K, for coefficients of every step of a run.
    ``basis``: "turning" for a basis drawn anew each period, "fixed" for one that is not that of the coordinates, else None.
    ``uncorrelated``: whether the noise of any two coordinates is known to be uncorrelated, which matters for a turning basis.
    ``auxiliary``: whether z = x − αLβ/(1−β)·m is used as well. ``kind``: "average" bounds the average of E‖g‖², "level" E‖g‖²
    of every step by C LΔ and the noise of all steps before it, which is sharp for short runs.
    """

    learning_rate: Fraction
    smoothness: Fraction
    beta: Fraction
    off_set_scale: Fraction
    update_gap: int
    groups: tuple[Group, ...]
    basis: Literal["turning", "fixed"] | None = None
    uncorrelated: bool = False
    horizon: int | None = None
    auxiliary: bool = False
    kind: Literal["average", "level"] = "average"

    @property
    def step(self) -> Fraction:
        """a = αL."""
        return self.learning_rate * self.smoothness

    @property
    def kappa(self) -> Fraction | None:
        """κ of z = x − κm; None if there is no z."""
        return self.step * self.beta / (1 - self.beta) if self.auxiliary else None

    @property
    def tied(self) -> bool:
        """Whether of the noise in the set and off it only the sum is known, so that both have one constant."""
        return self.basis == "fixed" or (self.basis == "turning" and self.gap > 1 and not self.uncorrelated)

    @property
    def gap(self) -> int:
        """T; 1 where nothing is ever drawn or scheduled."""
        return self.update_gap if any(group.random or group.share is None for group in self.groups) else 1

    @property
    def cycle(self) -> int:
        """Steps after which everything repeats."""
        return self.gap * max(len(group.schedule) or 1 for group in self.groups)

    @property
    def count(self) -> int:
        """Steps that have coefficients of their own."""
        return self.horizon or self.cycle

    def drawn(self, k: int, group: Group) -> bool:
        """Whether the group is drawn before the 0-based step k."""
        return group.random and k % self.gap == 0

    def labels(self, k: int, group: Group) -> tuple[Label, ...]:
        """What its coordinates may have been before step k; of a schedule, what they are in it. "out" has no momentum."""
        if group.share is None:
            return ("in" if group.schedule[k % self.cycle // self.gap] else "out",)
        if not group.random:
            return ("in" if group.share else "out",)
        alike = self.basis == "turning" or (self.horizon is not None and k == 0)
        return ("out",) if self.drawn(k, group) and alike else ("in", "out")

    def remembers(self, k: int, group: Group, label: Label) -> bool:
        """Whether coordinates of that label may come to step k with momentum."""
        new = self.horizon is not None and k == 0
        enters = group.share is None and k % self.gap == 0 and self.labels(k - 1, group) == ("out",)
        return label == "in" and not new and not enters

    def branches(self, k: int, group: Group) -> Iterator[Branch]:
        """What can happen to its coordinates in step k."""
        for label in self.labels(k, group):
            choices: tuple[Label, ...] = ("in", "out") if self.drawn(k, group) else (label,)
            for now in choices:
                settled = group.share is None or (self.basis == "turning" and self.drawn(k + 1, group))
                after = self.labels(k + 1, group)[0] if settled else now
                factor = None
                if self.drawn(k, group) and group.share is not None:
                    factor = 1 - group.share if now == "in" else -group.share
                yield Branch(label, now, after, self.remembers(k, group, label), factor)

    def start(self, group: Group) -> tuple[Label, ...]:
        """What its coordinates are before the first step."""
        return ("out",) if self.drawn(0, group) else self.labels(0, group)

    def table(self) -> dict[str, Any]:
        """The configuration as the certificate holds it."""
        groups = [
            {"schedule": [int(inside) for inside in group.schedule]} if group.share is None else {"share": str(group.share)}
            for group in self.groups
        ]
        numbers = ("learning_rate", "smoothness", "beta", "off_set_scale")
        return {name: str(getattr(self, name)) for name in numbers} | {
            "kind": self.kind,
            "update_gap": self.gap,
            "horizon": self.horizon,
            "classes": groups,
            "basis": self.basis,
            "uncorrelated": self.uncorrelated,
            "auxiliary": None if self.kappa is None else str(self.kappa),
        }
