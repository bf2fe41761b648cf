"""Memory of training, counted from shapes alone: weights, gradients and optimizer state of FRUGAL and its neighbours.

What counts as state is what :class:`frugal_gpu.optim.Frugal` keeps: a rule's statistics for the state-full part, one
step count a unit where units enter one by one (AdamW on coordinates, columns and rows), and bases. Weights, gradients
and state are float32; activations depend on batch and length and are left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from frugal_gpu.optim.backends import InPlace, accelerated
from frugal_theory.algorithm.rules import AdamW, Nothing, rule_of
from frugal_theory.algorithm.selection import budget
from frugal_theory.config import Algorithm, Experiment
from frugal_theory.config.load import ExperimentError
from frugal_theory.config.registry import SUBSPACES
from frugal_theory.studies.figures import bars
from frugal_theory.studies.study import Answer, Run

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["STUDY", "Memory", "MemoryStudy", "memory_of", "memory_table", "state_bytes_held", "unit_of"]

FLOAT32 = 4

ALL_STATE_FULL = {"density": 1.0, "embeddings": "state_full", "norms": "state_full", "output": "state_full", "set": None}
INDEX = 4
"""Bytes of an index into coordinates, columns or rows, kept for a period."""


@dataclass(frozen=True)
class Memory:
    """Bytes of one method. ``selection`` is the index of the units in the set, kept beside the state."""

    method: str
    parameters: float
    gradients: float
    state: float
    selection: float = 0.0

    @property
    def total(self) -> float:
        """All of it, without activations."""
        return self.parameters + self.gradients + self.state + self.selection


def memory_table(experiment: Experiment) -> list[Memory]:
    """AdamW, GaLore and BAdam at the experiment's density, and the experiment's own algorithm, on its model.

    Raises :class:`ExperimentError` without a [model] table.
    """
    from frugal_gpu.model.llama import meta_model, model_shape

    if experiment.model is None:
        raise ExperimentError('model: is missing; frugal-gpu needs a [model] table, for example preset = "llama-tiny"')
    model, own = meta_model(model_shape(experiment.model)), experiment.algorithm
    adamw = {"state_full": AdamW(), "state_free": Nothing(), "off_set_momentum": "reset", "set": None}
    methods = {
        "AdamW": own.model_copy(update={**adamw, **ALL_STATE_FULL}),
        f"GaLore, density {own.density:g}": own.model_copy(update={**adamw, "subspace": "svd"}),
        f"BAdam, density {own.density:g}": own.model_copy(update={**adamw, "subspace": "blocks"}),
        f"FRUGAL, {_describe(own)}": own,
    }
    return [memory_of(model, algorithm, name) for name, algorithm in methods.items()]


def memory_of(model: nn.Module, algorithm: Algorithm, method: str = "FRUGAL") -> Memory:
    """Bytes of one algorithm on a model, which may be on the meta device.

    Blocks and independent coordinates are drawn, so theirs is the expectation; everything else is exact. With
    "decay" and "hold" the state is that of a run in which every unit has been in the set.
    """
    size = sum(parameter.numel() for parameter in model.parameters())
    state = selection = idle = 0.0
    for parameter, split in _treatments(model, algorithm):
        if split == "state_full":
            state += _statistics(_rule(algorithm)) * parameter.numel()
        elif split is True:
            state += _state_numbers(tuple(parameter.shape), algorithm)
            selection += _indices(tuple(parameter.shape), algorithm)
            idle += (1 - algorithm.density) * parameter.numel()
    frozen = idle if algorithm.subspace == "blocks" and algorithm.state_free.rule == "none" else 0.0
    return Memory(method, FLOAT32 * size, FLOAT32 * (size - frozen), FLOAT32 * state, INDEX * selection)


def state_bytes_held(optimizer: torch.optim.Optimizer) -> int:
    """Bytes of every tensor in an optimizer's state, as measured."""
    return sum(
        value.numel() * value.element_size()
        for state in optimizer.state.values()
        for value in state.values()
        if isinstance(value, torch.Tensor)
    )


def _treatments(model: nn.Module, algorithm: Algorithm) -> Iterator[tuple[nn.Parameter, bool | str]]:
    """Every parameter with what the optimizer does with it: True (split), "state_full" or "state_free"."""
    from frugal_gpu.optim.groups import model_groups

    for group in model_groups(model, algorithm):
        for _, parameter in group["params"]:
            yield parameter, group["split"]


