"""Tokens a second of the trainer, over a plain PyTorch loop of the same model, batches and learning rate.

``python -m benchmarks training``, three minutes. Loops take a step each in every round, so that whatever else the
machine does touches all alike, in an order that is drawn anew: in a fixed one, the plain loop first, the trainer has some 4 %
less. A ratio is that of summed times. The plain loop has nothing but forward, backward and
``torch.optim.AdamW(fused=True)``, with batches that lie in memory.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from frugal_gpu.train import loop
from frugal_gpu.train.log import Log
from frugal_gpu.train.progress import Progress
from frugal_gpu.train.start import corpus_of, start
from frugal_gpu.train.step import Run as Training
from frugal_gpu.train.step import batch_of
from frugal_theory.config.load import parse
from frugal_theory.studies.study import Answer, Run

ROUNDS, WARM_UP = 48, 4
GOALS = {"AdamW": 0.97, "AdamW, probes at their default": 0.92}
"""Of the tokens a second of the plain loop."""

LOADING = 0.01
"""Share of a step that making its batch may take."""

PLAIN = "plain loop, torch.optim.AdamW"

TRAINED: dict[str, dict[str, Any]] = {
    "AdamW": {},
    "AdamW, probes at their default": {"probes": {}},
    "FRUGAL, blocks of density 0.25": {"algorithm": {"density": 0.25, "update_gap": 200}},
    "FRUGAL, columns of density 0.25": {"algorithm": {"density": 0.25, "update_gap": 200, "subspace": "columns"}},
}

EXPERIMENT = """
name = "bench"

[algorithm]
system = "adamw"

[data]
source = "markov"
tokens = 400000

[model]
preset = "llama-tiny"

[training]
steps = 100000
warmup_steps = 10
learning_rate = 1e-3
batch_size = 16
sequence_length = 256
"""


class Speed:
    """A row a loop: seconds a step, tokens a second over the plain loop's in the same rounds, the share that makes batches."""

    name = "training"
    question = "Is the trainer as fast as a plain loop?"
    by_cell = False

    def measure(self, _: None, run: Run) -> pd.DataFrame:
        """All loops in turn."""
        return measured({}, ROUNDS, run.progress)

    def draw(self, _: pd.DataFrame) -> dict[str, Any]:
        """A table of five ratios is not drawn."""
        return {}

    def answer(self, table: pd.DataFrame) -> Answer:
        """By the two goals, and that of making batches."""
        ratios, loading = dict(zip(table["loop"], table["ratio"], strict=True)), table["loading"].max()
        met = all(ratios[name] >= goal for name, goal in GOALS.items()) and loading <= LOADING
        words = ", ".join(f"{name} {ratios[name]:.3f} (goal {goal})" for name, goal in GOALS.items())
        return Answer(
            f"Of the plain loop's tokens a second: {words}; batches take {loading:.2%} of a step.", "yes" if met else "no"
        )


def measured(changes: dict[str, Any], rounds: int, progress: Callable[[int, int], None] | None = None) -> pd.DataFrame:
    """Time ``rounds`` steps of every loop, in turn, on the experiment above with ``changes``."""
    with tempfile.TemporaryDirectory() as folder, _cache(Path(folder)):
        loops, loading = _loops(changes, Path(folder))
        seconds: dict[str, list[float]] = {name: [] for name in (*loops, "loading")}
        steps, rng = {**loops, "loading": loading}, np.random.default_rng(0)
        for done in range(rounds + WARM_UP):
            for name in rng.permutation(list(steps)):
                seconds[name].append(_timed(steps[name], done + 1))
            if progress is not None:
                progress(done + 1, rounds + WARM_UP)
    kept = {name: np.array(times[WARM_UP:]) for name, times in seconds.items()}
    rows = [
        {
            "loop": name,
            "seconds": float(np.median(kept[name])),
            "ratio": float(kept[PLAIN].sum() / kept[name].sum()),
            "loading": float(kept["loading"].sum() / kept[name].sum()),
        }
        for name in loops
    ]
    return pd.DataFrame(rows)


@contextmanager
def _cache(folder: Path) -> Iterator[None]:
    before = os.environ.get("FRUGAL_LAB_CACHE")
    os.environ["FRUGAL_LAB_CACHE"] = str(folder / "cache")
    try:
        yield
    finally:
        os.environ.pop("FRUGAL_LAB_CACHE")
        if before is not None:
            os.environ["FRUGAL_LAB_CACHE"] = before


def _loops(changes: dict[str, Any], folder: Path) -> tuple[dict[str, Callable[[int], object]], Callable[[int], object]]:
    """The steps of every loop, and the making of a batch alone."""
    found: dict[str, Callable[[int], object]] = {}
    runs = {name: _run(changes, own) for name, own in TRAINED.items()}
    first = next(iter(runs.values()))
    found[PLAIN] = _plain(first, WARM_UP + ROUNDS)
    for number, (name, run) in enumerate(runs.items()):
        log, quiet = Log(folder / f"{number}.jsonl"), Progress()
        quiet.start("", run.training.steps, 0, 0, 0.0)
        found[name] = lambda step, run=run, log=log, quiet=quiet: loop.log_step(run, step, log, quiet)  # type: ignore[misc]
    return found, lambda step: first.corpus.train.batch(batch_of(first, step))


def _run(changes: dict[str, Any], own: dict[str, Any]) -> Training:
    table = dict(own)
    system = {} if "algorithm" not in own else {"algorithm": table.pop("algorithm")}
    experiment = parse(EXPERIMENT, "bench.toml", {**changes, **system, **table})
    assert experiment.training is not None
    run = start(experiment, experiment.training, 1e-3, corpus=corpus_of(experiment, experiment.training))
    run.wrapped.train()
    return run


def _plain(like: Training, steps: int) -> Callable[[int], object]:
    """A step of the loop that anyone would write."""
    import copy

    model, device = copy.deepcopy(like.model).train(), like.accelerator.device
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0, fused=True)
    batches = [tuple(tensor.to(device) for tensor in like.corpus.train.batch(batch_of(like, k))) for k in range(1, steps + 1)]
    arithmetic = torch.autocast(device.type, torch.bfloat16, enabled=like.training.precision == "bf16")

    def step(number: int) -> None:
        inputs, targets = batches[(number - 1) % steps]
        with arithmetic:
            logits = model(input_ids=inputs).logits.float()
        nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten()).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def _timed(step: Callable[[int], object], number: int) -> float:
    begin = time.perf_counter()
    step(number)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - begin


STUDY = Speed()
