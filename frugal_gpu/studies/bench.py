"""How long an optimizer step takes, and what it needs beside the state: FRUGAL's variants against torch's fused AdamW."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from frugal_gpu.model.llama import SHAPES, Shape, build_model, meta_model
from frugal_gpu.optim import Frugal
from frugal_gpu.studies.memory import memory_of
from frugal_theory.config import Algorithm
from frugal_theory.studies.figures import bars
from frugal_theory.studies.study import Answer, Run

if TYPE_CHECKING:
    import pandas as pd

REFERENCE = "torch.optim.AdamW, fused"

UPDATE_GAP = 10
"""Short, so that every run sees new subspaces."""

CHECKED = "gradients checked, FRUGAL blocks"
"""It looks for gradients that are not finite, a pass over them. The others leave that to whoever has taken the norm, as the
trainer has."""

__all__ = ["Bench", "Timing", "bench", "bytes_needed", "variants"]


@dataclass(frozen=True)
class Timing:
    """One optimizer: median seconds of an ordinary step, its ratio to AdamW's in the same rounds, the median step into a new
    subspace over the ordinary one (NaN if none was timed), and the temporaries of a step over the bytes of the parameters."""

    name: str
    seconds: float
    ratio: float
    refresh: float
    temporaries: float


def variants(density: float) -> dict[str, Algorithm]:
    """The algorithms that are timed. Embeddings, norms and the output layer are AdamW's in all of them, as in the paper."""
    common: dict[str, object] = {"density": density, "update_gap": UPDATE_GAP}
    table: dict[str, dict[str, object]] = {
        "FRUGAL blocks, signsgd": {"subspace": "blocks"},
        CHECKED: {"subspace": "blocks"},
        "FRUGAL density 0, signsgd": {"density": 0.0},
        "FRUGAL columns, signsgd": {"subspace": "columns"},
        "FRUGAL randk, signsgd": {"subspace": "randk"},
        "FRUGAL coordinates, signsgd": {"subspace": "coordinates"},
        "FRUGAL random, signsgd": {"subspace": "random"},
        "FRUGAL svd, signsgd": {"subspace": "svd"},
        "FRUGAL svd, randomised": {"subspace": "svd", "projector": "randomised"},
        "GaLore (svd, none)": {"subspace": "svd", "state_free": "none", "on_update": "keep"},
        "BAdam (blocks, none)": {"subspace": "blocks", "state_free": "none", "order": "descending"},
        "SGDM on coordinates, sgd": {"subspace": "coordinates", "state_full": "sgdm", "state_free": "sgd"},
        "AdamW everywhere (density 1)": {"density": 1.0},
    }
    return {name: Algorithm.model_validate({**common, **keys}) for name, keys in table.items()}


def bench(
    shape: Shape,
    chosen: Mapping[str, Algorithm],
    rounds: int,
    device: torch.device,
    progress: Callable[[int, int], None] | None = None,
) -> list[Timing]:
    """Time ``rounds`` steps of AdamW and of the ``chosen`` algorithms, in turn within each round, on the same parameters and
    gradients.

    Two rounds warm up. ``progress(done, total)`` is called after every round.
    """
    model = _model(shape, device)
    optimizers: dict[str, torch.optim.Optimizer] = {REFERENCE: torch.optim.AdamW(model.parameters(), lr=RATE, fused=True)}
    for name, algorithm in chosen.items():
        optimizers[name] = Frugal.from_config(model, algorithm, lr=RATE, check_finite=name == CHECKED)
    seconds: dict[str, list[float]] = {name: [] for name in optimizers}
    for done in range(rounds + WARM_UP):
        for name, optimizer in optimizers.items():
            seconds[name].append(_timed(optimizer.step, device))
        if progress is not None:
            progress(done + 1, rounds + WARM_UP)
    size = sum(x.numel() * x.element_size() for x in model.parameters())
    rows = []
    for name, optimizer in optimizers.items():
        times, kinds = np.array(seconds[name][WARM_UP:]), np.arange(WARM_UP, rounds + WARM_UP) % UPDATE_GAP == 0
        ordinary, reference = np.median(times[~kinds]), np.median(np.array(seconds[REFERENCE][WARM_UP:])[~kinds])
        refresh = float(np.median(times[kinds]) / ordinary) if kinds.any() else float("nan")
        rows.append(
            Timing(name, float(ordinary), float(ordinary / reference), refresh, peak_bytes(optimizer.step, device) / size)
        )
    return rows


