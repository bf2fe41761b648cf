r"""A language of which everything is known: a Markov chain over words and the end of a document.

From each word the chain goes to one of s successors, drawn for that word, the r-th with probability (1 − q) w_r,
w_r ∝ 1/r, or ends the document with probability q; a document begins with word j with probability ∝ 1/j. The end is the
separator of the token stream, so that the stream itself is the chain. From every state the end can be reached, and from there
every word: the chain has one stationary law π = πP, and its entropy rate

    H = − Σ_i π_i Σ_j P_ij log P_ij   (nats a token)

is the infimum of the expected loss f* over all models (Cover and Thomas, Elements of Information Theory, theorem 4.2.4). One
token of context suffices for it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frugal_gpu.data.source import Reader, Source
from frugal_theory.config import Data
from frugal_theory.config.data import Markov

__all__ = ["SOURCE", "Language", "entropy_rate", "language", "stationary"]

LANES = 256
"""So many documents are drawn side by side."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Language:
    """The law: ``first`` (V,) of a document's first word; ``successors`` (V, s), words; ``weights`` (s,); ``end``, q."""

    first: Floats
    successors: NDArray[np.int64]
    weights: Floats
    end: float

    def transitions(self) -> Floats:
        """P, shape (V + 1, V + 1): state 0 is the end of a document, state j + 1 is word j."""
        words = len(self.first)
        matrix = np.zeros((words + 1, words + 1))
        matrix[0, 1:] = self.first
        matrix[1:, 0] = self.end
        rows = np.repeat(np.arange(1, words + 1), len(self.weights))
        matrix[rows, self.successors.ravel() + 1] = np.tile((1 - self.end) * self.weights, words)
        return matrix


@lru_cache(maxsize=4)
def language(table: Markov) -> Language:
    """The language of a table: each word's successors are ``successors`` different words."""
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([table.seed, 0])))
    chosen = np.argsort(rng.random((table.words, table.words)), axis=1, kind="stable")[:, : table.successors]
    return Language(_harmonic(table.words), chosen.astype(np.int64), _harmonic(table.successors), 1 / table.document_words)


def _harmonic(count: int) -> Floats:
    weights = 1 / np.arange(1, count + 1)
    return weights / weights.sum()


def stationary(transitions: Floats) -> Floats:
    """π with πP = π and Σπ = 1, shape (n,), of a chain with one recurrent class: one linear system."""
    n = len(transitions)
    system = transitions.T - np.eye(n)
    system[-1] = 1
    return np.linalg.solve(system, np.eye(n)[-1])


def entropy_rate(transitions: Floats) -> float:
    """H = − Σ_i π_i Σ_j P_ij log P_ij, in nats a step."""
    logs = np.log(transitions, out=np.zeros_like(transitions), where=transitions > 0)
    return float(-stationary(transitions) @ (transitions * logs).sum(axis=1))


@lru_cache(maxsize=4)
def _rate(table: Markov) -> float:
    return entropy_rate(language(table).transitions())


def drawn(table: Markov, part: str, batch: int) -> list[NDArray[np.int64]]:
    """Batch b of a part's documents: words of each, by the inverse of the distribution function, one document a lane."""
    known, stream = language(table), {"train": 1, "validation": 2}[part]
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([table.seed, stream, batch])))
    # P(length > k) = (1 − q)^k for k = 1, 2, …
    lengths = 1 + np.floor(np.log1p(-rng.random(LANES)) / math.log1p(-known.end)).astype(np.int64)
    uniform = rng.random((int(lengths.max()), LANES))
    cumulated = np.cumsum(known.weights)[:-1]
    words = np.empty(uniform.shape, dtype=np.int64)
    words[0] = np.searchsorted(np.cumsum(known.first)[:-1], uniform[0], side="right")
    ranks = np.searchsorted(cumulated, uniform[1:], side="right")
    for k, rank in enumerate(ranks, 1):
        words[k] = known.successors[words[k - 1], rank]
    return [words[:length, lane] for lane, length in enumerate(lengths)]


class _Reader:
    """Endless documents; the state is how many were yielded."""

    def __init__(self, table: Markov, part: str, state: int | None) -> None:
        self._table, self._part, self._count = table, part, state or 0
        self._batch: tuple[int, list[NDArray[np.int64]]] = (-1, [])

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        batch, lane = divmod(self._count, LANES)
        if self._batch[0] != batch:
            self._batch = (batch, drawn(self._table, self._part, batch))
        self._count += 1
        return " ".join(f"w{word}" for word in self._batch[1][lane].tolist())

    def state(self) -> int:
        return self._count


def _reader(data: Data, part: str, state: Any) -> Reader:
    return _Reader(data.markov, part, state)


def _tokenizer(data: Data) -> Any:
    """One token a word."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    from frugal_gpu.data.tokenizer import SEPARATOR

    names = {SEPARATOR: 0, **{f"w{word}": word + 1 for word in range(data.markov.words)}}
    tokenizer = Tokenizer(models.WordLevel(names, unk_token=SEPARATOR))
    tokenizer.add_special_tokens([SEPARATOR])
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tokenizer


def _fingerprint(data: Data) -> str:
    law = language(data.markov)
    digest = hashlib.blake2b(digest_size=16)
    for array in (law.first, law.successors, law.weights):
        digest.update(array.tobytes())
    return f"markov {json.dumps(data.markov.model_dump(), sort_keys=True)} {digest.hexdigest()}"


SOURCE = Source(
    lambda data, part: _reader(data, part, None),
    _fingerprint,
    validation=True,
    endless=True,
    validation_tokens=100_000,
    reader=_reader,
    tokenizer=_tokenizer,
    ids=lambda document: [int(word[1:]) + 1 for word in document.split()],
    entropy_rate=lambda data: _rate(data.markov),
)
