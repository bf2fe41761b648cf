"""How long an optimizer step takes: FRUGAL's variants against ``torch.optim.AdamW``, interleaved in one run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from frugal_gpu.model.llama import SHAPES, build_model
from frugal_gpu.optim import Frugal
from frugal_theory.config import Algorithm
from frugal_theory.studies.figures import bars
from frugal_theory.studies.study import Answer, Run

if TYPE_CHECKING:
    import pandas as pd

REFERENCE = "torch.optim.AdamW"

__all__ = ["Bench", "Timing", "bench", "variants"]


@dataclass(frozen=True)
class Timing:
    """One optimizer: median seconds a step, its ratio to AdamW's, and the slowest step (a new subspace) over the median."""

    name: str
    seconds: float
    ratio: float
    slowest: float


def variants(density: float) -> dict[str, Algorithm]:
    """The algorithms that are timed. The update gap is short so that every run sees new subspaces."""
    common: dict[str, object] = {"density": density, "update_gap": 10}
    table: dict[str, dict[str, object]] = {
        "FRUGAL blocks, signsgd": {"subspace": "blocks"},
        "FRUGAL columns, signsgd": {"subspace": "columns"},
        "FRUGAL coordinates, signsgd": {"subspace": "coordinates"},
        "FRUGAL random, signsgd": {"subspace": "random"},
        "FRUGAL svd, signsgd": {"subspace": "svd"},
        "GaLore (svd, none)": {"subspace": "svd", "state_free": "none", "on_update": "keep"},
        "BAdam (blocks, none)": {"subspace": "blocks", "state_free": "none", "order": "descending"},
        "SGDM on coordinates, sgd": {"subspace": "coordinates", "state_full": "sgdm", "state_free": "sgd"},
        "AdamW everywhere (density 1)": {"density": 1.0},
    }
    return {name: Algorithm.model_validate({**common, **keys}) for name, keys in table.items()}


def bench(
    preset: str, density: float, rounds: int, device: torch.device, progress: Callable[[int, int], None] | None = None
) -> list[Timing]:
    """Time ``rounds`` steps of each optimizer, in turn within each round, on gradients drawn once.

    Every optimizer has a model of its own, so memory is that of all of them together. Two rounds warm up.
    ``progress(done, total)`` is called after every round.
    """
    optimizers = {REFERENCE: _prepared(preset, device, lambda m: torch.optim.AdamW(m.parameters(), lr=1e-4))}
    for name, algorithm in variants(density).items():
        optimizers[name] = _prepared(preset, device, lambda m, a=algorithm: Frugal.from_config(m, a, lr=1e-4))  # type: ignore[misc]
    seconds: dict[str, list[float]] = {name: [] for name in optimizers}
    for done in range(rounds + 2):
        for name, optimizer in optimizers.items():
            seconds[name].append(_timed(optimizer.step, device))
        if progress is not None:
            progress(done + 1, rounds + 2)
    medians = {name: float(np.median(times[2:])) for name, times in seconds.items()}
    reference = medians[REFERENCE]
    return [Timing(n, medians[n], medians[n] / reference, max(seconds[n][2:]) / medians[n]) for n in optimizers]


def _prepared(
    preset: str, device: torch.device, make: Callable[[torch.nn.Module], torch.optim.Optimizer]
) -> torch.optim.Optimizer:
    model = build_model(SHAPES[preset], sequence_length=256).to(device)
    generator = torch.Generator(device).manual_seed(0)
    for parameter in model.parameters():
        parameter.grad = 1e-3 * torch.randn(parameter.shape, generator=generator, device=device)
    return make(model)


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

    name = "bench"
    question = "Is a step of FRUGAL, on blocks with signSGD off them, as quick as a step of AdamW?"
    by_cell = False

    def measure(self, _: None, run: Run) -> pd.DataFrame:
        """``name``, ``seconds``, ``ratio`` and ``slowest`` of every optimizer."""
        import pandas as pd

        rows = bench(self.preset, self.density, self.rounds, self.device, run.progress)
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
