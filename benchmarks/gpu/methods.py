"""What the study trains: systems with the settings of their papers, and the pieces in which it is done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from frugal_theory.config import Algorithm, Experiment
from frugal_theory.config.load import parse
from frugal_theory.config.registry import SYSTEMS

METHODS: dict[str, dict[str, Any]] = {
    "AdamW": {"system": "adamw"},
    "FRUGAL ρ = ¼": {"system": "frugal", "density": 0.25, "order": "descending"},
    "GaLore": {"system": "galore"},
    "BAdam": {"system": "badam"},
    "FRUGAL ρ = 0": {"system": "frugal", "density": 0.0},
    "signSGD": {"system": "signsgd"},
}
"""The [algorithm] of each: what is not said, learning rate included, is the system's own (docs/systems.md)."""

PERIODS = 8
"""Update gap: an eighth of the run, for every system that has one. The papers' 200 steps are a thousandth of theirs."""

TRAINING: dict[str, Any] = {
    "batch_size": 256,
    "sequence_length": 256,
    "precision": "bf16",
    "keep_best": False,
    "checkpoint_every": 1_000_000,
}
"""65,536 tokens a step. Warm-up over a tenth of the steps, then a cosine to a tenth of the peak: the trainer's defaults."""

EVALUATED = 3
"""Batches of one evaluation: whole ones, or a compiled model would be compiled for a part of one, too."""

PROBE_ROWS = 32
"""Sequences of one measurement. Curvature holds the graph of a gradient of them: 256 would not fit beside the model."""


@dataclass(frozen=True)
class Piece:
    """A part of the study: methods on a model, at multiples of their learning rates, on seeds, compiled or not."""

    preset: str
    steps: int
    methods: tuple[str, ...] = tuple(METHODS)
    factors: tuple[float, ...] = (1.0,)
    seeds: tuple[int, ...] = (0,)
    compiled: tuple[bool, ...] = (False,)
    batch_size: int = 256
    evaluations: int = 4
    probes: bool = True


PIECES = {
    1: Piece("llama-60m", 400, ("AdamW", "FRUGAL ρ = ¼", "GaLore")),
    2: Piece("llama-60m", 400, ("BAdam", "FRUGAL ρ = 0", "signSGD")),
    3: Piece("llama-130m", 30, ("AdamW", "FRUGAL ρ = ¼"), compiled=(False, True), batch_size=128, evaluations=1, probes=False),
    4: Piece("llama-60m", 400, factors=(3.0,)),
    5: Piece("llama-60m", 400, factors=(1 / 3,)),
    6: Piece("llama-60m", 400, seeds=(1, 2)),
}
"""1 and 2: the comparison. 3: speed. 4 and 5: other learning rates. 6: other seeds."""

TINY_SHAPE = {"vocabulary": 300, "hidden_size": 16, "intermediate_size": 24, "layers": 2, "heads": 2}


@dataclass(frozen=True)
class Trial:
    """One training run."""

    piece: int
    method: str
    factor: float = 1.0
    seed: int = 0
    compiled: bool = False

    @property
    def name(self) -> str:
        more = f"{f', {self.factor:.2g} × rate' if self.factor != 1 else ''}{', compiled' if self.compiled else ''}"
        return f"{self.piece}: {self.method}{more}, seed {self.seed}"


def trials_of(number: int) -> Iterator[Trial]:
    """The runs of a piece, every method at the first setting before any at the next."""
    piece = PIECES[number]
    for compiled in piece.compiled:
        for factor in piece.factors:
            for seed in piece.seeds:
                yield from (Trial(number, method, factor, seed, compiled) for method in piece.methods)


def experiment(trial: Trial, tiny: bool) -> Experiment:
    """Its experiment. Every run of a piece reads the same tokens in the same order, for as many steps."""
    piece = PIECES[trial.piece]
    steps = 6 if tiny else piece.steps
    training = {
        **TRAINING,
        "batch_size": piece.batch_size,
        "steps": steps,
        "evaluate_every": max(1, steps // piece.evaluations),
        "evaluation_tokens": EVALUATED * piece.batch_size * TRAINING["sequence_length"],
        "compile": trial.compiled,
    }
    model: dict[str, Any] = {"preset": piece.preset}
    if tiny:
        training |= {"batch_size": 8, "sequence_length": 32, "evaluation_tokens": 500, "device": "cpu", "threads": 1}
        model |= TINY_SHAPE
    read = steps * training["batch_size"] * training["sequence_length"]
    tables: dict[str, dict[str, Any]] = {
        "algorithm": _algorithm(trial, steps),
        "model": model,
        "data": {"source": "python-sources", "tokens": max(read, 2_000 if tiny else 6_000_000), "validation_fraction": 0.03},
        "training": training,
    }
    if piece.probes:
        tables["probes"] = {"batch_size": 8 if tiny else PROBE_ROWS} | ({"every": 6} if tiny else {})
    return parse({"name": "gpu-study", "seed": trial.seed, **tables}, trial.name)


def _algorithm(trial: Trial, steps: int) -> dict[str, Any]:
    given = METHODS[trial.method]
    system = SYSTEMS[given["system"]]
    own: Any = Algorithm.model_validate(given).learning_rate
    gap = {"update_gap": max(2, steps // PERIODS)} if not system.allowed or "update_gap" in system.allowed else {}
    return {**given, **gap, "learning_rate": trial.factor * own}
