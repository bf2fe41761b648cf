"""``[model]``, ``[data]`` and ``[training]``: what only the trainer reads."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_serializer, model_validator

from frugal_theory.config.fields import NameOf
from frugal_theory.config.parts import Count, Part, Positive, Probability
from frugal_theory.config.registry import PROBES, SCHEDULES, TASKS
from frugal_theory.config.shapes import SHAPES

__all__ = ["MOST_LAYERS", "Data", "Markov", "Model", "Preset", "Probes", "Training"]

Preset = Annotated[str, NameOf(SHAPES)]

MOST_LAYERS = 1000
"""As many as the deepest that was ever trained; each is made on the meta device to be counted."""

SIZES = (
    "checkpoint",
    "vocabulary",
    "hidden_size",
    "intermediate_size",
    "layers",
    "heads",
    "key_value_heads",
    "tie_embeddings",
)
"""Keys of a model's shape that a preset sets, too."""

OF_TEXT = ("text_field", "documents", "tokens", "packing", "attention", "markov")
"""Keys of ``[data]`` that speak of text, and not of the rows of a task."""

Exempt = Literal["norms", "biases", "embeddings", "output"]
"""Kinds of parameters that ``training.weight_decay_exempt`` may list."""

LENGTHS = ("steps", "tokens", "epochs")
"""Keys that say how long a training is; one of them is given."""

OF_SCHEDULES = {
    "cycle_steps": "cosine-cycles",
    "decay_steps": "wsd",
    "restart_every": "jagged-cosine",
    "restart_warmup_steps": "jagged-cosine",
}
"""Keys that one schedule reads."""

_NEEDS_ALL_GRADIENTS = {"nan_step": ("skip",), "precision": ("fp16",), "sharding": ("fsdp2",)}
"""Values of keys by which a step waits for all gradients."""

PLAIN = {"cosine", "constant", "linear"}
"""Schedules that read none of them; an added one may."""


class Model(Part):
    """A LLaMA by preset name; any of its sizes may be set apart. ``vocabulary`` has at least 256 bytes and a separator.

    ``key_value_heads`` are the heads of keys and values (grouped-query attention; as many as ``heads`` by default).
    ``tie_embeddings``: one matrix for embedding and head. ``checkpoint``: instead, a model that transformers reads, a folder or
    a name of the hub; it has its sizes and, unless ``data.tokenizer`` is given, its tokenizer. ``task``: what the model's head
    is for; "sequence-classification" needs a ``data.task`` with labels.
    """

    preset: Preset = "llama-9m"
    checkpoint: Annotated[str, Field(min_length=1)] | None = None
    vocabulary: Annotated[int, Field(ge=257)] | None = None
    hidden_size: Count | None = None
    intermediate_size: Count | None = None
    layers: Annotated[int, Field(ge=1, le=MOST_LAYERS)] | None = None
    heads: Count | None = None
    key_value_heads: Count | None = None
    tie_embeddings: bool = False
    initializer_range: Annotated[float, Field(gt=0, le=1)] = 0.02
    task: Literal["causal-lm", "sequence-classification"] = "causal-lm"

    @model_validator(mode="after")
    def _combinations(self) -> Model:
        heads = self.heads or SHAPES[self.preset].heads
        if self.key_value_heads is not None and heads % self.key_value_heads:
            raise ValueError(f"key_value_heads is {self.key_value_heads}, heads is {heads}; a divisor of {heads} is allowed")
        own = [key for key in type(self).model_fields if key not in ("checkpoint", "task")]
        changed = [key for key in own if getattr(self, key) != type(self).model_fields[key].default]
        if self.checkpoint is not None and changed:
            raise ValueError(f"{changed[0]} and checkpoint are both given; a checkpoint has its own sizes")
        return self


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
    theorems suppose. ``task``: instead of text, the rows of a task, with labels or answers; ``source`` is then "hub" (its own
    place there, the default), another name of the hub, or a file or folder with the same columns, and ``loss_on`` says whether
    questions are learnt, too, or answers alone.
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
    task: Annotated[str, NameOf(TASKS)] | None = None
    loss_on: Literal["all", "answer"] = "all"

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


