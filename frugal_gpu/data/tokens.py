"""Tokenised text: made once, kept in the cache, cut into sequences; and unigram perplexity.

A stream is ``eos d₁ eos d₂ eos … dₙ eos``: every token after the first is predicted exactly once, each document's first
token from the separator before it.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from frugal_gpu.data import tokenizer as tokenizers
from frugal_gpu.data.batches import Documents, Ids, Packed, Sequences
from frugal_gpu.data.cache import DamagedError, Entry, Growing, cache_folder, create, locked, open_stream, read_entry
from frugal_gpu.data.source import notice
from frugal_gpu.data.text import PARTS, documents, fingerprint, kept, own_part, reader, source_of
from frugal_gpu.data.tokenizer import Encoder
from frugal_theory.config import Data
from frugal_theory.config.load import ExperimentError

__all__ = ["Corpus", "prepare", "unigram_perplexity"]

FORMAT = 2
"""Part of the cache key: raise it when the text, the tokenizer's training or the stream changes."""

WINDOW = 1 << 20
"""An endless text is read, and its order drawn, in windows of this many tokens."""

CHUNK = 256
"""Documents that are encoded together."""

COMMIT = 1 << 22
"""Tokens after which those written are made to count, so that a run that is killed loses no more than these."""


@dataclass(frozen=True)
class Corpus:
    """Tokenised text: both parts, the tokenizer's file, its vocabulary, and the key of its cache folder.

    ``window``: sequences of a text that may grow are shuffled in windows of so many (see ``batch_indices``). ``documents`` and
    ``skipped`` count documents, and rows that were none, of both parts. ``entropy_rate`` in nats a token, where known. Of a
    ``task``, its name, the token that pads its rows, and further parts that it is measured on.
    """

    train: Sequences
    validation: Sequences
    tokenizer: Path
    vocabulary: int
    key: str
    window: int | None = None
    documents: int = 0
    skipped: int = 0
    entropy_rate: float | None = None
    task: str | None = None
    padding: int | None = None
    others: dict[str, Sequences] = field(default_factory=dict)


@dataclass(frozen=True)
class _Goal:
    """How far a part is read: so many tokens or documents, or to its end."""

    tokens: int | None = None
    documents: int | None = None

    def met(self, entry: Entry, part: str) -> bool:
        held = entry.parts[part]
        if self.tokens is None and self.documents is None:
            return held.ended
        enough = (self.tokens is None or held.tokens >= self.tokens) and (
            self.documents is None or held.documents >= self.documents
        )
        return enough or held.ended


