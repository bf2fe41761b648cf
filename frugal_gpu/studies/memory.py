"""Memory of training, counted from shapes alone: weights, gradients and optimizer state of FRUGAL and its neighbours.

What counts as state is what :class:`frugal_gpu.optim.Frugal` keeps: a rule's statistics for the state-full part, one
step count a unit where units enter one by one (AdamW on coordinates, columns and rows), and bases. Weights and gradients
have the dtype of the model's parameters, statistics ``state_dtype`` (by default at least float32), counts and bases at least
float32; activations depend on batch and length and are left out.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from frugal_gpu.optim.placement import as_dtype
from frugal_gpu.optim.subspaces import seen_shape
from frugal_gpu.optim.temporaries import need_of
from frugal_gpu.studies.counting import Keeping, counted_of_group, counted_of_split, residual_bytes, state_bytes
from frugal_theory.algorithm.rules import AdamW, Nothing, rule_of
from frugal_theory.config import Algorithm, Experiment, Training
from frugal_theory.config.load import ExperimentError
from frugal_theory.config.registry import SUBSPACES
from frugal_theory.studies.figures import bars
from frugal_theory.studies.study import Answer, Run

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["STUDY", "Kept", "Memory", "MemoryStudy", "memory_of", "memory_table", "not_split", "state_by_parameter", "unit_of"]

ALL_STATE_FULL = {
    "density": 1.0,
    "embeddings": "state_full",
    "norms": "state_full",
    "biases": "state_full",
    "output": "state_full",
    "set": None,
    "groups": (),
}

LARGE = 2**20
"""Numbers of a statistic that is kept in eight bits if any is."""

INDEX = 4
"""Bytes of an index into coordinates, columns or rows, kept for a period."""


@dataclass(frozen=True)
class Memory:
    """Bytes of one method. ``selection`` is the index of the units in the set, kept beside the state.

    ``temporaries``: what an ordinary step takes on a CPU beside all that, and gives back; it is no part of the total.
    """

    method: str
    parameters: float
    gradients: float
    state: float
    selection: float = 0.0
    temporaries: float = 0.0

    @property
    def total(self) -> float:
        """All of it, without activations."""
        return self.parameters + self.gradients + self.state + self.selection


def memory_table(experiment: Experiment) -> list[Memory]:
    """AdamW, GaLore and BAdam at the experiment's density, and the experiment's own algorithm, on its model.

    Weights have the dtype that ``training.precision`` gives them, adapters are in place, and the experiment's own state is kept
    as ``training.state_dtype`` says, its neighbours' as it is by default; with ``training.update_in_backward`` it holds one
    gradient, the largest at most. Raises :class:`ExperimentError` without a [model]
    table, and for a checkpoint or an adapter that cannot be had.
    """
    from frugal_gpu.data.tasks.prepare import labels_of
    from frugal_gpu.model.build import shapes_only
    from frugal_gpu.train.precision import weights

    if experiment.model is None:
        raise ExperimentError('model: is missing; frugal-gpu needs a [model] table, for example preset = "llama-tiny"')
    training, own = experiment.training or Training(), _at_its_largest(experiment.algorithm)
    model = shapes_only(experiment.model, labels_of(experiment.data)).to(weights(training.precision))
    if experiment.adapter is not None:
        from frugal_gpu.adapters.lora import adapted

        with torch.device("meta"):
            adapted(model, experiment.adapter)
    adamw = {"state_full": AdamW(), "state_free": Nothing(), "off_set_momentum": "reset", "set": None, "groups": ()}
    methods = {
        "AdamW": own.model_copy(update={**adamw, **ALL_STATE_FULL}),
        f"GaLore, density {own.density:g}": own.model_copy(update={**adamw, "subspace": "svd"}),
        f"BAdam, density {own.density:g}": own.model_copy(update={**adamw, "subspace": "blocks"}),
    }
    rows = [memory_of(model, algorithm, name) for name, algorithm in methods.items()]
    ours = memory_of(model, own, f"FRUGAL, {_describe(own, training)}", training.state_dtype)
    if training.update_in_backward:
        ours = replace(ours, gradients=max(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad))
    return [*rows, ours]


def memory_of(model: nn.Module, algorithm: Algorithm, method: str = "FRUGAL", state_dtype: str | None = None) -> Memory:
    """Bytes of one algorithm on a model, which may be on the meta device; its parameters are of one dtype.

    Blocks and independent coordinates are drawn, so theirs is the expectation; everything else is exact. With
    "decay" and "hold" the state is that of a run in which every unit has been in the set.
    """
    from frugal_gpu.optim.arranging import model_groups

    size = sum(parameter.numel() for parameter in model.parameters())
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    dtype = next(model.parameters()).dtype
    state = selection = idle = 0.0
    needs = [0.0]
    for group in model_groups(model, algorithm):
        own = _of_options(algorithm, group)
        kept = Keeping(own, as_dtype(state_dtype), dtype)
        shapes, split = {name: tuple(parameter.shape) for name, parameter in group["params"]}, group["split"]
        held, index, waiting = counted_of_group(kept, split, shapes)
        state, selection, idle = state + held, selection + index, idle + waiting
        decoded = 0.0
        if kept.state_dtype is not None and not math.isclose(kept.statistic(LARGE), kept.exact * LARGE):
            decoded = counted_of_group(replace(kept, state_dtype=None), split, shapes)[0]
        needs.append(need_of(own, split, list(shapes.values()), dtype, kept.state_dtype, trained, decoded))
    width = dtype.itemsize
    return Memory(method, width * size, width * (trained - idle), state, INDEX * selection, max(needs))


@dataclass(frozen=True)
class Kept:
    """``bytes`` of state of the parameter ``name``; ``whole``: whether a rank of a sharded model holds all of them."""

    name: str
    bytes: float
    whole: bool


def state_by_parameter(model: nn.Module, algorithm: Algorithm) -> list[Kept]:
    """The state of every parameter, as :func:`memory_of` counts it.

    A rank needs a matrix whole for a basis, and for a rule that sees more than a coordinate.
    """
    from frugal_gpu.optim.arranging import model_groups

    found = []
    for group in model_groups(model, algorithm):
        own = _of_options(algorithm, group)
        kept, split = Keeping(own, None, next(model.parameters()).dtype), group["split"]
        shapes = {name: tuple(parameter.shape) for name, parameter in group["params"]}
        together = not all(getattr(rule_of(table), "elementwise", True) for table in (own.state_full, own.state_free))
        basis = split is True and SUBSPACES[own.subspace].basis and own.density not in (0, 1)
        if split == "state_full":
            held = [state_bytes(kept, seen_shape(shape), False) for shape in shapes.values()]
        else:
            rest = [residual_bytes(kept, shape) for shape in shapes.values()]
            each = counted_of_split(kept, shapes) if split is True else ((0.0, 0.0, 0.0) for _ in shapes)
            held = [free + full for free, (full, _, _) in zip(rest, each, strict=True)]
        found += [Kept(name, own_bytes, basis or together) for name, own_bytes in zip(shapes, held, strict=True)]
    return found


def _of_options(algorithm: Algorithm, group: dict[str, Any]) -> Algorithm:
    """The algorithm with the options of a group; what is treated as a whole is not cut into experts."""
    given = {key: value for key, value in group.items() if key in Algorithm.model_fields}
    return algorithm.model_copy(update={**given, **({} if group["split"] is True else {"experts": False})})


def _at_its_largest(algorithm: Algorithm) -> Algorithm:
    """The algorithm with the largest density of its schedule."""
    line = algorithm.density_schedule
    most = algorithm.density if line is None else max(algorithm.density, line.to)
    return algorithm.model_copy(update={"density": most, "density_schedule": None})


def _describe(algorithm: Algorithm, training: Training) -> str:
    full, free = algorithm.state_full.rule, algorithm.state_free.rule
    kept = "" if training.state_dtype is None else f", state {training.state_dtype}"
    return f"{full} on {algorithm.subspace}, {free} off them, density {algorithm.density:g}{kept}"


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
        return {"memory": bars(title, unit, shown, list(parts), left=330)}

    def answer(self, table: pd.DataFrame) -> Answer:
        """Yes if it does; by how much the state alone is smaller."""
        adamw, own = table.iloc[0], table.iloc[-1]
        unit, size = unit_of(table)
        sentence = (
            f"{own['method']} takes {own['total'] / size:,.2f} {unit} where AdamW takes {adamw['total'] / size:,.2f}, and "
            f"its state {100 * own['state'] / adamw['state']:.0f} % of AdamW's."
        )
        return Answer(sentence, "yes" if own["total"] < adamw["total"] else "no")


def not_split(algorithm: Algorithm) -> str:
    """What the algorithm leaves whole, in one sentence: density counts over the rest."""
    rules: dict[str, list[str]] = {}
    for kind in ("embeddings", "norms", "biases", "output"):
        treatment = getattr(algorithm, kind)
        if treatment != "split":
            table = algorithm.state_full if treatment == "state_full" else algorithm.state_free
            rules.setdefault((table if isinstance(treatment, str) else treatment).rule, []).append(kind)
    said = [f"{rule} for {', '.join(kinds)}" for rule, kinds in rules.items()]
    return f"Not split, at any density: {'; '.join(said)}" if said else "Everything is split"


def unit_of(table: pd.DataFrame) -> tuple[str, int]:
    """The unit that suits the largest total, and its bytes."""
    return ("GiB", 2**30) if table["total"].max() >= 2**30 else ("MiB", 2**20)


STUDY = MemoryStudy()
