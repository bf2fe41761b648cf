"""The loss of a trained model on a text, and how well it does on a task."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from tokenizers import Tokenizer
from torch import Tensor

from frugal_gpu.data.batches import Sequences
from frugal_gpu.data.tasks.examples import Answers, Labels
from frugal_gpu.data.tasks.prepare import part_of, task_of
from frugal_gpu.data.text import check_source, source_of
from frugal_gpu.data.tokens import prepare
from frugal_gpu.model.build import padding_of, vocabulary_of
from frugal_gpu.train.precision import arithmetic
from frugal_gpu.train.scores import respond, scores
from frugal_gpu.train.start import corpus_of
from frugal_gpu.train.trained import Trained
from frugal_theory.config import Model, Training
from frugal_theory.config.load import ExperimentError

__all__ = ["judge", "judge_task"]

ROWS = 16
"""Sequences that are computed together."""


@torch.no_grad()
def judge(trained: Trained, source: str | None = None, tokens: int | None = None) -> tuple[float, int]:
    """Mean −log p a token, in nats, and the number of tokens: of the run's validation text, or of all of another ``source``,
    in the run's tokens. Raises :class:`ExperimentError` for a text that cannot be read, and for one without an end where no
    ``tokens`` are given.
    """
    experiment, training = trained.experiment, trained.experiment.training or Training()
    if source is None:
        parts = [corpus_of(experiment, training).validation]
    else:
        changes = {"source": source, "validation": None, "tokens": None, "tokenizer": str(trained.tokenizer)}
        data = experiment.data.model_copy(update=changes)
        if not source:
            raise ExperimentError('--data "": is empty; allowed: what data.source may be')
        check_source(data)
        if source_of(data).endless and tokens is None:
            raise ExperimentError(f"--tokens: is missing; the text of --data {source} has no end")
        vocabulary = vocabulary_of(experiment.model or Model())
        corpus = prepare(data, experiment.seed, vocabulary, training.sequence_length, tokens or 0, whole=True)
        parts = [corpus.train, corpus.validation]
    cap = tokens or (training.evaluation_tokens if source is None else None)
    total, count = 0.0, 0
    for packed in parts:
        rows = len(packed) if cap is None else min(len(packed), max(0, -(-(cap - count) // packed.length)))
        total += sum(float(packed.summed_loss(logits, targets)) for logits, targets in _computed(trained, packed, rows))
        count += packed.predicted(range(rows))
    return total / count, count


@torch.no_grad()
def judge_task(trained: Trained, source: str | None = None) -> tuple[dict[str, float], int]:
    """The loss and the metrics of the run's task by name, and the number of rows: of the run's validation part, or of a file of
    rows, or of the validation part in another folder. Raises :class:`ExperimentError` for rows that cannot be read.
    """
    experiment, training = trained.experiment, trained.experiment.training or Training()
    model, task = experiment.model or Model(), task_of(experiment.data)
    assert task is not None
    if source is None:
        rows, cap = corpus_of(experiment, training).validation, training.evaluation_tokens
    else:
        data = experiment.data.model_copy(update={"tokenizer": str(trained.tokenizer)})
        rows, cap = part_of(data, source, training.sequence_length, padding_of(model)), None
    count = len(rows) if cap is None else min(len(rows), -(-cap // rows.length))
    total, made = 0.0, []
    for logits, targets in _computed(trained, rows, count):
        total += float(rows.summed_loss(logits, targets))
        if isinstance(rows, Labels):
            made.append(logits)
    loss = total / rows.predicted(range(count))
    if isinstance(rows, Labels):
        return {"loss": loss, **scores(task, rows, torch.cat(made))}, count
    assert isinstance(rows, Answers)
    tokenizer, device = Tokenizer.from_file(str(trained.tokenizer)), _device(training)
    right = 0
    for begin in range(0, count, ROWS):
        indices = list(range(begin, min(count, begin + ROWS)))
        with arithmetic(training.precision, device):
            right += sum(respond(trained.model, rows, indices, tokenizer, device))
    return {"loss": loss, "accuracy": right / count}, count


def _computed(trained: Trained, packed: Sequences, rows: int) -> Iterator[tuple[Tensor, Tensor]]:
    """What the model makes of the first ``rows`` sequences, in float32, and what it should have made."""
    training = trained.experiment.training or Training()
    device = _device(training)
    model = trained.model.to(device)
    for begin in range(0, rows, ROWS):
        inputs, targets = (tensor.to(device) for tensor in packed.batch(range(begin, min(rows, begin + ROWS))))
        with arithmetic(training.precision, device):
            yield model(input_ids=inputs, **packed.model_inputs(inputs)).logits.float(), targets


def _device(training: Training) -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() and training.device != "cpu" else "cpu")
