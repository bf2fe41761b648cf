"""The end of a run: its summary; and what is said at its start."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from frugal_gpu.data.batches import Sequences
from frugal_gpu.data.tasks.examples import Answers
from frugal_gpu.optim.state import state_bytes_held
from frugal_gpu.train import practice
from frugal_gpu.train.log import Log, read_metrics
from frugal_gpu.train.precision import arithmetic
from frugal_gpu.train.run_folder import write_summary
from frugal_gpu.train.scores import respond
from frugal_gpu.train.speed import speed
from frugal_gpu.train.step import Run, assess, evaluated
from frugal_theory.config import Experiment
from frugal_theory.config.version import installed

__all__ = ["describe", "finish", "perplexity"]

AT_ONCE = 16
"""Prompts that are answered together."""

LARGEST_EXPONENT = 700.0
"""exp of more than this overflows a double; perplexities beyond are reported as exp(700)."""


def finish(
    run: Run, experiment: Experiment, folder: Path, log: Log, settings: dict[str, Any], unigram: float | None
) -> dict[str, Any]:
    """The evidence, and summary.json last: it says that the run is complete."""
    lines = read_metrics(log.path)
    probed = practice.finish(run, experiment, folder, lines)
    parameters = sum(p.numel() for p in run.model.parameters())
    summary = {
        "steps": run.training.steps,
        "parameters": parameters,
        "vocabulary": run.corpus.vocabulary,
        "tokens": run.tokens,
        "skipped_steps": run.skipped,
        **({} if unigram is None else {"unigram_perplexity": unigram}),
        "entropy_rate": run.corpus.entropy_rate,
        "documents": run.corpus.documents,
        "skipped_rows": run.corpus.skipped,
        **measured(run, lines),
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


def measured(run: Run, lines: list[dict[str, Any]]) -> dict[str, Any]:
    """What the evaluations came to: the perplexity of a text; loss and metrics of a task, and those of its further parts."""
    task = run.task
    keys = ["perplexity"] if task is None else ["loss", *(name for name in task.metrics if task.labels)]
    found: dict[str, Any] = {} if task is None else {"task": run.corpus.task}
    for key in keys:
        values = [line[f"validation_{key}"] for line in lines if f"validation_{key}" in line]
        best = min(values) if key in ("perplexity", "loss") else max(values)
        found |= {f"{when}_validation_{key}": value for when, value in (("initial", values[0]), ("final", values[-1]))}
        found[f"best_validation_{key}"] = best
    if task is None:
        return found
    if not task.labels:
        found["final_validation_accuracy"] = answer_rate(run, run.corpus.validation, evaluated(run))
    others = {name: part for name, part in run.corpus.others.items() if len(part)}
    each = {name: part_scores(run, part) for name, part in others.items()}
    return {**found, **({"others": each} if each else {})}


def part_scores(run: Run, part: Sequences) -> dict[str, float]:
    """What a task measures of a part, by name."""
    if isinstance(part, Answers):
        return {"accuracy": answer_rate(run, part, len(part))}
    return assess(run, part, len(part))[1]


def answer_rate(run: Run, part: Sequences, count: int) -> float:
    """The share of the first ``count`` rows whose answer the model gives. Every process answers its share."""
    assert isinstance(part, Answers)
    accelerator, tokenizer = run.accelerator, Tokenizer.from_file(str(run.corpus.tokenizer))
    mine = list(range(accelerator.process_index, count, accelerator.num_processes))
    right = torch.zeros((), dtype=torch.float64, device=accelerator.device)
    run.model.eval()
    for begin in range(0, -(-count // accelerator.num_processes), AT_ONCE):
        indices = mine[begin : begin + AT_ONCE]
        if not indices and not run.shares:
            break
        with arithmetic(run.training.precision, accelerator.device):
            found = respond(run.model, part, indices or [0], tokenizer, accelerator.device, synced_gpus=run.shares)
        right += sum(found) if indices else 0
    return float(accelerator.reduce(right, "sum")) / count


def describe(run: Run, unigram: float | None, step: int) -> str:
    """What is about to be trained, for the reader of the terminal."""
    corpus = run.corpus
    train, validation = corpus.train.tokens, corpus.validation.tokens
    size = sum(p.numel() for p in run.model.parameters())
    text = f"{size:,} parameters on {_device_name(run.accelerator.device)}, {run.training.precision}; "
    if unigram is None:
        others = "".join(f", {len(part):,} of {name}" for name, part in corpus.others.items())
        text += f"{corpus.task}: {len(corpus.train):,} training rows, {len(corpus.validation):,} for validation{others}"
    else:
        text += (
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
