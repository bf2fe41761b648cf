"""Rules that hold rules: an optimizer of the family is a value, such as ``Split(columns, AdamW(), SignSgd())``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from frugal_theory.algorithm.parts import Basis, Part, Reading
from frugal_theory.algorithm.rules.rule import Array, Rule, Seen, namespace
from frugal_theory.algorithm.storages import STORAGES

__all__ = ["Each", "Split", "Stored", "each_expert"]

State = dict[str, Any]


@dataclass(frozen=True)
class Split:
    """One rule on a part, another on the rest (FRUGAL, Algorithm 1)::

        g_full = P(g)
        g_free = g − P⁻¹(g_full)
        u      = P⁻¹(full(g_full)) + free(g_free)

    The state-free rule sees what the state-full side made of its part. State: "full" and "free", those of the two rules.
    """

    part: Part
    full: Rule
    free: Rule
    reading: Reading = "reset"
    vectors: ClassVar[tuple[str, ...]] = ()
    squares: ClassVar[tuple[str, ...]] = ()
    elementwise: ClassVar[bool] = False

    def init(self, like: Array) -> State:
        """Both rules at their start."""
        return {"full": self.full.init(self.part.covered(like, self.reading)), "free": self.free.init(like)}

    def update(self, state: State, g: Array, seen: Seen | None = None) -> tuple[Array, State]:
        """The update of the formula above, and both new states."""
        part, reading = self.part, self.reading
        residual = part.residual(g)
        if part.empty:
            update, free = self.free.update(state["free"], residual, seen)
            return update, {**state, "free": free}
        inside, kept = part.project(g), state["full"]
        full_update, new = self.full.update(part.see(kept, reading), inside)
        shown = Seen(part.shown(inside), part.shown(full_update), self._correction(new, inside))
        free_update, free = self.free.update(state["free"], residual, shown)
        return part.lift(full_update) + free_update, {"full": part.keep(kept, new, reading), "free": free}

    def _correction(self, new: State, inside: Array) -> Array | float:
        """The bias correction in the state-full update, where that is one number: on a basis."""
        found = getattr(self.full, "correction", None)
        if found is None or not isinstance(self.part, Basis) or getattr(self.free, "elementwise", True):
            return 1.0
        return found(new, inside)[(slice(0, 1),) * inside.ndim]


@dataclass(frozen=True)
class Stored:
    """A rule whose moments are stored in another form between its steps: encoded after a step, decoded before the next.

    Moments are what ``vectors`` and ``squares`` of the rule name; counts, norms and factors stay as they are. Their stored
    form does not turn with a basis (``on_update = "project"`` leaves it as it is).
    """

    rule: Rule
    storage: str = "float16"
    vectors: ClassVar[tuple[str, ...]] = ()
    squares: ClassVar[tuple[str, ...]] = ()
    elementwise: ClassVar[bool] = False  # a stored form may share a scale among coordinates

    def init(self, like: Array) -> State:
        """The rule at its start, encoded."""
        return self._encoded(self.rule.init(like))

    def update(self, state: State, g: Array, seen: Seen | None = None) -> tuple[Array, State]:
        """The rule's update with its state decoded."""
        decode = STORAGES[self.storage].decode
        decoded = {key: decode(value, g) if key in self._moments else value for key, value in state.items()}
        update, new = self.rule.update(decoded, g) if seen is None else self.rule.update(decoded, g, seen)
        return update, self._encoded(new)

    def _encoded(self, state: State) -> State:
        encode = STORAGES[self.storage].encode
        return {key: encode(value) if key in self._moments else value for key, value in state.items()}

    @property
    def _moments(self) -> tuple[str, ...]:
        return (*self.rule.vectors, *self.rule.squares)


@dataclass(frozen=True)
class Each:
    """A rule on every matrix of an array of three dimensions by itself; on others it is the rule.

    State: the matrices' states, every entry with the experts' axis in front. For rules that look at more than one coordinate.
    """

    rule: Rule
    elementwise: ClassVar[bool] = False

    @property
    def vectors(self) -> tuple[str, ...]:
        """The rule's."""
        return self.rule.vectors

    @property
    def squares(self) -> tuple[str, ...]:
        """The rule's."""
        return self.rule.squares

    @property
    def counts(self) -> tuple[str, ...]:
        """The rule's."""
        return getattr(self.rule, "counts", ())

    @property
    def by_unit(self) -> bool:
        """The rule's."""
        return bool(getattr(self.rule, "by_unit", True))

    @property
    def correction(self) -> Any:
        """The rule's, if it has one."""
        return self.rule.correction  # type: ignore[attr-defined]

    def init(self, like: Array) -> State:
        """The rule at its start, for every matrix."""
        return self.rule.init(like) if like.ndim != 3 else _stacked(like, [self.rule.init(own) for own in like])

    def update(self, state: State, g: Array, seen: Seen | None = None) -> tuple[Array, State]:
        """The rule's update of every matrix."""
        if g.ndim != 3:
            return self.rule.update(state, g, seen)
        updates, after = [], []
        for e, own in enumerate(g):
            u, new = self.rule.update({key: value[e] for key, value in state.items()}, own, _of_expert(seen, e))
            updates.append(u)
            after.append(new)
        return namespace(g).stack(updates), _stacked(g, after)


def each_expert(rule: Rule, experts: bool) -> Rule:
    """A rule under the option ``experts``: one that looks at more than one coordinate must not look beyond its matrix."""
    return Each(rule) if experts and not getattr(rule, "elementwise", True) else rule


def _stacked(like: Array, states: list[State]) -> State:
    return {key: namespace(like).stack([state[key] for state in states]) for key in states[0]}


def _of_expert(seen: Seen | None, e: int) -> Seen | None:
    """What a state-free rule may see of one expert; the correction is the same for all, as their bases are of one age."""
    if seen is None:
        return None
    correction = seen.correction[0] if getattr(seen.correction, "ndim", 0) == 3 else seen.correction  # type: ignore[index]
    return Seen(seen.gradient[e], seen.update[e], correction)
