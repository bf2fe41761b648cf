"""``density_schedule`` and ``update_gap_schedule``: a density and an update gap that change during a run (AdaFRUGAL)."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from frugal_theory.config.parts import Count, Part

__all__ = ["DensitySchedule", "UpdateGapSchedule", "changing", "check_changing"]


class DensitySchedule(Part):
    """The density in a straight line from ``algorithm.density`` to ``to``, which it has after ``steps`` steps and then keeps.

    It changes where a period begins, to what the line has there.
    """

    to: Annotated[float, Field(ge=0, lt=1)]
    """The density at the end of the fall."""
    steps: Count
    """Steps of the fall."""


class UpdateGapSchedule(Part):
    """The update gap ``factor`` times as long, up to ``most``, after every evaluation whose loss is not a share of ``enough``
    below that of the evaluation before."""

    factor: Annotated[float, Field(gt=1, allow_inf_nan=False)] = 1.5
    """By which the gap is multiplied when it grows."""
    most: Count = 1000
    """The largest gap, in steps."""
    enough: Annotated[float, Field(ge=0, lt=1)] = 0.005
    """The relative fall of the loss since the last evaluation below which the gap grows."""


def changing(algorithm: Any) -> str | None:
    """Why no theorem speaks of an algorithm whose density or update gap changes, or None: as the end of a sentence."""
    if (line := algorithm.density_schedule) is not None:
        return (
            f"the density goes from {algorithm.density:g} to {line.to:g} in {line.steps} steps (density_schedule), "
            "and theorems speak of one density"
        )
    if algorithm.update_gap_schedule is not None:
        return "evaluations change T (update_gap_schedule), and theorems speak of one T"
    return None


def check_changing(algorithm: Any, basis: bool) -> None:
    """Raise ValueError for schedules that do not go with the other keys. ``basis``: whether the subspace has one."""
    given = [key for key in ("density_schedule", "update_gap_schedule") if getattr(algorithm, key) is not None]
    if not given:
        return
    if basis and algorithm.refresh != "together":
        raise ValueError(f'{given[0]} is given and refresh is "{algorithm.refresh}"; "together" is allowed')
    for key, own in (("density_schedule", {"density", "rank"}), ("update_gap_schedule", {"update_gap"})):
        for i, group in enumerate(algorithm.groups if key in given else ()):
            if said := sorted(own & group.settings.keys()):
                raise ValueError(f"groups[{i}].{said[0]} and {key} are both given; one of them is allowed")
    if algorithm.update_gap_schedule is not None and algorithm.update_gap > algorithm.update_gap_schedule.most:
        raise ValueError(
            f"update_gap is {algorithm.update_gap}, update_gap_schedule.most is {algorithm.update_gap_schedule.most}; "
            "update_gap <= most is allowed"
        )
    if algorithm.density_schedule is None:
        return
    for key in ("rank", "set"):
        if getattr(algorithm, key) is not None:
            raise ValueError(f"{key} and density_schedule are both given; a density is allowed")
    if algorithm.subspace == "eigen":
        raise ValueError('density_schedule needs sets that change: subspace is "eigen", all others are allowed')
    if algorithm.off_set_momentum == "hold" and algorithm.subspace == "blocks":
        raise ValueError(
            'density_schedule changes which blocks are divided, and what off_set_momentum = "hold" keeps of them; '
            '"reset", "decay" are allowed'
        )
    if not 0 < algorithm.density < 1:
        raise ValueError(f"density is {algorithm.density:g} and density_schedule is given; 0 < density < 1 is allowed")
