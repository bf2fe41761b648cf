"""What an attack may change of an experiment, and the experiments that it makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frugal_theory.algorithm.rules import Sgdm
from frugal_theory.config import Experiment, Quadratic
from frugal_theory.instance import resolved, setting_of
from frugal_theory.problems import build_noise, build_problem
from frugal_theory.theorems import Theorem

__all__ = ["PARTS", "Space"]

Array = NDArray[np.float64]

PARTS = ("spectrum", "start", "noise", "set", "schedule", "beta", "learning_rate")
"""What can be searched; the last three only if asked for. "set": fixed sets and sets drawn anew every T steps, T and ρ;
"schedule": blocks in turn as well, whose weights take the exact engine a hundred times as long."""

DECADES = 4.0
"""Eigenvalues are searched from L·10⁻⁴ to L, the gap from 10⁻⁴ to 10⁴ times σ²/L."""

LONGEST_GAP = 50
"""Update gaps are searched from 1 to this, or to the number of steps."""

_SETS: tuple[dict[str, Any], ...] = (
    {"subspace": "coordinates", "sampling": "independent"},
    {"subspace": "coordinates", "sampling": "fixed_size"},
    {"subspace": "blocks", "order": "random"},
    {"subspace": "coordinates", "set": ()},
)
_SCHEDULE = {"subspace": "blocks", "order": "ascending"}


class Space:
    """The experiments that genes in [0, 1]ⁿ stand for."""

    def __init__(self, experiment: Experiment, theorem: Theorem, free: Sequence[str]) -> None:
        self.experiment, self.theorem = experiment, theorem
        problem = build_problem(experiment)
        self.largest = problem.smoothness
        self.eigenvalues: Array = problem.eigenvalues  # type: ignore[attr-defined]  # the search has seen a quadratic
        self.dimension = experiment.problem.dimension  # type: ignore[union-attr]
        variance = build_noise(experiment).variance(problem)
        self.variance = float(sum(np.sum(value) for value in variance.values()))
        self.sets = _applicable_sets(experiment, theorem, free)
        self.unit = _unit_variance(experiment) if self.variance > 0 else 1.0
        d = self.dimension
        sizes = {
            "spectrum": d if d > 1 else 0,
            "start": d + 1,
            "noise": d if d > 1 and self.variance > 0 else 0,
            "set": 3 + d if self.sets else 0,
            "beta": 1 if isinstance(experiment.algorithm.state_full, Sgdm) else 0,
            "learning_rate": 1,
        }
        self.sizes = {
            part: sizes[part] for part in PARTS if (part in free or (part == "set" and "schedule" in free)) and sizes.get(part)
        }
        self.parts = tuple(self.sizes)
        self.size = sum(self.sizes.values())

    def instance(self, genes: Array) -> Experiment:
        """The experiment of these genes, every number of it spelled out."""
        ends = np.cumsum(list(self.sizes.values()))
        pieces = dict(zip(self.sizes, np.split(np.clip(genes, 0, 1), ends[:-1]), strict=True))
        experiment = self.experiment
        table, noise, algorithm = experiment.problem, experiment.noise, experiment.algorithm
        assert isinstance(table, Quadratic)  # the search has seen to it
        eigenvalues = self.eigenvalues
        if "spectrum" in pieces:
            depth = pieces["spectrum"] - pieces["spectrum"].min()
            eigenvalues = self.largest * 10 ** (-DECADES * depth)
            table = table.of(_numbers(eigenvalues))
        if "start" in pieces:
            scale = 10 ** (DECADES * (2 * pieces["start"][0] - 1))
            gap = scale * (self.variance / self.largest if self.variance else 1.0)
            with np.errstate(divide="ignore", invalid="ignore"):
                start = np.sqrt(2 * gap * _shares(pieces["start"][1:]) / eigenvalues)
            table = table.model_copy(update={"start": _numbers(np.nan_to_num(start, posinf=0.0))})
        if "noise" in pieces:
            sigma = np.sqrt(self.variance / self.unit * _shares(pieces["noise"]))
            noise = noise.model_copy(update={"sigma": _numbers(sigma)})
        if "set" in pieces:
            kind, density, gap_gene, *member = pieces["set"]
            chosen = self.sets[min(int(kind * len(self.sets)), len(self.sets) - 1)]
            period = round((min(LONGEST_GAP, experiment.simulation.steps) + 0.0) ** float(gap_gene))
            most = 1 - 1 / self.dimension if chosen["subspace"] == "blocks" else 1.0  # all blocks at once never change
            update: dict[str, Any] = {"set": None, **chosen, "density": most * float(density), "update_gap": max(1, period)}
            if chosen.get("set") is not None:
                update["set"] = tuple(int(j) for j in np.flatnonzero(np.array(member) > 0.5))
            algorithm = algorithm.model_copy(update=update)
            table = table.model_copy(update={"blocks": self.dimension if chosen["subspace"] == "blocks" else None})
        if "beta" in pieces:
            beta = 1 - 10 ** (-3 * float(pieces["beta"][0]))
            algorithm = algorithm.model_copy(update={"state_full": Sgdm(beta=beta)})
        found = experiment.model_copy(
            update={
                "name": f"{experiment.name}-{self.theorem.name}-worst",
                "problem": table.model_copy(update={"rotated": False}),
                "noise": noise,
                "algorithm": algorithm,
                "verify": experiment.verify.model_copy(update={"theorems": (self.theorem.name,)}),
                "sweep": {},
                "cases": [],
            }
        )
        if "learning_rate" in pieces:
            fraction = 0.01 + 0.98 * float(pieces["learning_rate"][0])
            step = self.theorem.largest_step(setting_of(found))[0] * fraction / algorithm.split_lr_scale
            found = found.model_copy(update={"algorithm": algorithm.model_copy(update={"learning_rate": step})})
        return resolved(found)


def _shares(genes: Array) -> Array:
    """Genes to non-negative shares with sum 1; those below a third are zero, so that corners are easily reached."""
    weights = np.maximum(genes - 1 / 3, 0) ** 2
    total = weights.sum()
    return weights / total if total > 0 else np.full(len(genes), 1 / len(genes))


def _numbers(values: Array) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _unit_variance(experiment: Experiment) -> float:
    """The variance of one coordinate whose ``sigma`` is 1."""
    one = experiment.model_copy(update={"noise": experiment.noise.model_copy(update={"sigma": 1.0})})
    variance = build_noise(one).variance(build_problem(one))
    return float(next(iter(variance.values())).flat[0])


def _applicable_sets(experiment: Experiment, theorem: Theorem, free: Sequence[str]) -> list[dict[str, Any]]:
    """The kinds of sets that the theorem speaks of; none where only an empty or a full set will do."""
    found = []
    assert experiment.problem is not None
    for kind in [*(_SETS if "set" in free else ()), *([_SCHEDULE] if "schedule" in free else ())]:
        update = {"set": None, "density": 0.5, "update_gap": 1, **kind}
        if kind.get("set") is not None:
            update["set"] = (0,)
        blocks = experiment.problem.dimension if kind["subspace"] == "blocks" else None
        if blocks == 1:
            continue
        instance = experiment.model_copy(
            update={
                "algorithm": experiment.algorithm.model_copy(update=update),
                "problem": experiment.problem.model_copy(update={"blocks": blocks}),
            }
        )
        settings = [instance, _with_gap(instance, 2)]
        if any(theorem.covers(setting_of(setting)) is None for setting in settings):
            found.append(kind)
    return found


def _with_gap(experiment: Experiment, gap: int) -> Experiment:
    return experiment.model_copy(update={"algorithm": experiment.algorithm.model_copy(update={"update_gap": gap})})
