"""Batches: sequences cut from a token stream, and the order in which training reads them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from frugal_theory.algorithm.selection import selection_key, uniform_bits

__all__ = ["PADDING", "Ids", "Packed", "batch_indices", "independent_indices"]

Ids = NDArray[np.integer[Any]]

PADDING = -100
"""The target of a padded position; cross entropy ignores it."""


@dataclass(frozen=True)
class Packed:
    """A stream of N token ids cut into ⌈(N−1)/length⌉ sequences."""

    stream: Ids
    length: int

    def __len__(self) -> int:
        return max(0, -(-(len(self.stream) - 1) // self.length))

    def predicted(self, indices: Iterable[int]) -> int:
        """Number of tokens that some sequences predict: the last one of the stream may be short."""
        return sum(min(self.length, len(self.stream) - 1 - i * self.length) for i in indices)

    def batch(self, indices: Iterable[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs and targets of sequences, int64, both of shape (len(indices), length).

        The target at position t is the token after the input at t. The last sequence is padded: its inputs with 0,
        its targets with ``PADDING``.
        """
        rows = [self.stream[i * self.length : (i + 1) * self.length + 1] for i in indices]
        inputs = np.zeros((len(rows), self.length), dtype=np.int64)
        targets = np.full((len(rows), self.length), PADDING, dtype=np.int64)
        for r, row in enumerate(rows):
            inputs[r, : len(row) - 1] = row[:-1]
            targets[r, : len(row) - 1] = row[1:]
        return torch.from_numpy(inputs), torch.from_numpy(targets)


def batch_indices(seed: int, step: int, batch_size: int, count: int) -> list[int]:
    """The sequences of step k = 1, 2, …: places (k−1)B … kB−1 of an endless row of shuffled epochs.

    A pure function: each epoch's order of the ``count`` sequences is drawn from (seed, epoch).
    """
    places = range((step - 1) * batch_size, step * batch_size)
    return [int(_epoch_order(seed, place // count, count)[place % count]) for place in places]


def independent_indices(seed: int, name: str, step: int, size: int, count: int) -> list[int]:
    """``size`` of ``count`` sequences, each drawn uniformly from all of them with replacement: independent of each other and of
    those of other steps and names. A pure function of its arguments."""
    bits = uniform_bits(selection_key(seed, name, step), np.arange(size, dtype=np.int64))
    return [int(number) for number in bits.view(np.uint64) % np.uint64(count)]  # biased by count/2⁶⁴


@lru_cache(maxsize=2)  # a batch may straddle two epochs
def _epoch_order(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    bits = uniform_bits(selection_key(seed, "data", epoch), np.arange(count, dtype=np.int64))
    return np.argsort(bits, kind="stable")