class Training(Part):
    """The training run. ``learning_rate`` replaces the algorithm's, whose scale is the theory problem's.

    Its length is ``steps``, or ``tokens`` (rounded up to whole steps), or ``epochs`` of the training text. ``batch_size`` is
    the sequences of one step, over all devices and micro-batches: ``accumulation`` (micro-batches a step) and the number of
    devices change speed and memory, not the result. ``warmup_steps`` is a tenth of the run by default, or of the cycle;
    ``warmup_fraction`` says another share. ``final_learning_rate`` is a share of the peak. ``cycle_steps`` is of the schedule
    "cosine-cycles", ``decay_steps`` (a tenth of the run) of "wsd", ``restart_every`` and ``restart_warmup_steps`` of
    "jagged-cosine". ``weight_decay_exempt``: kinds of parameters that do not decay. ``precision``: "bf16" and "fp16" keep
    float32 weights, "pure-bf16" does not.
    ``evaluation_tokens`` caps the validation tokens of one evaluation. ``keep_best``: keep the weights of the best evaluation;
    ``tensorboard``, ``wandb``: write the log for TensorBoard, and for Weights & Biases, too.
    ``sharding``: of several processes, each holds all ("ddp") or a share of weights, gradients and state ("fsdp2").
    ``state_dtype``: what the optimizer's statistics are kept in, by default float32, the arithmetic's; "8bit": moments in eight
    bits. ``stochastic_rounding``: whether bfloat16 weights are rounded up or down by chance, which they are by default.
    ``update_in_backward``: step every parameter as its gradient arrives, and free that: no more than one gradient is held.
    ``nan_step``: what becomes of a step whose loss or gradient is not finite. ``threads`` of the CPU are torch's choice by
    default; a small model is fastest, and the same everywhere, on one.
    """

    steps: Count = 1000
    tokens: Count | None = None
    epochs: Positive | None = None
    learning_rate: Positive | None = None
    batch_size: Count = 16
    sequence_length: Annotated[int, Field(ge=2)] = 256
    accumulation: Count = 1
    warmup_steps: Annotated[int, Field(ge=0)] | None = None
    warmup_fraction: Probability | None = None
    schedule: Annotated[str, NameOf(SCHEDULES)] = "cosine"
    final_learning_rate: Probability = 0.1
    cycle_steps: Count | None = None
    decay_steps: Count | None = None
    restart_every: Count | None = None
    restart_warmup_steps: Count = 100
    max_gradient_norm: Positive | None = None
    weight_decay_exempt: Annotated[tuple[Exempt, ...], Field(strict=False)] = ()
    precision: Literal["float32", "bf16", "pure-bf16", "fp16"] = "float32"
    state_dtype: Literal["float32", "bfloat16", "float16", "8bit"] | None = None
    stochastic_rounding: bool | None = None
    update_in_backward: bool = False
    compile: bool = False
    sharding: Literal["ddp", "fsdp2"] = "ddp"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Count | None = None
    evaluate_every: Count = 100
    evaluation_tokens: Count | None = None
    checkpoint_every: Count = 500
    keep_checkpoints: Count = 2
    keep_best: bool = True
    tensorboard: bool = False
    wandb: bool = False
    nan_step: Literal["stop", "skip"] = "stop"
    activation_checkpointing: bool = False

    @property
    def warmup(self) -> int:
        """Steps of linear warm-up: ``warmup_steps``, or ``warmup_fraction`` of the run, or of a cycle, or a tenth of it."""
        if self.warmup_fraction is not None:
            return math.ceil(self.warmup_fraction * self.cycle)
        return self.cycle // 10 if self.warmup_steps is None else self.warmup_steps

    @property
    def cycle(self) -> int:
        """Steps of a cycle of the schedule: ``cycle_steps``, or the run's."""
        return self.steps if self.cycle_steps is None else self.cycle_steps

    @property
    def rounds_by_chance(self) -> bool:
        """Whether weights are rounded stochastically: those in bfloat16, whose steps are lost otherwise, unless told not to."""
        return self.precision == "pure-bf16" and self.stochastic_rounding is not False

    @property
    def decay(self) -> int:
        """Steps of the decay of "wsd": ``decay_steps``, or a tenth of the run."""
        return max(1, self.steps // 10) if self.decay_steps is None else self.decay_steps

    def of_epochs(self, sequences: int) -> Training:
        """The training with its ``epochs`` of so many sequences in steps, rounded up; itself if it has none.

        Raises ValueError where that number of steps and the schedule do not go together.
        """
        if self.epochs is None:
            return self
        steps = max(1, math.ceil(self.epochs * sequences / self.batch_size))
        resolved = self.model_copy(update={"steps": steps})
        resolved._check_schedule()
        return resolved

    @model_serializer(mode="wrap")
    def _one_length(self, dumped: Any) -> dict[str, Any]:
        """Tokens and epochs stand instead of the steps, which follow from them."""
        table: dict[str, Any] = dumped(self)
        by_itself = self.tokens is None and self.epochs is None
        return table if by_itself else {key: value for key, value in table.items() if key != "steps"}

    @model_validator(mode="after")
    def _combinations(self) -> Training:
        lengths = [f"{key} = {getattr(self, key)}" for key in LENGTHS if key in self.model_fields_set and getattr(self, key)]
        if len(lengths) > 1:
            raise ValueError(f"{' and '.join(lengths)} are both given; one of them is allowed")
        if self.warmup_steps is not None and self.warmup_fraction is not None:
            raise ValueError(
                f"warmup_steps = {self.warmup_steps} and warmup_fraction = {self.warmup_fraction:g} are both given; "
                "one is allowed"
            )
        if self.batch_size % self.accumulation:
            raise ValueError(
                f"batch_size is {self.batch_size}, accumulation is {self.accumulation}; "
                f"a batch is cut into equal micro-batches: a divisor of {self.batch_size} is allowed"
            )
        if self.stochastic_rounding and self.precision != "pure-bf16":
            raise ValueError(
                f'stochastic_rounding = true is of weights in bfloat16; precision is "{self.precision}", "pure-bf16" is allowed'
            )
        needs_all = [key for key, needed in _NEEDS_ALL_GRADIENTS.items() if getattr(self, key) in needed]
        needs_all += ["max_gradient_norm"] if self.max_gradient_norm is not None else []
        needs_all += ["accumulation"] if self.accumulation > 1 else []
        if self.update_in_backward and needs_all:
            raise ValueError(
                "update_in_backward = true steps each parameter as its gradient arrives, and "
                f"{needs_all[0]} = {getattr(self, needs_all[0])} needs the gradients of all; one of them is allowed"
            )
        if self.tokens is not None:
            steps = -(-self.tokens // (self.batch_size * self.sequence_length))
            object.__setattr__(self, "steps", steps)
        for key, schedule in OF_SCHEDULES.items():
            said = getattr(self, key) != type(self).model_fields[key].default
            if said and self.schedule != schedule and self.schedule in {*PLAIN, *OF_SCHEDULES.values()}:
                raise ValueError(f'{key} is of schedule = "{schedule}"; schedule is "{self.schedule}"')
        if self.epochs is None:
            self._check_schedule()
        return self

    def _check_schedule(self) -> None:
        """Raise ValueError where warm-up, cycle and the like are longer than what they are part of."""
        if self.warmup > self.cycle:
            key = "steps" if self.cycle_steps is None else "cycle_steps"
            raise ValueError(f"warmup_steps is {self.warmup}, {key} is {self.cycle}; warmup_steps <= {key} is allowed")
        if self.schedule == "wsd" and self.warmup + self.decay > self.steps:
            raise ValueError(
                f"warmup_steps + decay_steps is {self.warmup + self.decay}, steps is {self.steps}; at most steps is allowed"
            )
        if self.schedule == "jagged-cosine":
            if self.restart_every is None:
                raise ValueError('restart_every is missing; schedule = "jagged-cosine" needs it, for example 5000')
            longest = max(self.warmup, self.restart_warmup_steps)
            if longest > self.restart_every:
                raise ValueError(
                    f"restart_every is {self.restart_every}, a warm-up has {longest} steps; at least as many are allowed"
                )


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
