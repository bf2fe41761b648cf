"""Periods: Algorithm 1 as a rule, and what becomes of a state when its part changes.

Every T steps a new part of each parameter is chosen, by a pure function of the seed, the parameter's name and the period. Units
that stay in the set keep their state. A basis resets it, keeps it as it is, or turns it (``on_update``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from frugal_theory.algorithm.combine import Split, each_expert
from frugal_theory.algorithm.parts import Basis, Mask, Part, Reading, Sketch, Units, compact
from frugal_theory.algorithm.rules.rule import Array, Rule, RuleState, Seen, namespace, rule_of
from frugal_theory.algorithm.schedules import in_period
from frugal_theory.algorithm.staggering import offsets, own_period
from frugal_theory.algorithm.subspaces import choose_parts, matrix_of, side
from frugal_theory.config import Algorithm
from frugal_theory.config.registry import SUBSPACES

__all__ = ["Alternating", "carried", "optimizer", "placed", "readings"]

State = dict[str, Any]

NAME = "x"
"""What a single array is called: the name enters the selection, and it is that of a problem in one vector."""


def optimizer(algorithm: Algorithm, bases: Mapping[str, Any] | None = None) -> Alternating:
    """The rule that an ``[algorithm]`` table names, for NumPy arrays and torch tensors.

    ``init(like)`` takes an array, or a mapping of arrays by name; ``update(state, g)`` returns the update u and the new state,
    and the step x − lr (u + weight_decay · x) is the caller's; ``split_lr_scale`` is in u. Both engines leave a block alone
    that is off the set under state-free rule "none": it does not decay. ``bases``: for subspace "eigen", eigenvectors by name.

        >>> import numpy as np, frugal_theory as ft
        >>> rule = ft.optimizer(ft.Algorithm(density=1.0, state_full="sgdm"))
        >>> u, state = rule.update(rule.init(np.zeros(2)), np.array([1.0, -2.0]))
        >>> u.round(3).tolist()
        [0.1, -0.2]
    """
    in_period(algorithm, 0)  # or why it has none
    full, free = (each_expert(rule_of(table), algorithm.experts) for table in (algorithm.state_full, algorithm.state_free))
    return Alternating(algorithm, full, free, bases)


@dataclass(frozen=True)
class Alternating:
    """A :class:`Split` whose part changes every T = ``algorithm.update_gap`` steps: Algorithm 1 (arXiv 2411.07837).

    State: "step", the number of steps; "rules", that of the Split by parameter; "columns", the bases in use by parameter.
    """

    algorithm: Algorithm
    full: Rule
    free: Rule
    bases: Mapping[str, Any] | None = None
    vectors: ClassVar[tuple[str, ...]] = ()
    squares: ClassVar[tuple[str, ...]] = ()
    elementwise: ClassVar[bool] = False

    def init(self, like: Array | Mapping[str, Array]) -> State:  # noqa: ARG002
        """No step done; the rules start with their parts."""
        return {"step": 0, "rules": {}, "columns": {}}

    def update(
        self,
        state: State,
        g: Array | Mapping[str, Array],
        seen: Seen | None = None,  # noqa: ARG002
    ) -> tuple[Any, State]:
        """The update of every parameter, a mapping if the gradient is one."""
        gradients: dict[str, Array] = dict(g) if isinstance(g, Mapping) else {NAME: g}
        period, phase = divmod(state["step"], self.algorithm.update_gap)
        rules, columns = state["rules"], state["columns"]
        begins = offsets(self.algorithm, {name: tuple(x.shape) for name, x in gradients.items()})
        if begins and rules:  # each basis by itself
            parts = old = self._parts(period, gradients, columns)
            due = [name for name, begin in begins.items() if begin == phase]
            rules, columns = dict(rules), dict(columns)
            for name in due:
                now = own_period(period, phase, begins[name])
                new = self._parts(now, {name: gradients[name]}, {})[name]
                assert isinstance(new, Basis)
                parts = {**parts, name: new}
                rules[name] = self._entered(old[name], new, rules[name], gradients[name])
                columns[name] = new.columns
        elif phase == 0:
            old = self._parts(period - 1, gradients, columns) if rules else {}
            parts = self._parts(period, gradients, {})
            rules = {name: self._entered(old.get(name), parts[name], rules.get(name), x) for name, x in gradients.items()}
            columns = {name: part.columns for name, part in parts.items() if isinstance(part, Basis)}
        else:
            parts = self._parts(period, gradients, columns)
        updates: dict[str, Array] = {}
        after: dict[str, State] = {}
        for name, gradient in gradients.items():
            u, after[name] = self._split(parts[name]).update(rules[name], gradient)
            updates[name] = u if self.algorithm.split_lr_scale == 1 else self.algorithm.split_lr_scale * u
        result = updates if isinstance(g, Mapping) else updates[NAME]
        return result, {"step": state["step"] + 1, "rules": after, "columns": columns}

    def _split(self, part: Part) -> Split:
        return Split(part, self.full, self.free, self.algorithm.off_set_momentum)

    def _parts(self, period: int, gradients: Mapping[str, Array], columns: Mapping[str, Array]) -> dict[str, Part]:
        """The parts of a period, with the bases in ``columns`` where there are any, and new ones elsewhere."""
        shapes = {name: tuple(g.shape) for name, g in gradients.items()}
        algorithm = in_period(self.algorithm, period)
        if not SUBSPACES[self.algorithm.subspace].basis:
            nothing = {"state_full": None, "state_free": None, "groups": ()}  # a table may not be hashable
            ruleless = algorithm.model_copy(update=nothing)
            kind = SUBSPACES[self.algorithm.subspace]
            chosen: Mapping[str, Mask | Basis] = _drawn(ruleless, kind, tuple(shapes.items()), period)
        elif columns:
            kind = Sketch if getattr(SUBSPACES[self.algorithm.subspace], "sketch", False) else Basis
            seen = {name: matrix_of(shape, self.algorithm.experts) for name, shape in shapes.items()}
            chosen = {
                name: kind(columns[name], side(shape, self.algorithm.side)) if name in columns else Mask(np.asarray(True))
                for name, shape in seen.items()
            }
        else:
            known = {name: _numpy(gradient) for name, gradient in gradients.items()}
            chosen = choose_parts(algorithm, shapes, period, known, bases=self.bases)
        reading = self.algorithm.off_set_momentum
        return {name: placed(part, shapes[name], reading, gradients[name]) for name, part in chosen.items()}

    def _entered(self, old: Part | None, new: Part, state: State | None, gradient: Array) -> State:
        """The state of a parameter's Split in a new period."""
        if old is None or state is None:
            return self._split(new).init(gradient)
        full = carried(self.full, old, new, state["full"], gradient, **readings(self.algorithm))
        return {"full": full, "free": state["free"]}


