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

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from frugal_gpu.optim.backends import accelerated
from frugal_gpu.optim.groups import FLAT
from frugal_gpu.optim.layout import Turning, UnitLayout, layout_of
from frugal_theory.algorithm.rules import AdamW, Nothing, rule_of
from frugal_theory.algorithm.selection import budget, pieces
from frugal_theory.algorithm.subspaces import block_sizes, blocks_of
from frugal_theory.config import Algorithm, Experiment
from frugal_theory.config.load import ExperimentError
from frugal_theory.config.registry import SUBSPACES
from frugal_theory.studies.figures import bars
from frugal_theory.studies.study import Answer, Run

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["STUDY", "Memory", "MemoryStudy", "memory_of", "memory_table", "not_split", "unit_of"]

FLOAT32 = 4

ALL_STATE_FULL = {
    "density": 1.0,
    "embeddings": "state_full",
    "norms": "state_full",
    "biases": "state_full",
    "output": "state_full",
    "set": None,
    "groups": (),
}
ENOUGH_PERIODS = 64
"""Periods of a schedule over which is counted how often a block has anything in the set."""

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
    adamw = {"state_full": AdamW(), "state_free": Nothing(), "off_set_momentum": "reset", "set": None, "groups": ()}
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
    from frugal_gpu.optim.arranging import model_groups

    size = sum(parameter.numel() for parameter in model.parameters())
    state = selection = idle = 0.0
    for group in model_groups(model, algorithm):
        own = algorithm.model_copy(update={key: value for key, value in group.items() if key in Algorithm.model_fields})
        shapes = {name: tuple(parameter.shape) for name, parameter in group["params"]}
        if group["split"] == "state_full":
            state += sum(_state(own, shape, False) for shape in shapes.values())
        elif group["split"] == "state_free":
            state += sum(_residual(own, shape) for shape in shapes.values())
        else:
            state += sum(_residual(own, shape) for shape in shapes.values()) if own.density < 1 else 0
            for numbers, index, waiting in _split(own, shapes):
                state, selection, idle = state + numbers, selection + index, idle + waiting
    return Memory(method, FLOAT32 * size, FLOAT32 * (size - idle), FLOAT32 * state, INDEX * selection)


Counted = Iterator[tuple[float, float, float]]
"""Of every parameter: numbers in its state, entries of the index of its units in the set, gradients that need not be held."""


def _split(algorithm: Algorithm, named: dict[str, tuple[int, ...]]) -> Counted:
    """The parameters of a split group."""
    formula, shapes = _by_formula(algorithm), list(named.values())
    if algorithm.set is not None:
        yield from _of_a_set(algorithm, algorithm.set, shapes)
    elif algorithm.density in (0, 1):
        yield from ((_state(algorithm, shape, formula) * algorithm.density, 0.0, 0.0) for shape in shapes)
    elif SUBSPACES[algorithm.subspace].whole:
        yield from _of_blocks(algorithm, named)
    else:
        yield from (_of_one(algorithm, _matrix(shape)) for shape in shapes)


def _of_one(algorithm: Algorithm, matrix: tuple[int, ...]) -> tuple[float, float, float]:
    """A parameter that chooses by itself."""
    layout = layout_of(algorithm.subspace, algorithm.sampling, matrix, algorithm.density, algorithm.side, algorithm.rank)
    if layout is None:
        return _state(algorithm, matrix, _by_formula(algorithm)), 0.0, 0.0
    if isinstance(layout, Turning):
        seen = {"left": (layout.rank, matrix[-1]), "right": (matrix[0], layout.rank), "vector": (layout.rank,)}[layout.side]
        return _state(algorithm, seen, _by_formula(algorithm)) + layout.length * layout.rank, 0.0, 0.0
    return _of_units(algorithm, layout), layout.inside, 0.0


def _of_units(algorithm: Algorithm, layout: UnitLayout) -> float:
    """Numbers in the state of units of which ``layout.inside`` are in the set."""
    everywhere, decay = algorithm.off_set_momentum != "reset", algorithm.off_set_momentum == "decay"
    kept = layout.units if everywhere else layout.inside
    return _state(algorithm, layout.view, _by_formula(algorithm), None if decay else layout.dim) * kept / layout.units


def _of_a_set(algorithm: Algorithm, chosen: tuple[int, ...], shapes: list[tuple[int, ...]]) -> Counted:
    """``set`` numbers the coordinates of all the group's parameters one after another."""
    start = 0
    for count in map(math.prod, shapes):
        inside = sum(start <= j < start + count for j in chosen)
        yield _of_units(algorithm, UnitLayout((count,), 0, inside)), inside, 0.0
        start += count


