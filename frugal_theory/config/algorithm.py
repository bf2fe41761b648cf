"""``[algorithm]``: what both engines need to run Algorithm 1."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, cast

from pydantic import Field, ValidationError, field_validator, model_serializer, model_validator

from frugal_theory.config.changing import DensitySchedule, UpdateGapSchedule, check_changing
from frugal_theory.config.experts import check_experts
from frugal_theory.config.fields import NameOf, TableOf
from frugal_theory.config.groups import Group, rule_table
from frugal_theory.config.parts import Count, Gap, NonNegative, Part, Positive, Probability, quoted
from frugal_theory.config.registry import RULES, SUBSPACES, SYSTEMS
from frugal_theory.config.systems import with_defaults

__all__ = ["Algorithm", "FractionOfAdmissible", "StateFree", "StateFull", "Treatment", "default_rule", "rule_table"]

StateFull = Annotated[Any, TableOf(RULES, "rule", side="state_full")]
"""A rule of the subspace, as its table: ``{ rule = "adamw", betas = [0.9, 0.999] }``."""

StateFree = Annotated[Any, TableOf(RULES, "rule", side="state_free", default="signsgd")]
"""A rule of the residual, as its table: ``{ rule = "signsgd", lr_scale = 1.0 }``."""


Treatment = Annotated[Any, TableOf(RULES, "rule", side="state_full", words=("state_full", "split", "state_free"))]
"""What becomes of parameters of one role: split, state-full or state-free as a whole, or the table of a rule of their own."""


class FractionOfAdmissible(Part):
    """A learning rate given as a share of the largest step that the experiment's theorems admit."""

    fraction_of_admissible: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    """The share; at most 1 is where the theorems speak."""


def default_rule(rule: str) -> Callable[[], Part]:
    """What makes the table of a rule when a default is needed: not now, for rules stand above the configuration."""

    def made() -> Part:
        return cast(Part, RULES[rule].table())

    return made


