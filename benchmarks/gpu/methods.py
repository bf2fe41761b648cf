"""What the study trains: methods that share a trainer, and the pieces in which it is done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from frugal_theory.config.load import parse

EVERYWHERE = {"embeddings": "state_full", "norms": "state_full", "output": "state_full"}
NOWHERE = {"embeddings": "state_free", "norms": "state_free", "output": "state_free"}

METHODS: dict[str, dict[str, Any]] = {
    "AdamW": {"density": 1.0, **EVERYWHERE},
    "FRUGAL blocks": {"subspace": "blocks"},
    "FRUGAL columns": {"subspace": "columns"},
    "GaLore-like": {"subspace": "svd", "state_free": "none", "on_update": "keep"},
    "BAdam-like": {"subspace": "blocks", "state_free": "none", "order": "descending"},
    "signSGD": {"density": 0.0, **NOWHERE},
}
"""The [algorithm] of each. All but the first and the last: density 1/4, embeddings, norms and output by AdamW."""

TRAINING = {"batch_size": 16, "sequence_length": 256, "evaluation_tokens": 30_000, "checkpoint_every": 1_000_000}


@dataclass(frozen=True)
class Piece:
    """A part of the study: a model, trained by every method at every rate, or at the best rate of another piece."""

    preset: str
    steps: int
    rates: tuple[float, ...] = ()
    seeds: tuple[int, ...] = (0,)
    best_of: int | None = None


PIECES = {
    1: Piece("llama-9m", 400, rates=(1e-3, 3e-3, 3e-4, 1e-2)),
    2: Piece("llama-9m", 400, seeds=(1, 2, 3), best_of=1),
    3: Piece("llama-60m", 300, rates=(1e-3, 3e-4, 3e-3)),
}
"""Each about five minutes on an H100 or less. Rates are in the order in which they are run, all methods at each."""

TINY_SHAPE = {"vocabulary": 300, "hidden_size": 16, "intermediate_size": 24, "layers": 1, "heads": 2}


@dataclass(frozen=True)
class Trial:
    """One training run."""

    piece: int
    method: str
    rate: float
    seed: int

    @property
    def name(self) -> str:
        return f"{self.piece}-{self.method.replace(' ', '-').lower()}-{self.rate:g}-{self.seed}"


def experiment(trial: Trial, tiny: bool, gpu: bool) -> Any:
    """Its experiment. Every run of a piece reads the same tokens in the same order, for as many steps."""
    piece = PIECES[trial.piece]
    steps = 6 if tiny else piece.steps
    training = {**TRAINING, "steps": steps, "learning_rate": trial.rate, "evaluate_every": max(1, steps // 4)}
    if gpu:
        training["precision"] = "bf16"
    model: dict[str, Any] = {"preset": piece.preset, "vocabulary": 4096}
    if tiny:
        training |= {"batch_size": 4, "sequence_length": 32, "evaluation_tokens": 500, "device": "cpu", "threads": 1}
        model |= TINY_SHAPE
    tables: dict[str, dict[str, Any]] = {
        "algorithm": {"update_gap": max(2, steps // 8), **METHODS[trial.method]},
        "model": model,
        "training": training,
    }
    keys = {f"{table}.{key}": value for table, entries in tables.items() for key, value in entries.items()}
    return parse(f'name = "gpu-study"\nseed = {trial.seed}\n', "gpu-study", keys)
