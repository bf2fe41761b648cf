"""``[model]``, ``[data]`` and ``[training]``: what only the trainer reads."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from frugal_theory.config.fields import NameOf
from frugal_theory.config.parts import Count, Part, Positive, Probability
from frugal_theory.config.registry import PROBES, SCHEDULES
from frugal_theory.config.shapes import SHAPES

__all__ = ["Data", "Markov", "Model", "Preset", "Probes", "Training"]

Preset = Annotated[str, NameOf(SHAPES)]


class Model(Part):
    """A LLaMA by preset name; any of its sizes may be set apart. ``vocabulary`` has at least 256 bytes and a separator."""

    preset: Preset = "llama-9m"
    vocabulary: Annotated[int, Field(ge=257)] | None = None
    hidden_size: Count | None = None
    intermediate_size: Count | None = None
    layers: Count | None = None
    heads: Count | None = None
    initializer_range: Positive = 0.02


class Markov(Part):
    """The language of ``data.source = "markov"``: ``words`` words, each followed by one of ``successors`` words or, with
    probability 1/``document_words``, by the end of the document. ``seed`` draws the language and its text: the experiment's
    own seed does not change them.
    """

    words: Annotated[int, Field(ge=2, le=4096)] = 256
    successors: Count = 8
    document_words: Annotated[float, Field(gt=1, le=1e6)] = 64.0
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0

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
    theorems suppose.
    """

    source: Annotated[str, Field(min_length=1)] = "python-docs"
    text_field: Annotated[str, Field(min_length=1)] = "text"
    documents: Literal["paragraph", "line", "file"] = "paragraph"
    encoding: Annotated[str, Field(min_length=1)] = "utf-8"
    bad_rows: Literal["refuse", "skip"] = "refuse"
    validation: Annotated[str, Field(min_length=1)] | None = None
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.05
    sampling: Literal["shuffled", "independent"] = "shuffled"
    tokenizer: Annotated[str, Field(min_length=1)] | None = None
    tokens: Count | None = None
    packing: Literal["stream", "documents"] = "stream"
    attention: Literal["across", "within"] = "across"
    markov: Markov = Markov()

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
        return self


class Training(Part):
    """The training run. ``learning_rate`` replaces the algorithm's, whose scale is the theory problem's.

    ``batch_size`` counts the sequences of one step, over all devices and micro-batches: ``accumulation`` (micro-batches
    a step) and the number of devices change speed and memory, not the result. ``warmup_steps`` is a tenth of the run by
    default, ``final_learning_rate`` a share of the peak. ``evaluation_tokens`` caps the validation tokens of one evaluation.
    ``threads`` of the CPU are torch's choice by default; a small model is fastest, and the same everywhere, on one.
    """

    steps: Count = 1000
    learning_rate: Positive | None = None
    batch_size: Count = 16
    sequence_length: Annotated[int, Field(ge=2)] = 256
    accumulation: Count = 1
    warmup_steps: Annotated[int, Field(ge=0)] | None = None
    schedule: Annotated[str, NameOf(SCHEDULES)] = "cosine"
    final_learning_rate: Probability = 0.1
    max_gradient_norm: Positive | None = None
    precision: Literal["float32", "bf16"] = "float32"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Count | None = None
    evaluate_every: Count = 100
    evaluation_tokens: Count | None = None
    checkpoint_every: Count = 500
    keep_checkpoints: Count = 2
    activation_checkpointing: bool = False

    @property
    def warmup(self) -> int:
        """Steps of linear warm-up: ``warmup_steps``, or a tenth of the run."""
        return self.steps // 10 if self.warmup_steps is None else self.warmup_steps

    @model_validator(mode="after")
    def _combinations(self) -> Training:
        if self.warmup > self.steps:
            raise ValueError(f"warmup_steps is {self.warmup_steps}, steps is {self.steps}; warmup_steps <= steps is allowed")
        if self.batch_size % self.accumulation:
            raise ValueError(
                f"batch_size is {self.batch_size}, accumulation is {self.accumulation}; "
                f"a batch is cut into equal micro-batches: a divisor of {self.batch_size} is allowed"
            )
        return self


class Probes(Part):
    """What is measured on the model during training, at steps drawn at random, without changing the run by a bit.

    One step is drawn in each interval of ``every`` steps; without it intervals are as short as keeps the probes within the
    share ``cost`` of the run's time, as it is measured. ``batch_size`` counts the sequences of one measurement of the
    gradient, by default as many as a training step has.
    """

    every: Count | None = None
    cost: Annotated[float, Field(gt=0, lt=1)] = 0.05
    batch_size: Count | None = None
    kinds: Annotated[tuple[Annotated[str, NameOf(PROBES)], ...], Field(strict=False, min_length=1)] = (
        "gradient",
        "noise",
        "smoothness",
        "descent",
        "curvature",
        "angles",
    )