def _rule(algorithm: Algorithm) -> InPlace:
    found = accelerated(rule_of(algorithm.state_full))
    assert found is not None
    return found


def _statistics(rule: InPlace) -> int:
    """Statistics that a state-full rule keeps for every number it updates."""
    return len(rule.vectors + rule.squares)


def _state_numbers(shape: tuple[int, ...], algorithm: Algorithm) -> float:
    """How many numbers the state of one split parameter holds."""
    size, density, kind = math.prod(shape), algorithm.density, algorithm.subspace
    statistics = _statistics(_rule(algorithm))
    if density == 0:
        return 0.0
    if algorithm.off_set_momentum == "decay" or density == 1 or (len(shape) == 1 and SUBSPACES[kind].matrix):
        return statistics * size
    if SUBSPACES[kind].basis:
        return _basis_numbers(shape, statistics, density)
    hold = algorithm.off_set_momentum == "hold"
    if kind == "blocks":
        return statistics * size * (1 if hold else density)
    units, inside = _units(shape, algorithm)
    kept = units if hold else inside
    counts = kept if _rule(algorithm).counts else 0
    return statistics * kept * size / units + counts


def _basis_numbers(shape: tuple[int, ...], statistics: int, density: float) -> float:
    """Statistics of r directions times the longer side, and the r directions themselves."""
    shorter = min(shape)
    rank = budget(density, shorter)
    if rank == shorter:
        return float(statistics * rank * math.prod(shape) / shorter)
    return float(statistics * rank * math.prod(shape) / shorter + shorter * rank)


def _units(shape: tuple[int, ...], algorithm: Algorithm) -> tuple[int, float]:
    """Number of units of a parameter, and how many are in the set."""
    size, kind = math.prod(shape), algorithm.subspace
    units = {"columns": size // shape[0], "rows": shape[0]}.get(kind, size)
    if kind == "coordinates" and algorithm.sampling == "independent":
        return units, algorithm.density * units
    return units, budget(algorithm.density, units)


def _indices(shape: tuple[int, ...], algorithm: Algorithm) -> float:
    kind = algorithm.subspace
    by_unit = kind in ("coordinates", "randk") or (kind in ("columns", "rows") and len(shape) > 1)
    return _units(shape, algorithm)[1] if by_unit and 0 < algorithm.density < 1 else 0.0


def _describe(algorithm: Algorithm) -> str:
    full, free = algorithm.state_full.rule, algorithm.state_free.rule
    return f"{full} on {algorithm.subspace}, {free} off them, density {algorithm.density:g}"


class MemoryStudy:
    """A row a method; ``parameters``, ``gradients``, ``state``, ``selection`` and ``total`` in bytes."""

    name = "memory"
    question = "Does the algorithm train in less memory than AdamW?"
    by_cell = False

    def measure(self, experiment: Experiment, run: Run) -> pd.DataFrame:  # noqa: ARG002
        """The experiment's algorithm beside its neighbours, on its model. Raises ExperimentError without a [model] table."""
        import pandas as pd

        return pd.DataFrame([{**asdict(row), "total": row.total} for row in memory_table(experiment)])

    def draw(self, table: pd.DataFrame) -> dict[str, Any]:
        """A bar a method, of its parts."""
        unit, size = unit_of(table)
        shown = table.assign(
            weights=table["parameters"] / size, gradients=table["gradients"] / size, state=table["state"] / size
        )
        title = "Memory of training, without activations"
        return {"memory": bars(title, f"{unit}, float32", shown, ["weights", "gradients", "state"], left=330)}

    def answer(self, table: pd.DataFrame) -> Answer:
        """Yes if it does; by how much the state alone is smaller."""
        adamw, own = table.iloc[0], table.iloc[-1]
        unit, size = unit_of(table)
        sentence = (
            f"{own['method']} takes {own['total'] / size:,.2f} {unit} where AdamW takes {adamw['total'] / size:,.2f}, and "
            f"its state {100 * own['state'] / adamw['state']:.0f} % of AdamW's."
        )
        return Answer(sentence, "yes" if own["total"] < adamw["total"] else "no")


def unit_of(table: pd.DataFrame) -> tuple[str, int]:
    """The unit that suits the largest total, and its bytes."""
    return ("GiB", 2**30) if table["total"].max() >= 2**30 else ("MiB", 2**20)


STUDY = MemoryStudy()
