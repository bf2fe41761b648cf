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
    """Which of them it is."""
    subspace: Annotated[str, NameOf(SUBSPACES)] = "columns"
    """How the state-full part is chosen."""
    density: Probability = 0.25
    """ρ: the share of the space that is state-full."""
    update_gap: Gap = 200
    """T: steps between two choices of the subspace."""
    state_full: StateFull = Field(default_factory=default_rule("adamw"))
    """The rule of the subspace; a text is short for ``{ rule = "…" }``."""
    state_free: StateFree = Field(default_factory=default_rule("signsgd"))
    """The rule of the rest; a text is short for ``{ rule = "…" }``."""
    on_update: Literal["reset", "keep", "project"] = "reset"
    """What becomes of the state when the subspace changes: thrown away, kept as it is, or projected on the new basis."""
    off_set_momentum: Literal["reset", "decay", "hold"] = "reset"
    """What becomes of the momentum of units that leave: thrown away, decayed, or held until they return."""
    seed: Annotated[int, Field(ge=0)] = 0
    """The seed of the inner selection."""

    elementwise: ClassVar[bool] = False
    by_unit: ClassVar[bool] = False

    _tables = field_validator("state_full", "state_free", mode="before")(rule_table)


def _alternating(table: SplitTable) -> Alternating:
    return optimizer(Algorithm(**{name: getattr(table, name) for name in SplitTable.model_fields if name != "rule"}))


KIND = Kind(SplitTable, _alternating)