class Algorithm(Part):
    """Algorithm 1 of FRUGAL (arXiv 2411.07837): everything both engines need to run it.

    ``system`` names a setting of the other keys (:mod:`frugal_theory.algorithm.systems`); a key given beside it overrides the
    system's, if the system accepts it. ``rank``, for bases, stands instead of the density. ``side``: where a basis acts on an
    m×n matrix: "std" from the left if m < n and from the right if m ≥ n, "reverse" the other way round. ``split_lr_scale``: a
    factor on the learning rate of the split parameters, and not on their decay. ``refresh``: whether the bases of a model are
    refreshed in one step of a period ("together"), or each at a step of its own ("staggered"). ``blocks``: a block is a tensor,
    or a layer (what the name says up to and including its first number). ``experts``: whether a parameter of three dimensions,
    E×m×n, is E matrices that each choose by themselves; others are as without it. ``density_schedule`` and
    ``update_gap_schedule``: how the two change during a run (:mod:`frugal_theory.config.changing`). ``biases``, ``norms``,
    ``embeddings`` and ``output`` say what becomes of these parameters of a model: "state_full", "split", "state_free", or a
    state-full rule of their own.
    """

    system: Annotated[str, NameOf(SYSTEMS)] | None = None
    """A named setting of the other keys; see docs/systems.md."""
    learning_rate: Positive | FractionOfAdmissible = 1e-3
    """α, or a share of the largest step that the experiment's theorems admit."""
    density: Probability = 0.25
    """ρ: the share of the space that is state-full."""
    rank: Count | None = None
    """Directions of a basis; stands instead of the density."""
    density_schedule: DensitySchedule | None = None
    """Lets the density fall during the run."""
    update_gap: Gap = 200
    """T: steps between two choices of the subspace."""
    update_gap_schedule: UpdateGapSchedule | None = None
    """Lets the update gap grow during the run."""
    subspace: Annotated[str, NameOf(SUBSPACES)] = "blocks"
    """How the state-full part is chosen."""
    side: Literal["std", "reverse", "left", "right"] = "std"
    """On which side of an m × n matrix a basis acts: "std" is the left if m < n, else the right."""
    set: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(strict=False)] | None = None
    """A fixed set of coordinates, counted from 0."""
    sampling: Literal["independent", "fixed_size"] = "independent"
    """Each coordinate by a draw of its own, or a fixed number of them."""
    order: Literal["random", "ascending", "descending", "mirror", "inward"] = "random"
    """In which order blocks take turns; "random" draws them."""
    blocks: Literal["tensor", "layer"] = "tensor"
    """What a block is: a tensor, or a layer (the name up to and including its first number)."""
    experts: bool = False
    """Whether a parameter of shape E × m × n is E matrices, each with a draw or a basis of its own."""
    projector: Literal["exact", "randomised"] = "exact"
    """Singular vectors exactly, or by a randomised method."""
    refresh: Literal["together", "staggered"] = "together"
    """Whether all bases change in one step of a period, or each in a step of its own."""
    state_full: StateFull = Field(default_factory=default_rule("adamw"))
    """The rule of the subspace; a text is short for ``{ rule = "…" }``."""
    state_free: StateFree = Field(default_factory=default_rule("signsgd"))
    """The rule of the rest; a text is short for ``{ rule = "…" }``."""
    on_update: Literal["reset", "keep", "project"] = "reset"
    """What becomes of the state when the subspace changes: thrown away, kept as it is, or projected on the new basis."""
    off_set_momentum: Literal["reset", "decay", "hold"] = "reset"
    """What becomes of the momentum of units that leave: thrown away, decayed, or held until they return."""
    weight_decay: NonNegative = 0.0
    """λ of decoupled weight decay, per step and learning rate."""
    split_lr_scale: Positive = 1.0
    """A factor on the learning rate of split parameters, not on their decay."""
    embeddings: Treatment = "state_full"
    """What becomes of embeddings: state-full, split like matrices, state-free, or a rule of their own."""
    norms: Treatment = "state_full"
    """What becomes of the weights of norms, likewise."""
    biases: Treatment = "state_full"
    """What becomes of biases, likewise."""
    output: Treatment = "state_full"
    """What becomes of the output head, likewise."""
    groups: Annotated[tuple[Group, ...], Field(strict=False)] = ()
    """Options for parameters whose names a pattern is found in; the first that matches counts."""
    unmatched: Literal["default", "error"] = "default"
    """What to do with a parameter that no group matches."""
    seed: Annotated[int, Field(ge=0)] | None = None
    """The seed of the selection; the experiment's by default."""

    _tables = field_validator("state_full", "state_free", mode="before")(rule_table)

    @model_validator(mode="wrap")
    @classmethod
    def _system(cls, given: Any, made: Any) -> Algorithm:
        """The system's keys below those that are given; what counts as set, in a sweep, are the latter."""
        if not isinstance(given, Mapping):
            return cast(Algorithm, made(given))
        if given.get("rank") is not None and given.get("density") is not None:
            raise ValueError(f"rank = {given['rank']} and density = {given['density']} are both given; one of them is allowed")
        if not isinstance(given.get("system"), str) or given["system"] not in SYSTEMS:
            return cast(Algorithm, made(given))
        algorithm: Algorithm = made(with_defaults(SYSTEMS[given["system"]], given))
        object.__setattr__(algorithm, "__pydantic_fields_set__", {key for key in given if key in cls.model_fields})
        return algorithm

    @model_serializer(mode="wrap")
    def _without_density(self, dumped: Any) -> dict[str, Any]:
        """A rank stands instead of the density."""
        table: dict[str, Any] = dumped(self)
        return table if self.rank is None else {key: value for key, value in table.items() if key != "density"}

    @model_validator(mode="after")
    def _combinations(self) -> Algorithm:
        if self.set is not None:
            if self.subspace != "coordinates":
                raise ValueError(
                    f'set = [...] is a set of coordinates; subspace is "{self.subspace}"; "coordinates" is allowed'
                )
            if len(set(self.set)) != len(self.set):
                raise ValueError("set names a coordinate twice")
        if self.projector != "exact" and self.subspace != "svd":
            raise ValueError(
                f'projector = "{self.projector}" is a way to singular vectors: subspace is "{self.subspace}"; "svd" is allowed'
            )
        if self.refresh != "together" and (self.subspace == "eigen" or not SUBSPACES[self.subspace].basis):
            raise ValueError(
                f'refresh = "{self.refresh}" spreads the refreshes of bases over a period; subspace is "{self.subspace}"; '
                f"{quoted(s for s, kind in SUBSPACES.items() if kind.basis and s != 'eigen')} are allowed"
            )
        if self.rank is not None and not SUBSPACES[self.subspace].basis:
            raise ValueError(
                f'rank = {self.rank} counts the directions of a basis; subspace is "{self.subspace}"; '
                f"{quoted(s for s, kind in SUBSPACES.items() if kind.basis)} are allowed; others have a density"
            )
        if self.off_set_momentum != "reset" and SUBSPACES[self.subspace].basis:
            raise ValueError(
                f'off_set_momentum = "{self.off_set_momentum}" needs units that leave and enter: '
                f'subspace is "{self.subspace}"; {quoted(s for s, kind in SUBSPACES.items() if not kind.basis)} are allowed'
            )
        if self.off_set_momentum == "hold" and not getattr(self.state_full, "by_unit", True):
            raise ValueError(
                f'off_set_momentum = "hold" needs a state by unit; that of state_full.rule = "{self.state_full.rule}" is none; '
                '"reset", "decay" are allowed'
            )
        check_experts(self)
        check_changing(self, SUBSPACES[self.subspace].basis)
        schedules = ("density_schedule", "update_gap_schedule")
        whole = ("system", "groups", "unmatched", *schedules, "rank" if self.rank is None else "density")
        own = {name: getattr(self, name) for name in type(self).model_fields if name not in whole}
        for i, group in enumerate(self.groups):
            settings = {key: value for key, value in group.settings.items() if key in type(self).model_fields}
            instead = {"rank", "density"} & settings.keys()
            kept = {key: value for key, value in own.items() if not (instead and key in ("rank", "density"))}
            kept["experts"] = self.experts and group.split in (True, None)
            try:
                Algorithm.model_validate({**kept, **settings})
            except ValidationError as error:
                raise ValueError(f"groups[{i}]: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from None
        return self
