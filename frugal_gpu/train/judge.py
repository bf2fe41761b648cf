"""The loss of a trained model on a text."""

from __future__ import annotations

import torch
from torch import nn

from frugal_gpu.data.batches import PADDING
from frugal_gpu.data.text import check_source
from frugal_gpu.data.tokens import prepare
from frugal_gpu.model.build import vocabulary_of
from frugal_gpu.train.precision import arithmetic
from frugal_gpu.train.start import corpus_of
from frugal_gpu.train.trained import Trained
from frugal_theory.config import Model, Training

__all__ = ["judge"]

ROWS = 16
"""Sequences that are computed together."""


@torch.no_grad()
def judge(trained: Trained, source: str | None = None, tokens: int | None = None) -> tuple[float, int]:
    """Mean −log p a token, in nats, and the number of tokens: of the run's validation text, or of all of another ``source``,
    in the run's tokens. Raises :class:`ExperimentError` for a text that cannot be read.
    """
    experiment, training = trained.experiment, trained.experiment.training or Training()
    if source is None:
        parts = [corpus_of(experiment, training).validation]
    else:
        changes = {"source": source, "validation": None, "tokenizer": str(trained.tokenizer)}
        data = experiment.data.model_copy(update=changes)
        check_source(data)
        vocabulary = vocabulary_of(experiment.model or Model())
        corpus = prepare(data, experiment.seed, vocabulary, training.sequence_length, tokens or training.evaluation_tokens or 0)
        parts = [corpus.train, corpus.validation]
    cap = tokens or (training.evaluation_tokens if source is None else None)
    device = torch.device("cuda" if torch.cuda.is_available() and training.device != "cpu" else "cpu")
    model, total, count = trained.model.to(device), 0.0, 0
    for packed in parts:
        rows = len(packed) if cap is None else min(len(packed), max(0, -(-(cap - count) // packed.length)))
        for begin in range(0, rows, ROWS):
            indices = range(begin, min(rows, begin + ROWS))
            inputs, targets = (tensor.to(device) for tensor in packed.batch(indices))
            with arithmetic(training.precision, device):
                logits = model(input_ids=inputs, **packed.model_inputs(inputs)).logits.float()
            summed = nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=PADDING, reduction="sum")
            total += float(summed)
            count += packed.predicted(indices)
    return total / count, count
