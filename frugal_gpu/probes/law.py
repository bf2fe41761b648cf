"""The law of the momentum set of an optimizer that treats some parameters as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from frugal_gpu.optim.subspaces import seen_shape
from frugal_theory.algorithm.run_lengths import run_lengths
from frugal_theory.algorithm.subspaces import matrix_of
from frugal_theory.config import Algorithm
from frugal_theory.config.changing import changing

__all__ = ["law_of", "off_the_law"]


def law_of(algorithm: Algorithm, groups: Iterable[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The law's name and every parameter's share, one number each, from the optimizer's groups; None where it is unknown.

    Parameters that are split by the subspace follow the algorithm, experts each by itself; the others are always in the set, or
    never. Unknown is a selection that depends on the noise, one that follows a schedule, or one whose share differs inside a
    parameter.
    """
    split: dict[str, tuple[int, ...]] = {}
    whole: dict[str, float] = {}
    for group in groups:
        if not {"split", "param_names"} <= group.keys():  # the optimizer is another
            return None
        for name, parameter in zip(group["param_names"], group["params"], strict=True):
            if group["split"] is True:
                shape = matrix_of(tuple(parameter.shape), bool(group.get("experts", False)))
                split[name] = seen_shape(shape)  # as the optimizer sees it
            else:
                whole[name] = float(group["split"] == "state_full")
    if not split:
        return {"law": "fixed", "share": whole}
    runs = run_lengths(algorithm, split)
    if runs is None or runs.law == "scheduled":
        return None
    shares = {name: np.unique(np.asarray(share)) for name, share in runs.share.items()}
    if any(len(share) != 1 for share in shares.values()):
        return None
    return {"law": runs.law, "share": {**{name: float(share[0]) for name, share in shares.items()}, **whole}}


def off_the_law(algorithm: Algorithm) -> str | None:
    """Why the run is not that of one algorithm with one learning rate, as the theorems have it; None if it is."""
    if why := changing(algorithm):
        return why
    if algorithm.groups:
        return "algorithm.groups gives some parameters settings of their own, and theorems speak of one algorithm"
    if algorithm.split_lr_scale != 1:
        return f"split parameters have another learning rate than the others (split_lr_scale = {algorithm.split_lr_scale:g})"
    roles = ("embeddings", "norms", "biases", "output")
    own = [role for role in roles if getattr(algorithm, role) not in ("state_full", "split", "state_free")]
    if own:
        return f"algorithm.{own[0]} has a rule of its own, and theorems speak of one algorithm"
    return None
