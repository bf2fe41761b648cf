"""``[data]``: the text, or the rows of a task; only the trainer reads it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from frugal_theory.config.fields import NameOf
from frugal_theory.config.parts import Count, Part
from frugal_theory.config.registry import TASKS

__all__ = ["Data", "Markov"]

OF_TEXT = ("text_field", "documents", "tokens", "packing", "attention", "markov")
"""Keys of ``[data]`` that speak of text, and not of the rows of a task."""


class Markov(Part):
    """The language of ``data.source = "markov"``: ``words`` words, each followed by one of ``successors`` words or, with
    probability 1/``document_words``, by the end of the document. ``seed`` draws the language and its text: the experiment's
    own seed does not change them.
    """

    words: Annotated[int, Field(ge=2, le=4096)] = 256
    """How many words the language has."""
    successors: Count = 8
    """Words that may follow a word."""
    document_words: Annotated[float, Field(gt=1, le=1e6)] = 64.0
    """Words of a document, on average."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """From which the language and its text are drawn."""

    @model_validator(mode="after")
    def _combinations(self) -> Markov:
        if self.successors > self.words:
            raise ValueError(f"successors is {self.successors}, words is {self.words}; successors <= words is allowed")
        return self


class Data(Part):
    """Text to train on: embedded (python-docs, python-sources, markov), local files, or C4 through ``datasets``.

    ``source`` is a name or the path of a file or folder, taken literally: .txt, .jsonl, .json or .parquet, compressed as .gz
    or .zst or not. ``text_field``, ``documents`` (what a document is in a .txt file), ``encoding`` and ``bad_rows`` (what
    cannot be read as a document) are of local files. ``validation`` is the path of a text of its own; without it a share
    ``validation_fraction`` of the documents. ``tokenizer`` is the path of a tokenizer.json; without it one is trained on the
    text. ``tokens`` caps the training text. ``packing``: "stream" cuts the whole text into sequences, "documents" makes each
    document one sequence, cut or padded. ``attention``: whether a token of the stream sees the documents before its own.
    ``sampling``: batches of shuffled epochs, or of sequences that are each drawn from all of them, with replacement, as
    theorems suppose. ``task``: instead of text, the rows of a task, with labels or answers; ``source`` is then "hub" (its own
    place there, the default), another name of the hub, or a file or folder with the same columns, and ``loss_on`` says whether
    questions are learnt, too, or answers alone.
    """

    source: Annotated[str, Field(min_length=1)] = "python-docs"
    """The text: "python-docs", "python-sources", "markov", "c4", or the path of a file or folder (docs/data.md)."""
    text_field: Annotated[str, Field(min_length=1)] = "text"
    """The field of the text in .jsonl, .json and .parquet files."""
    documents: Literal["paragraph", "line", "file"] = "paragraph"
    """What a document is in a .txt file."""
    encoding: Annotated[str, Field(min_length=1)] = "utf-8"
    """The encoding of local text files."""
    bad_rows: Literal["refuse", "skip"] = "refuse"
    """What to do with rows that cannot be read as a document."""
    validation: Annotated[str, Field(min_length=1)] | None = None
    """The path of a text of its own for validation."""
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """The share of the documents for validation, where there is no such text."""
    sampling: Literal["shuffled", "independent"] = "shuffled"
    """Batches of shuffled epochs, or sequences drawn with replacement, as theorems suppose."""
    tokenizer: Annotated[str, Field(min_length=1)] | None = None
    """The path of a tokenizer.json; without it one is trained on the text."""
    tokens: Count | None = None
    """The most tokens of the training text."""
    packing: Literal["stream", "documents"] = "stream"
    """The text cut into sequences, or each document a sequence, cut or padded."""
    attention: Literal["across", "within"] = "across"
    """Whether a token sees the documents before its own."""
    markov: Markov = Markov()
    """The language of source = "markov"."""
    task: Annotated[str, NameOf(TASKS)] | None = None
    """A labelled task in place of a text (docs/data.md)."""
    loss_on: Literal["all", "answer"] = "all"
    """Whether every token counts in the loss, or those of the answer alone."""

    @field_validator("encoding")
    @classmethod
    def _encoding(cls, name: str) -> str:
        try:
            "".encode(name)
        except (LookupError, ValueError):  # ValueError: a name with a zero byte
            raise ValueError(f'"{name}" is no text encoding; Python\'s are allowed, for example "utf-8", "latin-1"') from None
        return name

    @model_validator(mode="after")
    def _combinations(self) -> Data:
        if self.source == "markov" and self.tokenizer is not None:
            raise ValueError(
                f'tokenizer is "{self.tokenizer}", source is "markov", whose tokens are its words; no tokenizer is allowed'
            )
        if self.task is not None:
            if "source" not in self.model_fields_set:
                object.__setattr__(self, "source", "hub")
            for key in OF_TEXT:
                if (said := getattr(self, key)) != type(self).model_fields[key].default:
                    raise ValueError(f'{key} = {said} is of text; task = "{self.task}" has rows')
        elif self.loss_on != "all":
            raise ValueError(f'loss_on = "{self.loss_on}" is of a task with answers; task is missing')
        return self
