"""Tokenizers: a byte-level BPE trained on the text, or a given tokenizer.json; documents as token ids."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from frugal_gpu.data.source import notice
from frugal_theory.config.load import ExperimentError

__all__ = ["SEPARATOR", "Encoder", "given_tokenizer", "sample", "train_tokenizer"]

SEPARATOR = "<|endoftext|>"
SEPARATORS = (SEPARATOR, "</s>", "<eos>", "<|end_of_text|>", "[SEP]")
"""Names under which a given tokenizer may know the token between documents."""

TOKENIZER_DOCUMENTS = 100_000
TOKENIZER_CHARACTERS = 20_000_000
LONG = 5_000_000
"""A tokenizer is trained on at most this many documents, which end with the one that reaches this many characters;
beyond ``LONG`` of them it is said, for it takes a while."""


@dataclass(frozen=True)
class Encoder:
    """A tokenizer, the id between documents, and what to call the tokenizer in messages.

    ``ids``: one list a document, in which the separator never occurs, even where the document spells it out. ``direct``: the
    same for one document, where that is known without the tokenizer.
    """

    tokenizer: Any
    separator: int
    name: str
    direct: Callable[[str], list[int]] | None = None

    def __post_init__(self) -> None:
        self.tokenizer.no_truncation()  # either may be stored in a tokenizer.json, and would cut or fill documents
        self.tokenizer.no_padding()
        self.tokenizer.encode_special_tokens = True  # a special token that is spelt out in a text is text

    @property
    def vocabulary(self) -> int:
        """One more than the largest id: ids may have holes."""
        return 1 + max(self.tokenizer.get_vocab(with_added_tokens=True).values())

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The token ids of some documents, without special tokens."""
        if self.direct is not None:
            return [self.direct(text) for text in texts]
        found = [encoding.ids for encoding in self.tokenizer.encode_batch(list(texts), add_special_tokens=False)]
        return [self._spelt_out(text) if self.separator in ids else ids for text, ids in zip(texts, found, strict=True)]

    def _spelt_out(self, text: str) -> list[int]:
        """The ids of a text in which a tokenizer found its separator: the halves of the name are encoded apart."""
        name = self.tokenizer.id_to_token(self.separator)
        half = len(name) // 2
        first, *others = text.split(name)
        pieces = [first, *(name[half:] + other for other in others)]
        pieces[:-1] = [piece + name[:half] for piece in pieces[:-1]]
        ids = [i for piece in pieces for i in self.tokenizer.encode(piece, add_special_tokens=False).ids]
        if self.separator in ids:
            excerpt = " ".join(text.split())[:60]
            raise ExperimentError(
                f"{self.name}: makes its separator {name} out of text inside a document ({excerpt}); "
                "a tokenizer is needed that has one token for nothing but the end of documents"
            )
        return ids


def sample(texts: Iterable[str]) -> Iterator[str]:
    """The first documents, on which a tokenizer is trained."""
    characters = 0
    for text in itertools.islice(texts, TOKENIZER_DOCUMENTS):
        yield text
        characters += len(text)
        if characters >= TOKENIZER_CHARACTERS:
            break
    if characters > LONG:
        notice(f"training a tokenizer on {characters:,} characters")


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


def given_tokenizer(path: str) -> Encoder:
    """The tokenizer of a tokenizer.json. Raises :class:`ExperimentError` if it is none, or has no separator."""
    from tokenizers import Tokenizer

    name = f'data.tokenizer = "{path}"'
    try:
        tokenizer = Tokenizer.from_file(path)
    except Exception as error:  # tokenizers raises bare Exception
        reason = " ".join(str(error).split())[:200]
        raise ExperimentError(f"{name}: is not a tokenizer.json: {reason}") from None
    known = [number for token in SEPARATORS if (number := tokenizer.token_to_id(token)) is not None]
    if not known:
        raise ExperimentError(f"{name}: has no token between documents; one of these is needed: {', '.join(SEPARATORS)}")
    return Encoder(tokenizer, known[0], name)
