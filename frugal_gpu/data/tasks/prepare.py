"""A task made ready: its rows read, tokenised and split."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from frugal_gpu.data.batches import Sequences
from frugal_gpu.data.source import notice
from frugal_gpu.data.tasks.examples import Answers, Labels
from frugal_gpu.data.tasks.rows import Place, further_parts, place_of
from frugal_gpu.data.tasks.task import Answered, Labelled, Task
from frugal_gpu.data.text import PARTS, in_validation
from frugal_gpu.data.tokenizer import SEPARATORS
from frugal_gpu.data.tokens import Corpus
from frugal_theory.config import Data
from frugal_theory.config.load import ExperimentError
from frugal_theory.config.registry import TASKS

__all__ = ["Words", "labels_of", "part_of", "prepare_task", "task_of"]

PADDINGS = ("<pad>", "[PAD]", "<|finetune_right_pad_id|>", "<|padding|>", "<unk>")
"""Names under which a tokenizer may know the token that fills short rows."""

Found = tuple[list[Labelled | Answered], int]


def task_of(data: Data) -> Task | None:
    """The task that the experiment fine-tunes on; None for text."""
    if data.task is None:
        return None
    task: Task = TASKS[data.task]
    return task


def labels_of(data: Data) -> int:
    """The outputs of a model that has labels to tell: the task's, and two where no task says more."""
    task = task_of(data)
    return 2 if task is None else task.labels or 2


class Words:
    """A tokenizer as tasks need it: two texts as one row, a token that pads, and one that ends."""

    def __init__(self, path: str, padding: int | None) -> None:
        from tokenizers import Tokenizer

        try:
            self.tokenizer: Any = Tokenizer.from_file(path)
        except Exception as error:  # tokenizers raises bare Exception
            reason = " ".join(str(error).split())[:200]
            raise ExperimentError(f'data.tokenizer = "{path}": is not a tokenizer.json: {reason}') from None
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self.tokenizer.encode_special_tokens = True
        ids = self.tokenizer.token_to_id
        ends = [i for name in SEPARATORS if (i := ids(name)) is not None]
        pads = [i for name in PADDINGS if (i := ids(name)) is not None]
        if not ends:
            raise ExperimentError(f'data.tokenizer = "{path}": has no token that ends a text; one of {", ".join(SEPARATORS)}')
        self.end: int = ends[0]
        self.padding: int = padding if padding is not None else pads[0] if pads else self.end
        self.vocabulary: int = 1 + max(self.tokenizer.get_vocab(with_added_tokens=True).values())
        self.special = bool(self.tokenizer.num_special_tokens_to_add(False))

    def rows(self, texts: list[tuple[str, ...]], length: int) -> list[list[int]]:
        """One or two texts a row, cut to ``length``, the longer one first, with the special tokens of the tokenizer, or else
        one that ends a text before each."""
        if self.special:
            self.tokenizer.enable_truncation(length, strategy="longest_first")
            found = self.tokenizer.encode_batch([each if len(each) > 1 else each[0] for each in texts])
            self.tokenizer.no_truncation()
            return [encoding.ids for encoding in found]
        parts = [[encoding.ids for encoding in self.tokenizer.encode_batch(list(each))] for each in texts]
        return [[i for part in _cut(row, length) for i in (self.end, *part)] for row in parts]

    def begun(self, text: str) -> list[int]:
        """A text with what the tokenizer puts before it, and nothing after; without that, one that ends a text."""
        encoding = self.tokenizer.encode(text)
        ids: list[int] = list(encoding.ids)
        if not self.special:
            return [self.end, *ids]
        while ids and encoding.special_tokens_mask[len(ids) - 1]:
            ids.pop()
        return ids

    def plain(self, text: str) -> list[int]:
        """A text without special tokens."""
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return ids


def _cut(parts: list[list[int]], length: int) -> list[list[int]]:
    """The parts, the longest cut token by token, until they and one token before each fit."""
    parts = [list(part) for part in parts]
    while sum(len(part) + 1 for part in parts) > length:
        max(parts, key=len).pop()
    return parts


def prepare_task(data: Data, seed: int, vocabulary: int, length: int, padding: int | None) -> Corpus:
    """The rows of ``data.task`` in tokens, at most ``length`` a row. ``vocabulary`` and ``padding`` (a token) are the model's.

    Read anew only when a local file has changed. Raises :class:`ExperimentError` where rows or tokenizer cannot be used.
    """
    assert data.task is not None
    places = [place_of(data.source, data.task, part) for part in PARTS]
    places += [
        *further_parts(data.source, data.task).values(),
        _given(data.validation, "data.validation") if data.validation else None,
    ]
    files = [path for place in places if place is not None for path in place.files]
    stamps = tuple((str(path), stat.st_size, stat.st_mtime_ns) for path in files for stat in (path.stat(),))
    return _prepared(data, seed, vocabulary, length, padding, stamps)


