"""Batches: sequences made of a token stream, the order in which training reads them, and who reads which."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from frugal_theory.algorithm.selection import selection_key, uniform_bits

__all__ = ["PADDING", "Documents", "Ids", "Packed", "Sequences", "batch_indices", "independent_indices", "shard"]

Ids = NDArray[np.integer[Any]]

PADDING = -100
"""The target of a padded position; cross entropy ignores it."""


@dataclass(frozen=True)
class Sequences(ABC):
    """Sequences of ``length`` tokens made of a ``stream`` of N ids, ``separator`` before, between and after its documents."""

    stream: Ids
    length: int
    separator: int | None = None

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def row(self, index: int) -> Ids:
        """The ids of one sequence, up to length + 1 of them: each predicts the next."""

    @property
    def tokens(self) -> int:
        """Number of tokens that all sequences predict."""
        return self.predicted(range(len(self)))

    def predicted(self, indices: Iterable[int]) -> int:
        """Number of tokens that some sequences predict: the last one of a stream, or a document, may be short."""
        return sum(len(self.row(i)) - 1 for i in indices)

    def batch(self, indices: Iterable[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs and targets of sequences, int64, both of shape (len(indices), length).

        The target at position t is the token after the input at t. A short sequence is padded: its inputs with the separator
        (0 if there is none), its targets with ``PADDING``, so that nothing is predicted from or at the padding.
        """
        rows = [self.row(i) for i in indices]
        inputs = np.full((len(rows), self.length), self.separator or 0, dtype=np.int64)
        targets = np.full((len(rows), self.length), PADDING, dtype=np.int64)
        for r, row in enumerate(rows):
            inputs[r, : len(row) - 1] = row[:-1]
            targets[r, : len(row) - 1] = row[1:]
        return torch.from_numpy(inputs), torch.from_numpy(targets)

    def model_inputs(self, inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        """What a model of transformers is given beside the inputs, by name: nothing, unless attention has limits."""
        del inputs
        return {}

    def read(self, indices: Iterable[int]) -> int:
        """Number of tokens that a model is shown in some sequences, as they are counted: those that are predicted."""
        return self.predicted(indices)

    def summed_loss(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Σ −log p over the predicted tokens, in nats."""
        flat = logits.flatten(0, 1)
        return nn.functional.cross_entropy(flat, targets.flatten(), ignore_index=PADDING, reduction="sum")

    def counts(self, vocabulary: int, rows: int | None = None) -> NDArray[np.int64]:
        """How often each token is predicted in the first ``rows`` sequences, or in all: shape (vocabulary,)."""
        found = np.zeros(vocabulary, dtype=np.int64)
        rows = len(self) if rows is None else rows
        for begin in range(0, rows, 1 << 12):
            held = [self.row(i)[1:] for i in range(begin, min(rows, begin + (1 << 12)))]
            found += np.bincount(np.concatenate(held), minlength=vocabulary)
        return found


@dataclass(frozen=True)
class Packed(Sequences):
    """The stream cut into ⌈(N−1)/length⌉ sequences: each token after the first is predicted exactly once.

    ``within``: a token attends to those of its own document alone. A document begins with the separator before it.
    """

    within: bool = False

    def __len__(self) -> int:
        return max(0, -(-(len(self.stream) - 1) // self.length))

    def row(self, index: int) -> Ids:
        """The ids of one sequence; the last one may be short."""
        return self.stream[index * self.length : (index + 1) * self.length + 1]

    @property
    def tokens(self) -> int:
        """Number of tokens that all sequences predict."""
        return max(0, len(self.stream) - 1)

    def predicted(self, indices: Iterable[int]) -> int:
        """Number of tokens that some sequences predict."""
        return sum(min(self.length, len(self.stream) - 1 - i * self.length) for i in indices)

    def counts(self, vocabulary: int, rows: int | None = None) -> NDArray[np.int64]:
        """How often each token is predicted in the first ``rows`` sequences, or in all: shape (vocabulary,)."""
        found = np.zeros(vocabulary, dtype=np.int64)
        end = len(self.stream) if rows is None else min(len(self.stream), rows * self.length + 1)
        for begin in range(1, end, 1 << 24):
            found += np.bincount(self.stream[begin : min(end, begin + (1 << 24))], minlength=vocabulary)
        return found

    def model_inputs(self, inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        """Positions that count from each separator: transformers attends within what they number on, and not beyond.

        A document that began in an earlier sequence is numbered from that sequence's end on.
        """
        if not self.within:
            return {}
        place = torch.arange(inputs.shape[1], device=inputs.device).expand_as(inputs)
        begin = torch.where(torch.eq(inputs, self.separator or 0), place, 0).cummax(dim=1).values
        return {"position_ids": place - begin}


@dataclass(frozen=True)
class Documents(Sequences):
    """One document a sequence, as in the FRUGAL and GaLore papers: its first length − 1 tokens and the separator after them.

    The first token is not predicted, so that a document of n tokens predicts min(n, length − 1). ``limit``: so many documents
    of the stream, from its beginning.
    """

    limit: int | None = None

    @cached_property
    def ends(self) -> NDArray[np.int64]:
        """The places of the separators in the stream, one more than there are documents."""
        chunks = [self.stream[begin : begin + (1 << 24)] for begin in range(0, len(self.stream), 1 << 24)]
        found = np.concatenate([np.flatnonzero(chunk == self.separator) + (n << 24) for n, chunk in enumerate(chunks)])
        return found if self.limit is None else found[: self.limit + 1]

    def __len__(self) -> int:
        return max(0, len(self.ends) - 1)

    def predicted(self, indices: Iterable[int]) -> int:
        """Number of tokens that some documents predict."""
        lengths = np.diff(self.ends)[np.fromiter(indices, dtype=np.int64)] - 1
        return int(np.minimum(lengths, self.length - 1).sum())

    def row(self, index: int) -> Ids:
        """The ids of one document with the separator after them, at most ``length``."""
        begin, end = self.ends[index] + 1, self.ends[index + 1]
        return np.append(self.stream[begin : min(end, begin + self.length - 1)], self.stream[end])


def batch_indices(seed: int, step: int, batch_size: int, count: int, window: int | None = None) -> list[int]:
    """The sequences of step k = 1, 2, …: places (k−1)B … kB−1 of an endless row of shuffled epochs.

    A pure function: each epoch's order of the ``count`` sequences is drawn from (seed, epoch), or, where there is a ``window``,
    in windows of so many sequences, each from (seed, epoch, window): those that are full do not depend on ``count``, so that
    a text that grows leaves the order of what was there.
    """
    places = range((step - 1) * batch_size, step * batch_size)
    return [_at(seed, place // count, place % count, count, window or count) for place in places]


def independent_indices(seed: int, name: str, step: int, size: int, count: int) -> list[int]:
    """``size`` of ``count`` sequences, each drawn uniformly from all of them with replacement: independent of each other and of
    those of other steps and names. A pure function of its arguments."""
    bits = uniform_bits(selection_key(seed, name, step), np.arange(size, dtype=np.int64))
    return [int(number) for number in bits.view(np.uint64) % np.uint64(count)]  # biased by count/2⁶⁴


def _at(seed: int, epoch: int, place: int, count: int, window: int) -> int:
    begin = place // window * window
    name = f"data {begin // window}" if begin else "data"
    return begin + int(_order(seed, name, epoch, min(window, count - begin))[place - begin])


@lru_cache(maxsize=4)  # a batch may straddle two epochs, and a few windows
def _order(seed: int, name: str, epoch: int, count: int) -> NDArray[np.int64]:
    bits = uniform_bits(selection_key(seed, name, epoch), np.arange(count, dtype=np.int64))
    return np.argsort(bits, kind="stable")


def shard(indices: Sequence[int], rank: int, ranks: int) -> list[int]:
    """The share of one process: every ``ranks``-th sequence. The shares of all ranks are the sequences, each once.

    What a batch holds does not depend on the number of processes, so that a run may be resumed by another number.
    """
    return list(indices[rank::ranks])
