"""The end of a run: its summary; and what is said at its start."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch

from frugal_gpu.optim.state import state_bytes_held
from frugal_gpu.train import practice
from frugal_gpu.train.log import Log, read_metrics
from frugal_gpu.train.run_folder import write_summary
from frugal_gpu.train.speed import speed
from frugal_gpu.train.step import Run
from frugal_theory.config import Experiment
from frugal_theory.config.version import installed

__all__ = ["describe", "finish", "perplexity"]

LARGEST_EXPONENT = 700.0
"""exp of more than this overflows a double; perplexities beyond are reported as exp(700)."""


def finish(
    run: Run, experiment: Experiment, folder: Path, log: Log, settings: dict[str, Any], unigram: float
) -> dict[str, Any]:
    """The evidence, and summary.json last: it says that the run is complete."""
    lines = read_metrics(log.path)
    probed = practice.finish(run, experiment, folder, lines)
    measured = [line["validation_perplexity"] for line in lines if "validation_perplexity" in line]
    parameters = sum(p.numel() for p in run.model.parameters())
    summary = {
        "steps": run.training.steps,
        "parameters": parameters,
        "vocabulary": run.corpus.vocabulary,
        "tokens": run.tokens,
        "skipped_steps": run.skipped,
        "unigram_perplexity": unigram,
        "entropy_rate": run.corpus.entropy_rate,
        "documents": run.corpus.documents,
        "skipped_rows": run.corpus.skipped,
        "initial_validation_perplexity": measured[0],
        "final_validation_perplexity": measured[-1],
        "best_validation_perplexity": min(measured),
        "optimizer_state_bytes": state_bytes_held(run.optimizer),
        "adamw_state_bytes": 2 * 4 * parameters,
        "seconds": round(run.seconds, 3),
        **probed,
        **speed(
            run.model,
            run.accelerator.device,
            run.accelerator.num_processes,
            run.training.sequence_length,
            run.tokens,
            run.seconds,
        ),
        "device": _device_name(run.accelerator.device),
        "precision": run.training.precision,
        "versions": _versions(),
        "settings": settings,
    }
    write_summary(folder, summary)
    return summary


def describe(run: Run, unigram: float, step: int) -> str:
    """What is about to be trained, for the reader of the terminal."""
    corpus = run.corpus
    train, validation = corpus.train.tokens, corpus.validation.tokens
    size = sum(p.numel() for p in run.model.parameters())
    text = (
        f"{size:,} parameters on {_device_name(run.accelerator.device)}, {run.training.precision}; "
        f"{train:,} training tokens, {validation:,} for validation, vocabulary {corpus.vocabulary:,}\n"
        f"unigram perplexity {unigram:.2f}: what the token frequencies alone reach"
    )
    if corpus.entropy_rate is not None:
        text += (
            f"\nentropy rate of the language {corpus.entropy_rate:.4f} nats a token: no model's expected loss is less, "
            f"a perplexity of {math.exp(corpus.entropy_rate):.2f}"
        )
    if corpus.skipped:
        text += f'\n{corpus.skipped:,} rows that are no documents were left out (data.bad_rows = "skip")'
    if run.watch is not None and (beyond := run.watch.sentence()):
        text += f"\n{beyond}"
    return f"{text}\ncontinuing after step {step}" if step else text


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def _versions() -> dict[str, str]:
    return {name: installed(name) for name in ("frugal-lab", "torch", "transformers", "tokenizers", "accelerate")}


def perplexity(loss: float) -> float:
    """exp of a mean −log p in nats."""
    return math.exp(min(loss, LARGEST_EXPONENT))
