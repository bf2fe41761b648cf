"""Tokens: a byte-level BPE tokenizer, token streams on disk, packed sequences and unigram perplexity.

A stream is ``eos d₁ eos d₂ eos … dₙ eos``: every token after the first is predicted exactly once, each document's first
token from the separator before it. Streams are kept in a cache folder whose name is a hash of the text and the
tokenizer's settings, and read through a memory map.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frugal_gpu.data.batches import Ids, Packed
from frugal_gpu.data.text import documents, fingerprint, source_of
from frugal_theory.config import Data
from frugal_theory.config.load import ExperimentError

__all__ = ["SEPARATOR", "Corpus", "prepare", "token_stream", "train_tokenizer", "unigram_perplexity"]

SEPARATOR = "<|endoftext|>"
SEPARATORS = (SEPARATOR, "</s>", "<eos>", "<|end_of_text|>", "[SEP]")
"""Names under which a given tokenizer may know the token between documents."""

FORMAT = 1
"""Part of the cache key: raise it when the text, the tokenizer's training or the stream changes."""

TOKENIZER_DOCUMENTS = 100_000
"""A tokenizer is trained on at most this many documents."""


@dataclass(frozen=True)
class Corpus:
    """Tokenised text: both parts, the tokenizer's file, its vocabulary, and the key of its cache folder."""

    train: Packed
    validation: Packed
    tokenizer: Path
    vocabulary: int
    key: str


def prepare(data: Data, seed: int, vocabulary: int, sequence_length: int, needed: int) -> Corpus:
    """Tokenise the text, or find it tokenised.

    ``vocabulary`` is the model's. ``needed`` is how many tokens the run will read: C4 is tokenised up to there, other
    text as a whole. Raises :class:`ExperimentError` where the text or the tokenizer cannot be used.
    """
    limit = needed if source_of(data).endless else None
    settings = {
        "format": FORMAT,
        "text": fingerprint(data),
        "validation_fraction": data.validation_fraction,
        "seed": seed,
        "tokenizer": Path(data.tokenizer).read_text(encoding="utf-8") if data.tokenizer else vocabulary,
        "limit": limit,
    }
    key = hashlib.blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=12).hexdigest()
    folder = _cache() / key
    if not folder.is_dir():
        _write_corpus(folder, data, seed, vocabulary, limit)
    meta = json.loads((folder / "corpus.json").read_text(encoding="utf-8"))
    if meta["vocabulary"] > vocabulary:
        raise ExperimentError(
            f"model.vocabulary = {vocabulary}: the tokenizer has {meta['vocabulary']} tokens; allowed: at least as many"
        )
    train, validation = (
        Packed(np.memmap(folder / f"{part}.bin", dtype=meta["dtype"], mode="r"), sequence_length)
        for part in ("train", "validation")
    )
    return Corpus(train, validation, tokenizer=folder / "tokenizer.json", vocabulary=meta["vocabulary"], key=key)


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> Any:
    """A byte-level BPE tokenizer with up to ``vocabulary`` tokens; the separator is token 0."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[SEPARATOR],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def token_stream(texts: Iterable[str], tokenizer: Any, separator: int) -> Iterator[list[int]]:
    """The stream in pieces: the first separator, then each document with the separator after it."""
    yield [separator]
    texts = iter(texts)
    while chunk := list(itertools.islice(texts, 256)):
        for encoding in tokenizer.encode_batch(chunk, add_special_tokens=False):
            yield [*encoding.ids, separator]


def unigram_perplexity(train: Ids, validation: Ids, vocabulary: int) -> float:
    """exp of the mean −log p over the validation stream's predicted tokens, p(w) = (n_w + 1)/(N + V).

    ``n_w`` counts w among the N predicted tokens of the train stream, V is ``vocabulary``: add-one smoothing. This is
    what a model reaches that knows how often each token occurs and nothing else.
    """
    counts = _counts(train, vocabulary)
    nll = math.log(counts.sum() + vocabulary) - np.log(counts + 1.0)
    return math.exp(float(_counts(validation, vocabulary) @ nll) / (len(validation) - 1))


def _counts(stream: Ids, vocabulary: int) -> NDArray[np.int64]:
    counts = np.zeros(vocabulary, dtype=np.int64)
    for begin in range(1, len(stream), 1 << 24):
        counts += np.bincount(stream[begin : begin + (1 << 24)], minlength=vocabulary)
    return counts


def _cache() -> Path:
    """Where tokenised text is kept: $FRUGAL_LAB_CACHE, $XDG_CACHE_HOME/frugal-lab or ~/.cache/frugal-lab."""
    if given := os.environ.get("FRUGAL_LAB_CACHE"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "frugal-lab"


def _write_corpus(folder: Path, data: Data, seed: int, vocabulary: int, limit: int | None) -> None:
    """Fill a temporary folder beside ``folder`` and rename it, so that a cache folder is always complete."""
    tokenizer, separator = _tokenizer(data, seed, vocabulary)
    size = tokenizer.get_vocab_size()
    dtype = np.uint16 if size <= 2**16 else np.uint32
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    try:
        tokenizer.save(str(temporary / "tokenizer.json"))
        for part in ("train", "validation"):
            stream = token_stream(documents(data, seed, part), tokenizer, separator)
            if _write_stream(temporary / f"{part}.bin", stream, dtype, limit) < 2:
                raise ExperimentError(
                    f'data.source = "{data.source}": no document fell into {part} with validation_fraction = '
                    f"{data.validation_fraction:g}; give more text or another fraction"
                )
        meta = {"vocabulary": size, "dtype": np.dtype(dtype).name}
        (temporary / "corpus.json").write_text(json.dumps(meta), encoding="utf-8")
        try:
            os.replace(temporary, folder)
        except OSError:
            if not folder.is_dir():  # another run may have been faster
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write_stream(path: Path, pieces: Iterable[list[int]], dtype: Any, limit: int | None) -> int:
    """Write ids as raw integers, at least ``limit`` of them if there are as many; returns how many."""
    count = 0
    with path.open("wb") as file:
        for piece in pieces:
            file.write(np.asarray(piece, dtype=dtype).tobytes())
            count += len(piece)
            if limit is not None and count > limit:
                break
    return count


def _tokenizer(data: Data, seed: int, vocabulary: int) -> tuple[Any, int]:
    """The tokenizer and the id of its separator."""
    from tokenizers import Tokenizer

    if data.tokenizer is None:
        texts = itertools.islice(documents(data, seed, "train"), TOKENIZER_DOCUMENTS)
        return train_tokenizer(texts, vocabulary), 0
    try:
        tokenizer = Tokenizer.from_file(data.tokenizer)
    except Exception as error:  # tokenizers raises bare Exception
        raise ExperimentError(f'data.tokenizer = "{data.tokenizer}": is not a tokenizer.json: {error}') from None
    known = [number for name in SEPARATORS if (number := tokenizer.token_to_id(name)) is not None]
    if not known:
        raise ExperimentError(
            f'data.tokenizer = "{data.tokenizer}": has no token between documents; '
            f"one of these is needed: {', '.join(SEPARATORS)}"
        )
    return tokenizer, known[0]
