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

from frugal_gpu.optim.backends import accelerated
from frugal_gpu.optim.groups import FLAT
from frugal_gpu.optim.layout import Turning, layout_of
from frugal_theory.algorithm.rules import AdamW, Nothing, rule_of
from frugal_theory.config import Algorithm, Experiment
from frugal_theory.config.load import ExperimentError
from frugal_theory.config.registry import SUBSPACES
from frugal_theory.studies.figures import bars
from frugal_theory.studies.study import Answer, Run

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["STUDY", "Memory", "MemoryStudy", "memory_of", "memory_table", "unit_of"]

FLOAT32 = 4

ALL_STATE_FULL = {
    "density": 1.0,
    "embeddings": "state_full",
    "norms": "state_full",
    "biases": "state_full",
    "output": "state_full",
    "set": None,
}
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
    for parameter, split, rule in _treatments(model, algorithm):
        shape = tuple(parameter.shape)
        if split == "state_full":
            state += _state(algorithm.model_copy(update={"state_full": rule}), False, shape)
        elif split == "state_free":
            state += _residual(algorithm, shape)
        else:
            numbers, index = _split(shape, algorithm)
            state, selection = (
                state + numbers + (_residual(algorithm, shape) if algorithm.density < 1 else 0),
                selection + index,
            )
            idle += (1 - algorithm.density) * parameter.numel()
    frozen = idle if SUBSPACES[algorithm.subspace].whole and algorithm.state_free.rule == "none" else 0.0
    return Memory(method, FLOAT32 * size, FLOAT32 * (size - frozen), FLOAT32 * state, INDEX * selection)


def _treatments(model: nn.Module, algorithm: Algorithm) -> Iterator[tuple[nn.Parameter, bool | str, Any]]:
    """Every parameter with what the optimizer does with it: True (split), "state_full" or "state_free", and by which rule."""
    from frugal_gpu.optim.groups import model_groups

    for group in model_groups(model, algorithm):
        for _, parameter in group["params"]:
            yield parameter, group["split"], group.get("state_full", algorithm.state_full)


def _split(shape: tuple[int, ...], algorithm: Algorithm) -> tuple[float, float]:
    """How many numbers the state of a split parameter holds, and how many its index of the units in the set."""
    density, decay, hold = algorithm.density, algorithm.off_set_momentum == "decay", algorithm.off_set_momentum == "hold"
    by_formula = algorithm.state_free.rule not in FLAT["state_free"]
    if density in (0, 1):
        return _state(algorithm, by_formula, shape) * density, 0.0
    if SUBSPACES[algorithm.subspace].whole:
        return _state(algorithm, by_formula, shape) * (1 if hold or decay else density), 0.0
    matrix = shape if len(shape) < 2 else (shape[0], math.prod(shape[1:]))
    layout = layout_of(algorithm.subspace, algorithm.sampling, matrix, density, algorithm.side, algorithm.rank)
    if layout is None:
        return _state(algorithm, by_formula, shape), 0.0
    if isinstance(layout, Turning):
        seen = {"left": (layout.rank, matrix[-1]), "right": (matrix[0], layout.rank), "vector": (layout.rank,)}[layout.side]
        return _state(algorithm, by_formula, seen) + layout.length * layout.rank, 0.0
    kept = layout.units if hold or decay else layout.inside
    return _state(algorithm, by_formula, layout.view, None if decay else layout.dim) * kept / layout.units, layout.inside


def _state(algorithm: Algorithm, by_formula: bool, seen: tuple[int, ...], counted_along: int | None = None) -> float:
    """Numbers in the state of the state-full rule for a part of this shape; steps are counted by unit, or in no tensor."""
    rule = rule_of(algorithm.state_full)
    if not by_formula and (fast := accelerated(rule)) is not None:
        counts = seen[counted_along] if fast.counts and counted_along is not None else 0
        return len(fast.vectors + fast.squares) * math.prod(seen) + counts
    state = rule.init(torch.empty(seen, device="meta"))
    counters: tuple[str, ...] = getattr(rule, "counts", ())
    once = 1 if len(seen) > 1 else math.prod(seen)
    counted = len(counters) * (once if counted_along is None else seen[counted_along])
    return counted + sum(value.numel() for key, value in state.items() if key not in counters)


def _residual(algorithm: Algorithm, shape: tuple[int, ...]) -> float:
    """Numbers in the state of the state-free rule, which sees the whole parameter; most have none."""
    return sum(value.numel() for value in rule_of(algorithm.state_free).init(torch.empty(shape, device="meta")).values())


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
        parts = {"weights": "parameters", "gradients": "gradients", "state": "state", "selection": "selection"}
        shown = table.assign(**{part: table[column] / size for part, column in parts.items()})
        title = "Memory of training, without activations"
        return {"memory": bars(title, f"{unit}, float32", shown, list(parts), left=330)}

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