RATE = 1e-6
WARM_UP = 2


def _model(shape: Shape, device: torch.device) -> torch.nn.Module:
    """A LLaMA whose parameters have gradients, the same in every call."""
    model = build_model(shape, sequence_length=256).to(device)
    generator = torch.Generator(device).manual_seed(0)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator, device=device).mul_(1e-3)
    return model


def bytes_needed(shape: Shape, chosen: Iterable[Algorithm]) -> float:
    """Weights, gradients and the state of all optimizers at once, AdamW's among them: what :func:`bench` holds."""
    model = meta_model(shape)
    rows = [memory_of(model, algorithm) for algorithm in (Algorithm(density=1.0), *chosen)]
    return rows[0].parameters + rows[0].gradients + sum(row.state + row.selection for row in rows)


def peak_bytes(step: Callable[[], object], device: torch.device) -> float:
    """By how many bytes torch's memory rises during a step: its allocator's peak on a GPU, its allocations in turn on a CPU."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = float(torch.cuda.memory_allocated(device))
        step()
        return torch.cuda.max_memory_allocated(device) - before
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profiled:
        step()
    assert profiled.profiler is not None
    results = profiled.profiler.kineto_results
    assert results is not None
    events = sorted((event.start_ns(), event.nbytes()) for event in results.events() if event.name() == "[memory]")
    return float(max(np.cumsum([0, *(size for _, size in events)])))


def _is_called(name: str, said: str) -> bool:
    return name.lower().removeprefix("frugal ").startswith(said.lower()) or name.lower().startswith(said.lower())


def _timed(step: Callable[[], object], device: torch.device) -> float:
    """Seconds of one step, with the device's queue empty before and after."""
    _wait(device)
    begin = time.perf_counter()
    step()
    _wait(device)
    return time.perf_counter() - begin


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@dataclass(frozen=True)
class Bench:
    """The timings as a study, of one model and density; a row an optimizer. Nothing is kept: times belong to one run."""

    preset: str
    density: float
    rounds: int
    device: torch.device
    layers: int | None = None
    only: tuple[str, ...] = ()
    """Names of :func:`variants`, or how they begin after "FRUGAL "; all of them by default."""

    name = "bench"
    question = "Is a step of FRUGAL, on blocks with signSGD off them, as quick as a step of torch's fused AdamW?"
    by_cell = False

    @property
    def shape(self) -> Shape:
        """The preset's, with as many layers as are asked for."""
        shape = SHAPES[self.preset]
        return shape if self.layers is None else replace(shape, layers=self.layers)

    @property
    def chosen(self) -> dict[str, Algorithm]:
        """The variants that are timed. Raises ValueError for a name of none."""
        every = variants(self.density)
        found = {name: a for name, a in every.items() if not self.only or any(_is_called(name, each) for each in self.only)}
        for each in self.only:
            if not any(_is_called(name, each) for name in every):
                raise ValueError(f'"{each}" is no optimizer that is timed; allowed: {", ".join(every)}, or how one begins')
        return found

    def measure(self, _: None, run: Run) -> pd.DataFrame:
        """``name``, ``seconds``, ``ratio``, ``refresh`` and ``temporaries`` of every optimizer."""
        import pandas as pd

        rows = bench(self.shape, self.chosen, self.rounds, self.device, run.progress)
        return pd.DataFrame([asdict(row) for row in rows])

    def draw(self, table: pd.DataFrame) -> dict[str, Any]:
        """A bar an optimizer."""
        title = f"Time of an optimizer step on {self.preset}, {self.device.type}, density {self.density:g}"
        return {"bench": bars(title, "median, over AdamW's", table, ["ratio"], "all in one run, in turn", left=250)}

    def answer(self, table: pd.DataFrame) -> Answer:
        """Yes if its median is at most AdamW's."""
        first = table[table["name"] != REFERENCE].iloc[0]
        slowest = table.loc[table["ratio"].idxmax()]
        sentence = (
            f"{first['name']} takes {first['ratio']:.2f} of the time of {REFERENCE}; the slowest, {slowest['name']}, "
            f"{slowest['ratio']:.2f}."
        )
        return Answer(sentence, "yes" if first["ratio"] <= 1 else "no")
