"""``[algorithm]``: what both engines need to run Algorithm 1."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field, field_validator, model_validator

from frugal_theory.config.parts import Count, Decay, NonNegative, Pair, Part, Positive, Probability, quoted

__all__ = [
    "BASIS_SUBSPACES",
    "MATRIX_SUBSPACES",
    "UNIT_SUBSPACES",
    "AdamW",
    "Algorithm",
    "FractionOfAdmissible",
    "Lion",
    "Sgdm",
    "StateFree",
    "StateFull",
    "state_full_tables",
    "subspaces",
]

UNIT_SUBSPACES = ("coordinates", "blocks", "columns", "rows", "randk")
"""Subspaces spanned by coordinates: a unit (coordinate, block, column, row) is in the set or not."""

BASIS_SUBSPACES = ("random", "svd", "eigen")
"""Subspaces spanned by an orthonormal basis that need not be aligned with the coordinates."""

MATRIX_SUBSPACES = ("columns", "rows", "svd")
"""Subspaces that only a matrix has."""


class Sgdm(Part):
    """SGD with momentum, m ← βm + (1−β)g, update m."""

    rule: Literal["sgdm"] = "sgdm"
    beta: Decay = 0.9


class AdamW(Part):
    """Adam with bias correction; its decoupled weight decay is ``algorithm.weight_decay``."""

    rule: Literal["adamw"] = "adamw"
    betas: Pair = (0.9, 0.999)
    eps: Positive = 1e-8


class Lion(Part):
    """Lion: update sign(β₁m + (1−β₁)g), then m ← β₂m + (1−β₂)g."""

    rule: Literal["lion"] = "lion"
    betas: Pair = (0.9, 0.99)


StateFull = Annotated[Sgdm | AdamW | Lion, Field(discriminator="rule")]


class StateFree(Part):
    """The rule of the residual: the gradient, its sign, or nothing; times ``lr_scale``."""

    rule: Literal["sgd", "signsgd", "none"] = "signsgd"
    lr_scale: NonNegative = 1.0


class FractionOfAdmissible(Part):
    """A learning rate given as a share of the largest step that the experiment's theorems admit."""

    fraction_of_admissible: Annotated[float, Field(gt=0, allow_inf_nan=False)]


def _rule_table(value: object) -> object:
    """``"adamw"`` is short for ``{ rule = "adamw" }``."""
    return {"rule": value} if isinstance(value, str) else value


class Algorithm(Part):
    """Algorithm 1 of FRUGAL (arXiv 2411.07837): everything both engines need to run it."""

    learning_rate: Positive | FractionOfAdmissible = 1e-3
    density: Probability = 0.25
    update_gap: Count = 200
    subspace: Literal["coordinates", "blocks", "columns", "rows", "randk", "random", "svd", "eigen"] = "blocks"
    set: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(strict=False)] | None = None
    sampling: Literal["independent", "fixed_size"] = "independent"
    order: Literal["random", "ascending", "descending", "mirror"] = "random"
    state_full: StateFull = AdamW()
    state_free: StateFree = StateFree()
    on_update: Literal["reset", "keep", "project"] = "reset"
    off_set_momentum: Literal["reset", "decay", "hold"] = "reset"
    weight_decay: NonNegative = 0.0
    embeddings: Literal["state_full", "split", "state_free"] = "state_full"
    norms: Literal["state_full", "split", "state_free"] = "state_full"
    output: Literal["state_full", "split", "state_free"] = "state_full"
    seed: Annotated[int, Field(ge=0)] | None = None

    _tables = field_validator("state_full", "state_free", mode="before")(_rule_table)

    @model_validator(mode="after")
    def _combinations(self) -> Algorithm:
        if self.set is not None:
            if self.subspace != "coordinates":
                raise ValueError(
                    f'set = [...] is a set of coordinates; subspace is "{self.subspace}", "coordinates" is allowed'
                )
            if len(set(self.set)) != len(self.set):
                raise ValueError("set names a coordinate twice")
        if self.off_set_momentum != "reset" and self.subspace in BASIS_SUBSPACES:
            raise ValueError(
                f'off_set_momentum = "{self.off_set_momentum}" needs units that leave and enter: '
                f'subspace is "{self.subspace}", {quoted(s for s in subspaces() if s not in BASIS_SUBSPACES)} are allowed'
            )
        return self


def subspaces() -> tuple[str, ...]:
    """Every name that ``algorithm.subspace`` may be, added ones included."""
    return get_args(Algorithm.model_fields["subspace"].annotation)


def state_full_tables() -> dict[str, type[Part]]:
    """Every table that ``algorithm.state_full`` may be, added ones included, by the name of its rule."""
    return {table.model_fields["rule"].default: table for table in get_args(Algorithm.model_fields["state_full"].annotation)}
