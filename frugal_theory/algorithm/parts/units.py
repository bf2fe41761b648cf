"""A set of units (coordinates, columns, rows, or everything) with the rest left out: the form that saves memory."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frugal_theory.algorithm.parts.mask import Mask
from frugal_theory.algorithm.parts.part import Reading, State
from frugal_theory.algorithm.rules.rule import namespace

__all__ = ["Units", "compact"]

Array = Any


@dataclass(frozen=True)
class Units:
    """The units ``index`` (ascending, NumPy integers) along ``axis`` of a parameter of ``shape``, seen in ``view``.

    A rule sees the entries of the units in the set only, and its state covers those only; under "hold" what is kept covers
    every unit, and the rule sees the set's. An entry of the state with a 1 in the axis is shared by the units: it stays.
    """

    index: NDArray[np.int64]
    axis: int
    view: tuple[int, ...]
    shape: tuple[int, ...]

    @property
    def empty(self) -> bool:
        """Whether no unit is in the set."""
        return len(self.index) == 0

    def project(self, gradient: Array) -> Array:
        """The entries of the units in the set."""
        return self.select(gradient.reshape(self.view))

    def lift(self, update: Array) -> Array:
        """Zeros off the set, ``update`` on it."""
        return self.spread(update).reshape(self.shape)

    def residual(self, gradient: Array) -> Array:
        """The gradient with zeros on the set."""
        rest = namespace(gradient).asarray(gradient.reshape(self.view), copy=True)
        rest[self._where(rest)] = 0
        return rest.reshape(self.shape)

    def shown(self, x: Array) -> Array:
        """All of it."""
        return x

    def covered(self, gradient: Array, reading: Reading) -> Array:
        """The entries of the units in the set, or under "hold" of every unit."""
        return gradient.reshape(self.view) if reading == "hold" else self.project(gradient)

    def see(self, kept: State, reading: Reading) -> State:
        """What is kept, or under "hold" the set's share of it."""
        if reading != "hold":
            return kept
        return {key: self.select(value) if self.by_unit(value) else value for key, value in kept.items()}

    def keep(self, kept: State, new: State, reading: Reading) -> State:
        """The new state, or under "hold" what was kept with the set's share replaced."""
        if reading != "hold":
            return new
        return {key: self.spread(value, kept[key]) if self.by_unit(kept[key]) else value for key, value in new.items()}

    def by_unit(self, whole: Array) -> bool:
        """Whether this entry of a state for the whole parameter has one number, or row of numbers, for every unit."""
        return bool(whole.ndim > self.axis and whole.shape[self.axis] == self.view[self.axis])

    def select(self, whole: Array) -> Array:
        """The entries of the units in the set."""
        return whole[self._where(whole)]

    def spread(self, values: Array, onto: Array | None = None) -> Array:
        """The inverse of :meth:`select`: ``values`` on the set, and off it those of ``onto``, or zeros."""
        xp = namespace(values)
        if onto is not None:
            whole = xp.asarray(onto, copy=True)
        else:
            shape = (*values.shape[: self.axis], self.view[self.axis], *values.shape[self.axis + 1 :])
            whole = xp.zeros(shape, dtype=values.dtype, device=values.device)
        whole[self._where(whole)] = values
        return whole

    def _where(self, values: Array) -> tuple[Any, ...]:
        index = self.index if isinstance(values, np.ndarray) else namespace(values).asarray(self.index, device=values.device)
        return (*([slice(None)] * self.axis), index)


def compact(mask: Mask, shape: tuple[int, ...]) -> Units:
    """The same set without the rest: along the axis in which the mask changes, or coordinate by coordinate."""
    inside = np.asarray(mask.inside)
    varying = [axis for axis, size in enumerate(inside.shape) if size > 1]
    if len(varying) == 1:
        return Units(np.flatnonzero(inside), varying[0], shape, shape)
    if not varying:  # all or nothing: the first axis carries it
        view = shape or (1,)
        return Units(np.arange(view[0] if inside.all() else 0), 0, view, shape)
    return Units(np.flatnonzero(np.broadcast_to(inside, shape)), 0, (math.prod(shape),), shape)
