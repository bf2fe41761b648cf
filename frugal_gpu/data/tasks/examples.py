"""The rows of a task as sequences of tokens: padded at the right to the longest of a batch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from frugal_gpu.data.batches import PADDING, Ids, Sequences

__all__ = ["Answers", "Examples", "Labels"]

MULTIPLE = 8
"""Batches are padded to a multiple of so many tokens, which matrix units of GPUs like."""


@dataclass(frozen=True)
class Examples(Sequences):
    """Row i is the ids ``stream[begins[i] : begins[i + 1]]``, at most ``length``; ``separator`` pads, and never ends one."""

    begins: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.begins) - 1

    def row(self, index: int) -> Ids:
        """The ids of one row."""
        return self.stream[self.begins[index] : self.begins[index + 1]]

    def read(self, indices: Iterable[int]) -> int:
        """Number of tokens that the model is shown in some rows."""
        return sum(len(self.row(i)) for i in indices)

    def padded(self, rows: list[Ids], padding: int) -> NDArray[np.int64]:
        """The rows one under another, shape (len(rows), longest)."""
        longest = max(map(len, rows))
        found = np.full((len(rows), -(-longest // MULTIPLE) * MULTIPLE), padding, dtype=np.int64)
        for place, row in zip(found, rows, strict=True):
            place[: len(row)] = row
        return found


@dataclass(frozen=True)
class Labels(Examples):
    """Rows with a ``label`` each, one of several classes, or a real number (``regression``). Each row weighs the same."""

    label: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    regression: bool = False

    def predicted(self, indices: Iterable[int]) -> int:
        """Number of rows."""
        return sum(1 for _ in indices)

    def batch(self, indices: Iterable[int]) -> tuple[Tensor, Tensor]:
        """Inputs, shape (rows, longest), and labels, shape (rows,)."""
        chosen = list(indices)
        inputs = self.padded([self.row(i) for i in chosen], self.separator or 0)
        labels = torch.from_numpy(self.label[chosen])
        return torch.from_numpy(inputs), labels.float() if self.regression else labels.long()

    def model_inputs(self, inputs: Tensor) -> dict[str, Tensor]:
        """The mask of what is no padding: all up to the last token that is none."""
        real = torch.ne(inputs, self.separator or 0)
        return {"attention_mask": real.flip(1).cummax(dim=1).values.flip(1).long()}

    def summed_loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Σ −log p of the labels, or Σ (prediction − label)²."""
        if self.regression:
            return nn.functional.mse_loss(logits.squeeze(-1), targets, reduction="sum")
        return nn.functional.cross_entropy(logits, targets, reduction="sum")


@dataclass(frozen=True)
class Answers(Examples):
    """Prompts with their responses: each token predicts the next, of all of a row or of its response alone (``answers_only``).

    ``prompts``: how many tokens of each row are its prompt's. ``answers``: by which responses are judged.
    """

    prompts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    answers: tuple[str, ...] = ()
    answers_only: bool = False

    def predicted(self, indices: Iterable[int]) -> int:
        """Number of tokens that are predicted."""
        chosen = np.fromiter(indices, dtype=np.int64)
        lengths = np.diff(self.begins)[chosen]
        return int((lengths - (self.prompts[chosen] if self.answers_only else 1)).sum())

    def batch(self, indices: Iterable[int]) -> tuple[Tensor, Tensor]:
        """Inputs and targets, both of shape (rows, longest − 1). Nothing is predicted from or at the padding."""
        chosen = list(indices)
        rows = [self.row(i) for i in chosen]
        inputs = self.padded([row[:-1] for row in rows], self.separator or 0)
        targets = self.padded([row[1:] for row in rows], PADDING)
        if self.answers_only:
            for place, i in zip(targets, chosen, strict=True):
                place[: self.prompts[i] - 1] = PADDING
        return torch.from_numpy(inputs), torch.from_numpy(targets)
