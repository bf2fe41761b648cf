"""Memory of training, counted from shapes alone: weights, gradients and optimizer state of FRUGAL and its neighbours.

What counts as state is what :class:`frugal_gpu.optim.Frugal` keeps: a rule's statistics for the state-full part, one
step count a unit where units enter one by one (AdamW on coordinates, columns and rows), and bases. Weights and gradients
have the dtype of the model's parameters, statistics ``state_dtype`` (by default at least float32), counts and bases at least
float32; activations depend on batch and length and are left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from frugal_gpu.optim.backends import accelerated
from frugal_gpu.optim.groups import FLAT
from frugal_gpu.optim.layout import Turning, UnitLayout, layout_of
from frugal_gpu.optim.placement import as_dtype, stored_bytes
from frugal_gpu.optim.subspaces import at_least_float32, seen_shape
from frugal_gpu.optim.temporaries import need_of
from frugal_theory.algorithm.combine import each_expert
from frugal_theory.algorithm.rules import AdamW, Nothing, Rule, rule_of
from frugal_theory.algorithm.selection import budget, pieces
from frugal_theory.algorithm.subspaces import block_sizes, blocks_of
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
ENOUGH_PERIODS = 64
"""Periods of a schedule over which is counted how often a block has anything in the set."""

FLOAT32 = 4

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
    from frugal_gpu.model.build import shapes_only
    from frugal_gpu.train.precision import weights

    if experiment.model is None:
        raise ExperimentError('model: is missing; frugal-gpu needs a [model] table, for example preset = "llama-tiny"')
    training, own = experiment.training or Training(), _at_its_largest(experiment.algorithm)
    model = shapes_only(experiment.model).to(weights(training.precision))
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
        kept = _Kept(own, as_dtype(state_dtype), dtype)
        shapes, split = {name: tuple(parameter.shape) for name, parameter in group["params"]}, group["split"]
        held, index, waiting = _of_group(kept, split, shapes)
        state, selection, idle = state + held, selection + index, idle + waiting
        decoded = 0.0
        if kept.state_dtype is not None and not math.isclose(kept.statistic(LARGE), kept.exact * LARGE):
            decoded = _of_group(replace(kept, state_dtype=None), split, shapes)[0]
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
        kept, split = _Kept(own, None, next(model.parameters()).dtype), group["split"]
        shapes = {name: tuple(parameter.shape) for name, parameter in group["params"]}
        together = not all(getattr(rule_of(table), "elementwise", True) for table in (own.state_full, own.state_free))
        basis = split is True and SUBSPACES[own.subspace].basis and own.density not in (0, 1)
        if split == "state_full":
            held = [_state(kept, seen_shape(shape), False) for shape in shapes.values()]
        else:
            rest = [_residual(kept, shape) for shape in shapes.values()]
            each = _split(kept, shapes) if split is True else ((0.0, 0.0, 0.0) for _ in shapes)
            held = [free + full for free, (full, _, _) in zip(rest, each, strict=True)]
        found += [Kept(name, own_bytes, basis or together) for name, own_bytes in zip(shapes, held, strict=True)]
    return found


@dataclass(frozen=True)
class _Kept:
    """An algorithm, and the form in which its state is kept beside parameters of a dtype."""

    algorithm: Algorithm
    state_dtype: str | None
    dtype: torch.dtype

    @property
    def exact(self) -> int:
        """Bytes of a number that keeps its precision: a count, an entry of a basis."""
        return at_least_float32(self.dtype).itemsize

    def statistic(self, numbers: float) -> float:
        """Bytes of a statistic of so many numbers."""
        return stored_bytes(self.state_dtype, self.dtype, numbers)


Counted = Iterator[tuple[float, float, float]]
"""Of every parameter: bytes of its state, entries of the index of its units in the set, gradients that need not be held."""


def _of_group(kept: _Kept, split: bool | str, named: dict[str, tuple[int, ...]]) -> tuple[float, float, float]:
    """The three counts below for all parameters of a group, which is ``split`` or whole."""
    if split == "state_full":
        return sum(_state(kept, seen_shape(shape), False) for shape in named.values()), 0.0, 0.0
    residual = sum(_residual(kept, shape) for shape in named.values())
    counted = np.array([(0.0, 0.0, 0.0), *(_split(kept, named) if split is True else ())])
    held, index, waiting = (float(value) for value in counted.sum(axis=0))
    return residual + held, index, waiting


def _split(kept: _Kept, named: dict[str, tuple[int, ...]]) -> Counted:
    """The parameters of a split group."""
    formula, shapes = _by_formula(kept), list(named.values())
    if kept.algorithm.set is not None:
        yield from _of_a_set(kept, kept.algorithm.set, shapes)
    elif kept.algorithm.density in (0, 1):
        yield from (
            (_state(kept, seen_shape(shape, kept.algorithm.experts), formula) * kept.algorithm.density, 0.0, 0.0)
            for shape in shapes
        )
    elif SUBSPACES[kept.algorithm.subspace].whole:
        yield from _of_blocks(kept, named)
    else:
        yield from (_of_one(kept, seen_shape(shape, kept.algorithm.experts)) for shape in shapes)


def _of_one(kept: _Kept, matrix: tuple[int, ...]) -> tuple[float, float, float]:
    """A parameter that chooses by itself."""
    own = kept.algorithm
    layout = layout_of(own.subspace, own.sampling, matrix, own.density, own.side, own.rank)
    if layout is None:
        return _state(kept, matrix, _by_formula(kept)), 0.0, 0.0
    if isinstance(layout, Turning):
        return _state(kept, layout.projected, _by_formula(kept)) + kept.exact * math.prod(layout.columns), 0.0, 0.0
    return _of_units(kept, layout), layout.inside, 0.0


def _of_units(kept: _Kept, layout: UnitLayout) -> float:
    """Bytes of the state of units of which ``layout.inside`` are in the set."""
    everywhere, decay = kept.algorithm.off_set_momentum != "reset", kept.algorithm.off_set_momentum == "decay"
    units = layout.units if everywhere else layout.inside
    whole = _state(kept, layout.view, _by_formula(kept), None if decay else layout.dim)
    return whole if everywhere else _of_some(kept, layout, units)


def _of_some(kept: _Kept, layout: UnitLayout, units: float) -> float:
    """Bytes of the state of so many units, between two whole numbers of them where it is a mean."""
    least, above = math.floor(units), units - math.floor(units)
    sizes = [_state(kept, _cut(layout.view, layout.dim, least + more), _by_formula(kept), layout.dim) for more in (0, 1)]
    return sizes[0] * (1 - above) + sizes[1] * above


def _of_a_set(kept: _Kept, chosen: tuple[int, ...], shapes: list[tuple[int, ...]]) -> Counted:
    """``set`` numbers the coordinates of all the group's parameters one after another."""
    start = 0
    for count in map(math.prod, shapes):
        inside = sum(start <= j < start + count for j in chosen)
        yield _of_units(kept, UnitLayout((count,), 0, inside)), inside, 0.0
        start += count


