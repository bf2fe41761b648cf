"""Memory of a training step with gradients freed as they arrive, and with all of them kept. A table of docs/benchmarks.md.

``python -m benchmarks in_backward``, some minutes of one core: a LLaMA-60M on the CPU, FRUGAL on blocks, the trainer's step.
``predicted``: bytes of gradients that ``frugal-gpu memory`` counts. ``beside``: the most that torch has given out during a step
beside what was there before it (weights and state): gradients and activations together. ``resident``: the most that the process
has held, Python and libraries included. Every row is a process of its own.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd

import frugal_theory as ft
from frugal_theory.studies.study import Answer, Run

SEQUENCES = (1, 4, 16)
"""Of 64 tokens in a batch: activations grow with them, gradients do not."""

MIB = 2**20

TABLES: dict[str, Any] = {
    "algorithm": {"density": 0.25, "update_gap": 200},
    "data": {"source": "markov", "tokens": 100_000},
    "model": {"preset": "llama-60m"},
    "training": {"steps": 100, "sequence_length": 64, "learning_rate": 1e-4, "device": "cpu", "threads": 1},
}


def measured(sequences: int, update_in_backward: bool) -> dict[str, float]:
    """Two steps, then the one that is watched: MiB ``predicted``, ``beside`` and ``resident``."""
    import torch

    from frugal_gpu.studies.bench import peak_bytes
    from frugal_gpu.studies.memory import memory_table
    from frugal_gpu.train.speed import peak_memory
    from frugal_gpu.train.start import corpus_of, start
    from frugal_gpu.train.step import take_step

    training = {**TABLES["training"], "batch_size": sequences, "update_in_backward": update_in_backward}
    experiment = ft.parse({"name": "in_backward", **TABLES, "training": training})
    assert experiment.training is not None
    run = start(experiment, experiment.training, 1e-4, corpus=corpus_of(experiment, experiment.training))
    for step in (1, 2):
        take_step(run, step)
    cpu = torch.device("cpu")
    resident = peak_memory(cpu)  # before the watching, which takes memory itself
    assert resident is not None
    beside, predicted = peak_bytes(lambda: take_step(run, 3), cpu), memory_table(experiment)[-1].gradients
    return {"predicted": predicted / MIB, "beside": beside / MIB, "resident": resident / MIB}


class InBackward:
    """A row a size of batch and way to step; MiB."""

    name = "in_backward"
    question = "Does a step take less memory when each parameter is stepped as its gradient arrives?"
    by_cell = False

    def measure(self, _: None, run: Run) -> pd.DataFrame:
        """A process a row: what one has held at the most says nothing of the next."""
        settings = [(size, inside) for size in SEQUENCES for inside in (False, True)]
        rows = []
        with tempfile.TemporaryDirectory() as folder:
            os.environ.setdefault("FRUGAL_LAB_CACHE", str(Path(folder)))
            for done, setting in enumerate(settings):
                with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as alone:
                    found = alone.submit(measured, *setting).result()
                rows.append({**dict(zip(("sequences", "in_backward"), setting, strict=True)), **found})
                run.progress(done + 1, len(settings))
        return pd.DataFrame(rows)

    def draw(self, _: pd.DataFrame) -> dict[str, Any]:
        """A table of six rows is not drawn."""
        return {}

    def answer(self, table: pd.DataFrame) -> Answer:
        """By the smallest batch, where gradients weigh most."""
        saved = table.pivot_table("beside", "sequences", "in_backward")
        less = saved[False] - saved[True]
        words = "; ".join(f"{size} sequences: {mib:.0f}" for size, mib in less.items())
        return Answer(f"MiB less beside weights and state: {words}.", "yes" if (less > 0).any() else "no")


STUDY = InBackward()