def prepare(data: Data, seed: int, vocabulary: int, sequence_length: int, needed: int, whole: bool = False) -> Corpus:
    """Tokenise the text, or find it tokenised.

    ``vocabulary`` is the model's. ``needed`` is how many tokens the run will read: a text without an end is tokenised up to
    there, in whole windows, other text as a whole or up to ``data.tokens``. ``whole``: no document is held out, so that the
    training part is all of the text, in its order, and may be shorter than a sequence. Raises :class:`ExperimentError` where
    the text or the tokenizer cannot be used, or the text is shorter than one sequence.
    """
    source = source_of(data)
    if whole:
        data = data.model_copy(update={"validation_fraction": 0.0})
    window = max(1, WINDOW // sequence_length) if source.endless and data.tokens is None else None
    goals = _goals(data, sequence_length, window, -(-needed // sequence_length))
    given = tokenizers.given_tokenizer(data.tokenizer) if data.tokenizer else None
    settings = {
        "format": FORMAT,
        "text": fingerprint(data),
        "split": None if whole or own_part(data) else [seed, data.validation_fraction],
        "tokenizer": given.tokenizer.to_str() if given else "of the source" if source.tokenizer else vocabulary,
    }
    key = hashlib.blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=12).hexdigest()
    folder = cache_folder() / key
    entry = _found(folder, goals) or _made(folder, data, seed, vocabulary, given, goals)
    if entry.vocabulary > vocabulary:
        raise ExperimentError(
            f"model.vocabulary = {vocabulary}: the tokenizer has {entry.vocabulary} tokens; allowed: at least as many"
        )
    streams = {part: open_stream(folder, entry, part)[: goals[part].tokens] for part in PARTS}
    if not whole:
        _check_sizes(data, sequence_length, streams)
    elif all(len(stream) < 2 for stream in streams.values()):
        raise ExperimentError(f'data.source = "{data.source}": has no document; give more text')
    else:
        nothing = np.full(1, entry.separator)
        streams = {part: stream if len(stream) > 1 else nothing for part, stream in streams.items()}
    train, validation = (
        _sequences(data, streams[part], sequence_length, entry.separator, goals[part].documents) for part in PARTS
    )
    for part, made in zip(PARTS, (train, validation), strict=True):
        if not len(made) and not whole:
            raise ExperimentError(f'data.packing = "documents": no document of {part} ends within data.tokens = {data.tokens}')
    return Corpus(
        train,
        validation,
        tokenizer=folder / "tokenizer.json",
        vocabulary=entry.vocabulary,
        key=key,
        window=window,
        documents=sum(part.documents for part in entry.parts.values()),
        skipped=sum(part.skipped for part in entry.parts.values()),
        entropy_rate=source.entropy_rate(data) if source.entropy_rate else None,
    )


def unigram_perplexity(train: Sequences, validation: Sequences, vocabulary: int, rows: int | None = None) -> float:
    """exp of the mean −log p over the tokens that the first ``rows`` of ``validation`` predict, p(w) = (n_w + 1)/(N + V).

    ``n_w`` counts w among the N predicted tokens of ``train``, V is ``vocabulary``: add-one smoothing. This is what a model
    reaches that knows how often each token occurs and nothing else.
    """
    counts, judged = train.counts(vocabulary), validation.counts(vocabulary, rows)
    nll = math.log(counts.sum() + vocabulary) - np.log(counts + 1.0)
    return math.exp(float(judged @ nll) / int(judged.sum()))


def _sequences(data: Data, stream: Ids, length: int, separator: int, limit: int | None) -> Sequences:
    if data.packing == "documents":
        return Documents(stream, length, separator, limit)
    return Packed(stream, length, separator, within=data.attention == "within")


def _goals(data: Data, length: int, window: int | None, rows: int) -> dict[str, _Goal]:
    """How far each part is read. One token more than is predicted: the first one of a stream is not."""
    source, fraction = source_of(data), data.validation_fraction
    if window is not None:
        rows = -(-rows // window) * window
        train = _Goal(documents=rows) if data.packing == "documents" else _Goal(tokens=rows * length + 1)
    else:
        train = _Goal(None if data.tokens is None else data.tokens + 1)
    if data.validation is not None:
        validation = _Goal()
    elif source.validation:
        validation = _Goal(tokens=source.validation_tokens + 1) if source.endless else _Goal()
    else:
        validation = _Goal(None if data.tokens is None else math.ceil(data.tokens * fraction / (1 - fraction)) + 1)
    return {"train": train, "validation": validation}


def _check_sizes(data: Data, length: int, streams: dict[str, Ids]) -> None:
    for part, stream in streams.items():
        if len(stream) < 2:
            if own_part(data):
                source = f'data.validation = "{data.validation}"' if data.validation and part == PARTS[1] else "its text"
                raise ExperimentError(f'data.source = "{data.source}": {part} has no document in {source}; give more text')
            raise ExperimentError(
                f'data.source = "{data.source}": no document fell into {part} with validation_fraction = '
                f"{data.validation_fraction:g}; give more text or another fraction"
            )
    if length > (most := len(streams["train"]) - 1):
        raise ExperimentError(
            f"training.sequence_length = {length}: is more than the training text has, {most:,} tokens; allowed: 2 to {most}"
        )


def _found(folder: Path, goals: dict[str, _Goal]) -> Entry | None:
    """What the cache holds, if it is whole and goes far enough."""
    try:
        entry = read_entry(folder)
    except DamagedError:
        return None  # said by whoever makes it anew
    return entry if entry is not None and all(goals[part].met(entry, part) for part in PARTS) else None


def _made(folder: Path, data: Data, seed: int, vocabulary: int, given: Encoder | None, goals: dict[str, _Goal]) -> Entry:
    """The cache folder, made or taken further."""
    from tokenizers import Tokenizer

    try:
        with locked(folder):
            try:
                entry = read_entry(folder)
            except DamagedError as error:
                notice(f"{error}; the text is tokenised anew")
                entry = None
            fresh = entry is None
            try:
                if entry is None:
                    encoder = _encoder(data, seed, vocabulary, given)
                    dtype = "uint16" if encoder.vocabulary <= 2**16 else "uint32"
                    empty = Entry(encoder.vocabulary, encoder.separator, dtype, "")
                    _check_space(folder, data, dtype, goals)
                    entry = create(folder, empty, encoder.tokenizer.to_str())
                else:
                    _check_space(folder, data, entry.dtype, goals)
                    name = given.name if given else f"{folder / 'tokenizer.json'}"
                    held = Tokenizer.from_file(str(folder / "tokenizer.json"))
                    encoder = Encoder(held, entry.separator, name, source_of(data).ids)
                for part in PARTS:
                    if not goals[part].met(entry, part):
                        entry = _grow(Growing(folder, entry, part), data, seed, encoder, goals[part])
            except (ExperimentError, OSError):
                if fresh and not source_of(data).endless:
                    shutil.rmtree(folder, ignore_errors=True)
                raise
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())
        raise ExperimentError(
            f"the token cache {folder} cannot be written: {reason}; $FRUGAL_LAB_CACHE names another place"
        ) from error
    return entry


def _encoder(data: Data, seed: int, vocabulary: int, given: Encoder | None) -> Encoder:
    if given is not None:
        return given
    make = source_of(data).tokenizer
    if make is not None:
        return Encoder(make(data), 0, f'data.source = "{data.source}"', source_of(data).ids)
    trained = tokenizers.train_tokenizer(tokenizers.sample(documents(data, seed, "train")), vocabulary)
    return Encoder(trained, 0, "the tokenizer")


def _grow(growing: Growing, data: Data, seed: int, encoder: Encoder, goal: _Goal) -> Entry:
    """Read on, encode and append, up to the goal or the end of the text."""
    read = reader(data, seed, growing.name, growing.part.state)
    committed, said = growing.part.tokens, time.monotonic()
    try:
        while not goal.met(growing.entry.grown(growing.name, growing.part), growing.name):
            chunk = list(itertools.islice(read, _chunk(goal, growing)))
            texts = list(kept(data, chunk))
            ids = [piece for piece in encoder.ids(texts) if piece]
            growing.append(ids, len(chunk) - len(texts), read.state())
            if not chunk:
                return growing.commit(ended=True)
            if growing.part.tokens - committed > COMMIT:
                committed = growing.commit().parts[growing.name].tokens
            if time.monotonic() - said > 10:
                said = time.monotonic()
                notice(f"tokenising {data.source}, {growing.name}: {growing.part.tokens:,} tokens so far")
        return growing.commit()
    except (ExperimentError, KeyboardInterrupt):
        growing.commit()  # a stream that broke, or was stopped, goes on from here
        raise
    finally:
        growing.close()


def _chunk(goal: _Goal, growing: Growing) -> int:
    """How many documents to read next."""
    return CHUNK if goal.documents is None else max(1, min(CHUNK, goal.documents - growing.part.documents))


def _check_space(folder: Path, data: Data, dtype: str, goals: dict[str, _Goal]) -> None:
    """Raise :class:`ExperimentError` where a text without an end would not fit on the disk."""
    if not source_of(data).endless:
        return
    size = np.dtype(dtype).itemsize * sum(goal.tokens or 0 for goal in goals.values())
    folder.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder.parent).free + sum(p.stat().st_size for p in folder.glob("*.bin"))
    if size > free:
        raise ExperimentError(
            f'data.source = "{data.source}": the run reads {size / 2**30:,.1f} GiB of tokens, and {folder.parent} has '
            f"{free / 2**30:,.1f} GiB free; give training fewer steps, set data.tokens, "
            "or let $FRUGAL_LAB_CACHE name another place"
        )
