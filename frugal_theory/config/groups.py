"""``[[algorithm.groups]]``: options for the parameters of a model whose names a pattern is found in."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from frugal_theory.config.fields import NameOf, TableOf
from frugal_theory.config.parts import Count, Gap, NonNegative, Part, Positive, Probability
from frugal_theory.config.registry import RULES, SUBSPACES

__all__ = ["Group", "rule_table"]


def rule_table(value: object) -> object:
    """``"adamw"`` is short for ``{ rule = "adamw" }``."""
    return {"rule": value} if isinstance(value, str) else value


class Group(Part):
    """What the parameters get that ``pattern``, a regular expression, is found in the name of; the first group that matches.

    What is left out is as ``[algorithm]`` has it, and ``split`` (true, "state_full", "state_free") as the parameter's kind has
    it. ``lr_scale`` is a factor of the learning rate.
    """

    pattern: Annotated[str, Field(min_length=1)]
    """A regular expression, searched in the parameter's name."""
    split: Literal[True, "state_full", "state_free"] | None = None
    """Split, or state-full or state-free as a whole; by default as the parameter's kind has it."""
    lr_scale: NonNegative | None = None
    """A factor on the learning rate."""
    density: Probability | None = None
    """ρ: the share of the space that is state-full."""
    rank: Count | None = None
    """Directions of a basis; stands instead of the density."""
    update_gap: Gap | None = None
    """T: steps between two choices of the subspace."""
    subspace: Annotated[str, NameOf(SUBSPACES)] | None = None
    """How the state-full part is chosen."""
    side: Literal["std", "reverse", "left", "right"] | None = None
    """On which side of an m × n matrix a basis acts: "std" is the left if m < n, else the right."""
    set: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(strict=False)] | None = None
    """A fixed set of coordinates, counted from 0."""
    sampling: Literal["independent", "fixed_size"] | None = None
    """Each coordinate by a draw of its own, or a fixed number of them."""
    order: Literal["random", "ascending", "descending", "mirror", "inward"] | None = None
    """In which order blocks take turns; "random" draws them."""
    blocks: Literal["tensor", "layer"] | None = None
    """What a block is: a tensor, or a layer."""
    experts: bool | None = None
    """Whether a parameter of shape E × m × n is E matrices, each with a draw or a basis of its own."""
    projector: Literal["exact", "randomised"] | None = None
    """Singular vectors exactly, or by a randomised method."""
    refresh: Literal["together", "staggered"] | None = None
    """Whether all bases change in one step of a period, or each in a step of its own."""
    state_full: Annotated[Any, TableOf(RULES, "rule", side="state_full")] | None = None
    """The rule of the subspace; a text is short for ``{ rule = "…" }``."""
    state_free: Annotated[Any, TableOf(RULES, "rule", side="state_free", default="signsgd")] | None = None
    """The rule of the rest; a text is short for ``{ rule = "…" }``."""
    on_update: Literal["reset", "keep", "project"] | None = None
    """What becomes of the state when the subspace changes: thrown away, kept as it is, or projected on the new basis."""
    off_set_momentum: Literal["reset", "decay", "hold"] | None = None
    """What becomes of the momentum of units that leave: thrown away, decayed, or held until they return."""
    weight_decay: NonNegative | None = None
    """λ of decoupled weight decay, per step and learning rate."""
    split_lr_scale: Positive | None = None
    """A factor on the learning rate of split parameters, not on their decay."""

    _tables = field_validator("state_full", "state_free", mode="before")(rule_table)

    @field_validator("pattern")
    @classmethod
    def _is_a_regular_expression(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f'"{pattern}" is not a regular expression: {error}') from None
        return pattern

    @property
    def settings(self) -> dict[str, Any]:
        """The options that are given."""
        given = {name: getattr(self, name) for name in type(self).model_fields if name != "pattern"}
        return {name: value for name, value in given.items() if value is not None}
