"""What a rule is: frozen data with ``init`` and ``update``, as in Optax, written once for NumPy arrays and torch tensors.

A rule is the table of the experiment file that names it. It maps (state, gradient) to (update u, new state); the step is −αu.
State is a dict of arrays of any shape that broadcasts against the gradient: an entry of the gradient's size follows the
coordinates, one with a 1 in an axis is shared along that axis. A rule never hears of subspaces: what it sees is its part.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import numpy as np

from frugal_theory.config import Part
from frugal_theory.config.fields import SIDES
from frugal_theory.config.parts import NonNegative
from frugal_theory.config.registry import RULES, Kind

__all__ = ["Rule", "RuleState", "RuleTable", "Seen", "StateFree", "counter", "itself", "namespace", "rule_of"]

Array = Any
"""A NumPy array or a torch tensor."""

RuleState = dict[str, Array]


class Seen(NamedTuple):
    """What a state-free rule may see of the state-full side of its parameter: the gradient of that part and its update.

    ``correction``: the bias correction that the update has in it, where that is one number for the whole part; 1 elsewhere.
    """

    gradient: Array
    update: Array
    correction: Array | float = 1.0


@runtime_checkable
class Rule(Protocol):
    """A rule: ``init`` and ``update``. Neither changes its arguments, and all that is remembered is in the state.

    ``vectors`` names the entries of the state that are linear in the gradient and turn with a basis as Rm, ``squares`` those
    that are quadratic in it and turn as (R∘R)v, both when ``on_update = "project"``. A rule whose update of a coordinate
    depends on others (a norm, a factored moment) says ``elementwise = False``.
    """

    @property
    def vectors(self) -> tuple[str, ...]:
        """Entries of the state that are linear in the gradient."""
        ...

    @property
    def squares(self) -> tuple[str, ...]:
        """Entries that are quadratic in it."""
        ...

    def init(self, like: Array) -> RuleState:
        """The state before the first step, for gradients like this one."""
        ...

    def update(self, state: RuleState, g: Array, seen: Seen | None = None) -> tuple[Array, RuleState]:
        """The update u, of the gradient's shape, and the new state."""
        ...


class RuleTable(Part):
    """A rule that is its own table; derive yours from it, with a field ``rule: Literal["name"] = "name"``.

    ``title``: its name in words, if that is another.
    """

    title: ClassVar[str] = ""
    sides: ClassVar[tuple[str, ...]] = SIDES
    vectors: ClassVar[tuple[str, ...]] = ()
    squares: ClassVar[tuple[str, ...]] = ()
    elementwise: ClassVar[bool] = True
    by_unit: ClassVar[bool] = True
    """Whether the state consists of arrays, which can follow the units of a set; that of a rule that holds rules does not."""
    counts: ClassVar[tuple[str, ...]] = ()
    """Entries of the state that count steps: the same for all coordinates that entered the set together."""


class StateFree(RuleTable):
    """A rule for the residual, with a factor ``lr_scale`` on its update."""

    rule: str
    lr_scale: NonNegative = 1.0
    """A factor on the learning rate of the state-free part."""

    sides: ClassVar[tuple[str, ...]] = ("state_free",)


def counter(like: Array) -> Array:
    """No step counted: one number, of at least 32 bits, that broadcasts against arrays like this one."""
    xp = namespace(like)
    dtype = like.dtype if like.dtype.itemsize >= 4 else xp.float32
    return xp.zeros((1,) * like.ndim, dtype=dtype, device=like.device)


def itself(table: Any) -> Any:
    """What makes a rule of a table that is one."""
    return table


def rule_of(table: Part) -> Rule:
    """The rule that a ``state_full`` or ``state_free`` table of the experiment file names."""
    kind: Kind[Rule] = RULES[table.rule]  # type: ignore[attr-defined]  # every rule's table has that field
    return kind.make(table)


def namespace(x: Array) -> Any:
    """The functions for this kind of array (``sqrt``, ``sign``, ``zeros_like`` …), of NumPy or torch."""
    if isinstance(x, np.ndarray | np.generic):
        return np
    from array_api_compat import array_namespace

    return array_namespace(x)