def _of_blocks(algorithm: Algorithm, named: dict[str, tuple[int, ...]]) -> Counted:
    """Blocks, each in the set with its share of the time, and the pieces of those that are divided.

    The state of k units is a + bk: what they share is there while any of them is in the set.
    """
    kind: Any = blocks_of(algorithm.subspace, algorithm.order)
    shapes, formula = list(named.values()), _by_formula(algorithm)
    sizes, block_of = block_sizes(algorithm, named)
    total = int(sizes.sum())
    window, everywhere = budget(algorithm.density, total), algorithm.off_set_momentum != "reset"
    shares = _shares(algorithm, kind, sizes)[block_of]
    touched = _touched(algorithm, kind, shapes, block_of) if kind.scheduled else []
    for block, (shape, share) in enumerate(zip(shapes, shares, strict=True)):
        count = math.prod(pieces(shape, window)) if kind.divided is not None else 1
        size = math.prod(shape)
        if count == 1:
            on = _state(algorithm, _matrix(shape), formula)
            off = on if everywhere else _off(algorithm, _matrix(shape), 0)
            held = on * share + off * (1 - share)
            yield held, 0.0, (1 - share) * size if algorithm.state_free.rule == "none" else 0.0
            continue
        rows, columns = len(shape) > 1 and count == shape[0], len(shape) == 2 and shape[0] == 1
        layout = UnitLayout(_matrix(shape) if rows or columns else (size,), int(columns), count)
        if everywhere:
            yield _of_units(algorithm, layout), count * share, 0.0
            continue
        one, two = (_state(algorithm, _cut(layout.view, layout.dim, units), formula, layout.dim) for units in (1, 2))
        any_unit = touched[block] if kind.scheduled else min(1.0, share + (size - size // count) / total)
        off = _off(algorithm, layout.view, layout.dim)
        yield (two - one) * count * share + (2 * one - two) * any_unit + off * (1 - any_unit), count * share, 0.0


def _touched(algorithm: Algorithm, kind: Any, shapes: list[tuple[int, ...]], block_of: NDArray[np.intp]) -> list[float]:
    """How often each block has anything in the set, in a round of the schedule or as much of it as matters here."""
    total = sum(map(math.prod, shapes))
    periods = min(ENOUGH_PERIODS, total // math.gcd(total, max(1, budget(algorithm.density, total))))
    sets = [kind.members(0, period, shapes, algorithm.density, block_of) for period in range(periods)]
    return [sum(bool(inside[block].any()) for inside in sets) / periods for block in range(len(shapes))]


def _off(algorithm: Algorithm, view: tuple[int, ...], dim: int) -> float:
    """Numbers that a block off the set keeps: none, but for those that units share where a rule's formula is run."""
    formula = _by_formula(algorithm)
    return 0.0 if accelerated(rule_of(algorithm.state_full)) and not formula else _state(algorithm, _cut(view, dim, 0), formula)


def _cut(view: tuple[int, ...], dim: int, units: int) -> tuple[int, ...]:
    return (*view[:dim], units, *view[dim + 1 :])


def _shares(algorithm: Algorithm, kind: Any, sizes: NDArray[np.int64]) -> NDArray[np.float64]:
    """How much of the time each block is in the set: its probability, or its frequency in a round."""
    total = int(sizes.sum())
    window = max(1, budget(algorithm.density, total))
    if kind.share is not None:
        share = kind.share(sizes, algorithm.density)
    elif kind.divided is not None:
        share = 1 / -(-total // window) if algorithm.order == "mirror" else window / total
    else:
        share = algorithm.density
    return np.broadcast_to(np.asarray(share, dtype=np.float64), sizes.shape)


def _matrix(shape: tuple[int, ...]) -> tuple[int, ...]:
    """How a parameter is seen: a vector, or a matrix with trailing dimensions flattened."""
    return (math.prod(shape),) if len(shape) < 2 else (shape[0], math.prod(shape[1:]))


def _by_formula(algorithm: Algorithm) -> bool:
    """Whether a split parameter's rules are run by their formulas, whatever accelerators there are."""
    return algorithm.state_free.rule not in FLAT["state_free"]


def _state(algorithm: Algorithm, seen: tuple[int, ...], by_formula: bool, counted_along: int | None = None) -> float:
    """Numbers in the state of the state-full rule for a part of this shape; steps are counted by unit, or in no tensor."""
    rule = rule_of(algorithm.state_full)
    if not by_formula and (fast := accelerated(rule)) is not None:
        by_unit = seen[counted_along] if fast.counts and counted_along is not None else 0
        return len(fast.vectors + fast.squares) * math.prod(seen) + by_unit
    state = rule.init(torch.empty(seen, device="meta"))
    by_name: tuple[str, ...] = getattr(rule, "counts", ())
    once = 1 if len(seen) > 1 else math.prod(seen)
    counted = len(by_name) * (once if counted_along is None else seen[counted_along])
    return counted + sum(value.numel() for key, value in state.items() if key not in by_name)


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