def carried(
    rule: Rule, old: Part, new: Part, state: RuleState, gradient: Array, *, reading: Reading, on_update: str
) -> RuleState:
    """The state-full rule's state when its part becomes another one.

    A mask, and units under "hold", need nothing: their state covers everything. Other units that stay keep their entries, those
    that enter are where the rule starts, and entries that units share stay while any unit does. A rule that holds rules, whose
    state is not by unit, starts anew with a new set. Of a basis, ``on_update`` decides: "reset", "keep" or "project"; what is
    kept is of the same shape.
    """
    if isinstance(new, Units) and isinstance(old, Units):
        return state if reading == "hold" else _followed(rule, old, new, state, gradient)
    if isinstance(new, Mask) and not isinstance(old, Basis):
        return state
    if on_update == "keep" and isinstance(new, Basis) and isinstance(old, Basis) and old.columns.shape == new.columns.shape:
        return state
    if on_update == "keep":
        return rule.init(new.project(gradient))
    if on_update == "reset" or not isinstance(new, Basis) or not isinstance(old, Basis):
        return rule.init(new.project(gradient))
    turning, start = (*rule.vectors, *rule.squares), rule.init(new.project(gradient))
    return {
        key: new.turn(old, value, key in rule.squares) if key in turning else _alike(value, start[key])
        for key, value in state.items()
    }


def _alike(value: Any, start: Any) -> Any:
    """An entry that is the same for all directions of a basis, in the shape that it has for another number of them."""
    if getattr(value, "shape", ()) == getattr(start, "shape", ()):
        return value
    first = tuple(slice(None) if a == b else slice(0, 1) for a, b in zip(value.shape, start.shape, strict=True))
    return start * 0 + value[first]


def readings(algorithm: Algorithm) -> dict[str, Any]:
    """What an algorithm does with a state when its part changes; eigenvectors never do."""
    on_update = "keep" if algorithm.subspace == "eigen" else algorithm.on_update
    return {"reading": algorithm.off_set_momentum, "on_update": on_update}


def _followed(rule: Rule, old: Units, new: Units, state: RuleState, gradient: Array) -> RuleState:
    if (old.axis, old.view) == (new.axis, new.view) and np.array_equal(old.index, new.index):
        return state
    whole = rule.init(gradient.reshape(new.view))
    stays = (old.axis, old.view) == (new.axis, new.view) and len(np.intersect1d(old.index, new.index)) > 0
    if not stays or not getattr(rule, "by_unit", True) or not all(hasattr(value, "ndim") for value in whole.values()):
        return rule.init(new.project(gradient))
    return {
        key: new.select(old.spread(value, whole[key])) if new.by_unit(whole[key]) else value for key, value in state.items()
    }


def placed(part: Mask | Basis, shape: tuple[int, ...], reading: Reading, like: Array) -> Part:
    """The part beside an array: on its device, and without what is off the set unless the rule is to see zeros there."""
    if isinstance(part, Basis):
        return replace(part, columns=_beside(part.columns, like, like.dtype))
    units = compact(part, shape)
    return Mask(_beside(part.inside, like, None), units) if reading == "decay" else units


@lru_cache(maxsize=64)
def _drawn(
    algorithm: Algorithm,
    kind: Any,  # noqa: ARG001  # two subspaces of one name, added one after the other, are two
    shapes: tuple[tuple[str, tuple[int, ...]], ...],
    period: int,
) -> dict[str, Mask | Basis]:
    return choose_parts(algorithm, dict(shapes), period, {})


def _numpy(gradient: Array) -> Array:
    return gradient if isinstance(gradient, np.ndarray) else np.asarray(gradient.detach().cpu())


def _beside(array: Any, like: Array, dtype: Any) -> Array:
    if isinstance(like, np.ndarray):
        return array
    return namespace(like).asarray(array, device=like.device, dtype=dtype)