def _of_blocks(kept: _Kept, named: dict[str, tuple[int, ...]]) -> Counted:
    """Blocks, each in the set with its share of the time, and the pieces of those that are divided.

    The state of k units is a + bk: what they share is there while any of them is in the set.
    """
    kind: Any = blocks_of(kept.algorithm.subspace, kept.algorithm.order)
    shapes, formula = list(named.values()), _by_formula(kept)
    sizes, block_of = block_sizes(kept.algorithm, named)
    total = int(sizes.sum())
    window, everywhere = budget(kept.algorithm.density, total), kept.algorithm.off_set_momentum != "reset"
    shares = _shares(kept, kind, sizes)[block_of]
    touched = _touched(kept, kind, shapes, block_of) if kind.scheduled else []
    for block, (shape, share) in enumerate(zip(shapes, shares, strict=True)):
        count = math.prod(pieces(shape, window)) if kind.divided is not None else 1
        size = math.prod(shape)
        if count == 1:
            on = _state(kept, _matrix(shape), formula)
            off = on if everywhere else _off(kept, _matrix(shape), 0)
            held = on * share + off * (1 - share)
            yield held, 0.0, (1 - share) * size if kept.algorithm.state_free.rule == "none" else 0.0
            continue
        rows, columns = len(shape) > 1 and count == shape[0], len(shape) == 2 and shape[0] == 1
        layout = UnitLayout(_matrix(shape) if rows or columns else (size,), int(columns), count)
        if everywhere:
            yield _of_units(kept, layout), count * share, 0.0
            continue
        any_unit = touched[block] if kind.scheduled else min(1.0, share + (size - size // count) / total)
        off = _off(kept, layout.view, layout.dim)
        inside = _of_some(kept, layout, max(1.0, count * share / any_unit)) if any_unit else 0.0
        yield inside * any_unit + off * (1 - any_unit), count * share, 0.0


def _touched(kept: _Kept, kind: Any, shapes: list[tuple[int, ...]], block_of: NDArray[np.intp]) -> list[float]:
    """How often each block has anything in the set, in a round of the schedule or as much of it as matters here."""
    total = sum(map(math.prod, shapes))
    periods = min(ENOUGH_PERIODS, total // math.gcd(total, max(1, budget(kept.algorithm.density, total))))
    sets = [kind.members(0, period, shapes, kept.algorithm.density, block_of) for period in range(periods)]
    return [sum(bool(inside[block].any()) for inside in sets) / periods for block in range(len(shapes))]


def _off(kept: _Kept, view: tuple[int, ...], dim: int) -> float:
    """Bytes that a block off the set keeps: none, but for those that units share where a rule's formula is run."""
    formula = _by_formula(kept)
    return 0.0 if accelerated(rule_of(kept.algorithm.state_full)) and not formula else _state(kept, _cut(view, dim, 0), formula)


def _cut(view: tuple[int, ...], dim: int, units: int) -> tuple[int, ...]:
    return (*view[:dim], units, *view[dim + 1 :])


def _shares(kept: _Kept, kind: Any, sizes: NDArray[np.int64]) -> NDArray[np.float64]:
    """How much of the time each block is in the set: its probability, or its frequency in a round."""
    total = int(sizes.sum())
    window = max(1, budget(kept.algorithm.density, total))
    if kind.share is not None:
        share = kind.share(sizes, kept.algorithm.density)
    elif kind.divided is not None:
        share = 1 / -(-total // window) if kept.algorithm.order == "mirror" else window / total
    else:
        share = kept.algorithm.density
    return np.broadcast_to(np.asarray(share, dtype=np.float64), sizes.shape)


def _matrix(shape: tuple[int, ...]) -> tuple[int, ...]:
    """How a parameter is seen: a vector, or a matrix with trailing dimensions flattened."""
    return (math.prod(shape),) if len(shape) < 2 else (shape[0], math.prod(shape[1:]))


def _by_formula(kept: _Kept) -> bool:
    """Whether a split parameter's rules are run by their formulas, whatever accelerators there are."""
    return kept.algorithm.state_free.rule not in FLAT["state_free"]


def _state(kept: _Kept, seen: tuple[int, ...], by_formula: bool, counted_along: int | None = None) -> float:
    """Bytes of the state of the state-full rule for a part of this shape; steps are counted by unit, or in no tensor."""
    rule = each_expert(rule_of(kept.algorithm.state_full), kept.algorithm.experts)
    if not by_formula and (fast := accelerated(rule)) is not None:
        by_unit = seen[counted_along] if fast.counts and counted_along is not None else 0
        return len(fast.vectors + fast.squares) * kept.statistic(math.prod(seen)) + kept.exact * by_unit
    state = rule.init(torch.empty(seen, device="meta"))
    by_name: tuple[str, ...] = getattr(rule, "counts", ())
    once = 1 if len(seen) > 1 else math.prod(seen)
    counted = len(by_name) * (once if counted_along is None else seen[counted_along])
    held = {key: value for key, value in state.items() if key not in by_name}
    return kept.exact * counted + _statistics(kept, rule, held)


def _statistics(kept: _Kept, rule: Rule, state: dict[str, Any]) -> float:
    """Bytes of a rule's own entries: what is no moment of the gradient is not kept in eight bits."""
    moments = (*rule.vectors, *rule.squares)
    short = replace(kept, state_dtype=None) if kept.state_dtype == "8bit" else kept
    return sum((kept if key in moments else short).statistic(value.numel()) for key, value in state.items())


def _residual(kept: _Kept, shape: tuple[int, ...]) -> float:
    """Bytes of the state of the state-free rule, which sees the whole parameter; most have none."""
    rule = each_expert(rule_of(kept.algorithm.state_free), kept.algorithm.experts)
    return _statistics(kept, rule, rule.init(torch.empty(seen_shape(shape, kept.algorithm.experts), device="meta")))


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
