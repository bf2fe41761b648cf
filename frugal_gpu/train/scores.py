"""How well a model does on a task: its predictions, and what is measured of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from frugal_gpu.data.tasks.commonsense import found
from frugal_gpu.data.tasks.examples import Answers, Labels
from frugal_gpu.data.tasks.task import Task

__all__ = ["METRICS", "respond", "scores"]

Array = NDArray[np.float64]

NEW_TOKENS = 32
"""Tokens of a response, at most."""


def _accuracy(predicted: Array, label: Array) -> float:
    """The share of equal ones."""
    return float(np.mean(predicted == label))


def _f1(predicted: Array, label: Array) -> float:
    """The harmonic mean of precision and recall of class 1; 0 where nothing is right."""
    from sklearn.metrics import f1_score

    return float(f1_score(label, predicted, zero_division=0.0))


def _matthews(predicted: Array, label: Array) -> float:
    """Matthews' correlation; 0 where all predictions are of one class."""
    from sklearn.metrics import matthews_corrcoef

    return float(matthews_corrcoef(label, predicted))


def _pearson(predicted: Array, label: Array) -> float:
    """Pearson's correlation; 0 where either is constant."""
    if np.ptp(predicted) == 0 or np.ptp(label) == 0:
        return 0.0
    return float(np.corrcoef(predicted, label)[0, 1])


def _spearman(predicted: Array, label: Array) -> float:
    """Pearson's correlation of the ranks, ties sharing theirs."""
    from scipy.stats import rankdata

    return _pearson(rankdata(predicted), rankdata(label))


METRICS: dict[str, Callable[[Array, Array], float]] = {
    "accuracy": _accuracy,
    "f1": _f1,
    "matthews": _matthews,
    "pearson": _pearson,
    "spearman": _spearman,
}
"""What a task may measure: of its predictions, classes or numbers, and its labels, both of shape (rows,). Larger is better."""


def scores(task: Task, rows: Labels, logits: Tensor) -> dict[str, float]:
    """The task's metrics by name. ``logits``: of the first rows, shape (number of them, labels)."""
    predicted = logits[:, 0] if rows.regression else logits.argmax(dim=1)
    seen = predicted.double().cpu().numpy()
    return {name: METRICS[name](seen, rows.label[: len(seen)]) for name in task.metrics}


@torch.no_grad()
def respond(
    model: nn.Module, rows: Answers, indices: list[int], tokenizer: Any, device: torch.device, **how: Any
) -> list[bool]:
    """Whether the answer in the model's response, the likeliest token each time, is that of each row.

    ``how``: further arguments of ``generate``. Prompts are padded at the left.
    """
    prompts = [rows.row(i)[: rows.prompts[i]] for i in indices]
    longest = max(map(len, prompts))
    inputs = torch.full((len(prompts), longest), rows.separator or 0, dtype=torch.long)
    mask = torch.zeros_like(inputs)
    for place, shown, prompt in zip(inputs, mask, prompts, strict=True):
        place[longest - len(prompt) :] = torch.from_numpy(prompt.astype(np.int64))
        shown[longest - len(prompt) :] = 1
    own: Any = model
    end = int(rows.row(indices[0])[-1])
    made = own.generate(
        inputs.to(device),
        attention_mask=mask.to(device),
        max_new_tokens=NEW_TOKENS,
        do_sample=False,
        use_cache=True,
        pad_token_id=rows.separator or 0,
        eos_token_id=end,
        **how,
    )
    responses = tokenizer.decode_batch(made[:, longest:].tolist(), skip_special_tokens=True)
    return [found(response) == rows.answers[i].lower() for response, i in zip(responses, indices, strict=True)]
