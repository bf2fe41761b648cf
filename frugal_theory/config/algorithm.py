"""``[algorithm]``: what both engines need to run Algorithm 1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, cast

from pydantic import Field, field_validator, model_validator

from frugal_theory.config.fields import NameOf, TableOf
from frugal_theory.config.parts import Count, NonNegative, Part, Positive, Probability, quoted
from frugal_theory.config.registry import RULES, SUBSPACES

__all__ = ["Algorithm", "FractionOfAdmissible", "StateFree", "StateFull", "default_rule", "rule_table"]

StateFull = Annotated[Any, TableOf(RULES, "rule", side="state_full")]
"""A rule of the subspace, as its table: ``{ rule = "adamw", betas = [0.9, 0.999] }``."""

StateFree = Annotated[Any, TableOf(RULES, "rule", side="state_free", default="signsgd")]
"""A rule of the residual, as its table: ``{ rule = "signsgd", lr_scale = 1.0 }``."""


class FractionOfAdmissible(Part):
    """A learning rate given as a share of the largest step that the experiment's theorems admit."""

    fraction_of_admissible: Annotated[float, Field(gt=0, allow_inf_nan=False)]


def default_rule(rule: str) -> Callable[[], Part]:
    """What makes the table of a rule when a default is needed: not now, for rules stand above the configuration."""

    def made() -> Part:
        return cast(Part, RULES[rule].table())

    return made


def rule_table(value: object) -> object:
    """``"adamw"`` is short for ``{ rule = "adamw" }``."""
    return {"rule": value} if isinstance(value, str) else value


class Algorithm(Part):
    """Algorithm 1 of FRUGAL (arXiv 2411.07837): everything both engines need to run it."""

    learning_rate: Positive | FractionOfAdmissible = 1e-3
    density: Probability = 0.25
    update_gap: Count = 200
    subspace: Annotated[str, NameOf(SUBSPACES)] = "blocks"
    set: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(strict=False)] | None = None
    sampling: Literal["independent", "fixed_size"] = "independent"
    order: Literal["random", "ascending", "descending", "mirror"] = "random"
    projector: Literal["exact", "randomised"] = "exact"
    state_full: StateFull = Field(default_factory=default_rule("adamw"))
    state_free: StateFree = Field(default_factory=default_rule("signsgd"))
    on_update: Literal["reset", "keep", "project"] = "reset"
    off_set_momentum: Literal["reset", "decay", "hold"] = "reset"
    weight_decay: NonNegative = 0.0
    embeddings: Literal["state_full", "split", "state_free"] = "state_full"
    norms: Literal["state_full", "split", "state_free"] = "state_full"
    output: Literal["state_full", "split", "state_free"] = "state_full"
    seed: Annotated[int, Field(ge=0)] | None = None

    _tables = field_validator("state_full", "state_free", mode="before")(rule_table)

    @model_validator(mode="after")
    def _combinations(self) -> Algorithm:
        if self.set is not None:
            if self.subspace != "coordinates":
                raise ValueError(
                    f'set = [...] is a set of coordinates; subspace is "{self.subspace}", "coordinates" is allowed'
                )
            if len(set(self.set)) != len(self.set):
                raise ValueError("set names a coordinate twice")
        if self.projector != "exact" and self.subspace != "svd":
            raise ValueError(
                f'projector = "{self.projector}" is a way to singular vectors: subspace is "{self.subspace}", "svd" is allowed'
            )
        if self.off_set_momentum != "reset" and SUBSPACES[self.subspace].basis:
            raise ValueError(
                f'off_set_momentum = "{self.off_set_momentum}" needs units that leave and enter: '
                f'subspace is "{self.subspace}", {quoted(s for s, kind in SUBSPACES.items() if not kind.basis)} are allowed'
            )
        if self.off_set_momentum == "hold" and not getattr(self.state_full, "by_unit", True):
            raise ValueError(
                f'off_set_momentum = "hold" needs a state by unit; that of state_full.rule = "{self.state_full.rule}" is none; '
                '"reset", "decay" are allowed'
            )
        return self
