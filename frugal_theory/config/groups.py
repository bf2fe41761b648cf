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
    rank: Count | None = None
    update_gap: Gap | None = None
    subspace: Annotated[str, NameOf(SUBSPACES)] | None = None
    side: Literal["std", "reverse", "left", "right"] | None = None
    set: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(strict=False)] | None = None
    sampling: Literal["independent", "fixed_size"] | None = None
    order: Literal["random", "ascending", "descending", "mirror", "inward"] | None = None
    blocks: Literal["tensor", "layer"] | None = None
    experts: bool | None = None
    projector: Literal["exact", "randomised"] | None = None
    refresh: Literal["together", "staggered"] | None = None
    state_full: Annotated[Any, TableOf(RULES, "rule", side="state_full")] | None = None
    state_free: Annotated[Any, TableOf(RULES, "rule", side="state_free", default="signsgd")] | None = None
    on_update: Literal["reset", "keep", "project"] | None = None
    off_set_momentum: Literal["reset", "decay", "hold"] | None = None
    weight_decay: NonNegative | None = None
    split_lr_scale: Positive | None = None

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