@lru_cache(maxsize=2)
def _prepared(data: Data, seed: int, vocabulary: int, length: int, padding: int | None, _: Any) -> Corpus:
    task, source = task_of(data), data.source
    assert task is not None
    assert data.task is not None
    assert data.tokenizer is not None
    words = Words(data.tokenizer, padding)
    if words.vocabulary > vocabulary:
        raise ExperimentError(
            f"model.vocabulary = {vocabulary}: the tokenizer has {words.vocabulary} tokens; allowed: at least as many"
        )
    training = place_of(source, data.task, "train")
    assert training is not None
    kept, skipped = _kept(data, task, training)
    if data.validation is not None:
        held, more = _kept(data, task, _given(data.validation, "data.validation"))
    elif (place := place_of(source, data.task, "validation")) is not None:
        held, more = _kept(data, task, place)
    else:
        sides = [in_validation(str(example), seed, data.validation_fraction) for example in kept]
        held, more = [example for example, aside in zip(kept, sides, strict=True) if aside], 0
        kept = [example for example, aside in zip(kept, sides, strict=True) if not aside]
    for part, examples in (("train", kept), ("validation", held)):
        if not examples:
            raise ExperimentError(f'data.task = "{data.task}": no row of {source} is of {part}')
    others = dict(_others(data, task, further_parts(source, data.task)))
    parts: dict[str, Sequences] = {
        name: _tokenised(task, data, words, examples, length)
        for name, examples in (("train", kept), ("validation", held), *((name, found[0]) for name, found in others.items()))
    }
    return Corpus(
        train=parts["train"],
        validation=parts["validation"],
        tokenizer=Path(data.tokenizer),
        vocabulary=words.vocabulary,
        key=_key([parts["train"], parts["validation"]]),
        documents=len(kept) + len(held),
        skipped=skipped + more + sum(found[1] for found in others.values()),
        task=data.task,
        padding=words.padding,
        others={name: parts[name] for name in others},
    )


def _others(data: Data, task: Task, places: dict[str, Place]) -> Iterator[tuple[str, Found]]:
    """The further parts by name. One that the hub does not give is left out, which is said: the training does without it."""
    for name, place in places.items():
        try:
            yield name, _kept(data, TASKS.get(name, task), place)
        except ExperimentError as error:
            if place.hub is None:
                raise
            notice(f"{name} is left out: {error}")


def part_of(data: Data, source: str, length: int, padding: int | None) -> Sequences:
    """All rows of a file, or of a task's validation part in a folder or on the hub."""
    task = task_of(data)
    assert task is not None
    assert data.task is not None
    assert data.tokenizer is not None
    place = _given(source, "data.source") if Path(source).is_file() else place_of(source, data.task, "validation")
    if place is None:
        raise ExperimentError(f'data.source = "{source}": has no validation part of data.task = "{data.task}"')
    words = Words(data.tokenizer, padding)
    return _tokenised(task, data, words, _kept(data, task, place)[0], length)


def _given(path: str, key: str) -> Place:
    if not Path(path).is_file():
        raise ExperimentError(f'{key} = "{path}": no such file; allowed: a file of rows with the columns of the task')
    return Place(f'{key} = "{path}"', [Path(path)])


def _kept(data: Data, task: Task, place: Place) -> Found:
    """What the rows of a place hold, and how many hold nothing of use: ExperimentError for one, unless they are skipped."""
    found: list[Labelled | Answered] = []
    skipped = 0
    for name, row in place.rows():
        try:
            if not isinstance(row, dict):
                raise ValueError(f"is no object but {type(row).__name__}")
            found.append(task.read(row))
        except ValueError as error:
            if data.bad_rows == "refuse":
                raise ExperimentError(f'data.bad_rows = "refuse": {name} {error}; "skip" leaves such rows out') from None
            skipped += 1
    return found, skipped


def _tokenised(task: Task, data: Data, words: Words, examples: list[Labelled | Answered], length: int) -> Sequences:
    if task.labels:
        labelled = [example for example in examples if isinstance(example, Labelled)]
        rows = words.rows([example.texts for example in labelled], length)
        labels = np.array([example.label for example in labelled], dtype=np.float64)
        if any(row[-1:] == [words.padding] for row in rows):
            raise ExperimentError(
                f'data.tokenizer = "{data.tokenizer}": has no token to pad with; one of {", ".join(PADDINGS)}'
            )
        return Labels(*_stream(rows, words, length), label=labels, regression=task.regression)
    answered = [example for example in examples if isinstance(example, Answered)]
    made = list(_answered(answered, words, length))
    prompts = np.array([prompt for _, prompt in made], dtype=np.int64)
    return Answers(
        *_stream([row for row, _ in made], words, length),
        prompts=prompts,
        answers=tuple(example.answer for example in answered),
        answers_only=data.loss_on == "answer",
    )


def _answered(examples: Iterable[Answered], words: Words, length: int) -> Iterator[tuple[list[int], int]]:
    """Ids and how many are the prompt's; a prompt that leaves no room for its response loses its beginning."""
    for example in examples:
        response = [*words.plain(example.response), words.end][: length - 1]
        prompt = words.begun(example.prompt)[-(length - len(response)) :]
        yield [*prompt, *response], len(prompt)


def _stream(rows: list[list[int]], words: Words, length: int) -> tuple[Any, int, int, Any]:
    """The fields of :class:`Examples`: all ids, the length, the padding, and where each row begins."""
    begins = np.cumsum([0, *map(len, rows)], dtype=np.int64)
    ids = np.fromiter((i for row in rows for i in row), dtype=np.int32, count=int(begins[-1]))
    return ids, length, words.padding, begins


def _key(parts: list[Sequences]) -> str:
    """A name that differs when tokens, labels or answers do."""
    digest = hashlib.blake2b(digest_size=12)
    for part in parts:
        for name in ("stream", "begins", "label", "prompts"):
            value = getattr(part, name, None)
            digest.update(b"" if value is None else np.ascontiguousarray(value).tobytes())
        digest.update(json.dumps(getattr(part, "answers", ())).encode())
    return digest.hexdigest()
