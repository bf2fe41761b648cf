"""A split as a rule: on the subspace or on the rest of another one."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from frugal_theory.algorithm.periods import Alternating, optimizer
from frugal_theory.algorithm.rules.rule import RuleTable
from frugal_theory.config import Algorithm, StateFree, StateFull
from frugal_theory.config.algorithm import default_rule, rule_table
from frugal_theory.config.fields import NameOf
from frugal_theory.config.parts import Gap, Probability
from frugal_theory.config.registry import SUBSPACES, Kind

__all__ = ["SplitTable"]


class SplitTable(RuleTable):
    """``{ rule = "split", subspace = "rows", density = 0.5, state_full = "lion", state_free = "signsgd" }``.

    The keys are those of ``[algorithm]``. Its set is drawn by ``seed`` and the period alone: a rule does not know of which
    parameter it is a part, so parameters of equal shape have equal inner sets. Its own rules see what its own part is made
    of, not what the outer state-full side saw.
    """

    rule: Literal["split"] = "split"
    subspace: Annotated[str, NameOf(SUBSPACES)] = "columns"
    density: Probability = 0.25
    update_gap: Gap = 200
    state_full: StateFull = Field(default_factory=default_rule("adamw"))
    state_free: StateFree = Field(default_factory=default_rule("signsgd"))
    on_update: Literal["reset", "keep", "project"] = "reset"
    off_set_momentum: Literal["reset", "decay", "hold"] = "reset"
    seed: Annotated[int, Field(ge=0)] = 0
    """The seed of the inner selection."""

    elementwise: ClassVar[bool] = False
    by_unit: ClassVar[bool] = False

    _tables = field_validator("state_full", "state_free", mode="before")(rule_table)


def _alternating(table: SplitTable) -> Alternating:
    return optimizer(Algorithm(**{name: getattr(table, name) for name in SplitTable.model_fields if name != "rule"}))


KIND = Kind(SplitTable, _alternating)
