"""``[training]`` and ``[probes]``: the run, and what is measured along it; only the trainer reads them."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field, model_serializer, model_validator

from frugal_theory.config.fields import NameOf
from frugal_theory.config.parts import Count, Part, Positive, Probability
from frugal_theory.config.registry import PROBES, SCHEDULES

__all__ = ["Probes", "Training"]

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
    """The length of the run; or ``tokens``, or ``epochs``."""
    tokens: Count | None = None
    """The length in tokens, rounded up to whole steps."""
    epochs: Positive | None = None
    """The length in passes over the training text."""
    learning_rate: Positive | None = None
    """α of the training; the algorithm's by default, whose scale is the theory problem's."""
    batch_size: Count = 16
    """Sequences of a step, over all devices and micro-batches."""
    sequence_length: Annotated[int, Field(ge=2)] = 256
    """Tokens of a sequence."""
    accumulation: Count = 1
    """Micro-batches of a step."""
    warmup_steps: Annotated[int, Field(ge=0)] | None = None
    """Steps of linear warm-up; a tenth of the run, or of a cycle, by default."""
    warmup_fraction: Probability | None = None
    """Warm-up as a share of the run, instead of ``warmup_steps``."""
    schedule: Annotated[str, NameOf(SCHEDULES)] = "cosine"
    """The schedule of the learning rate."""
    final_learning_rate: Probability = 0.1
    """The last learning rate, as a share of the peak."""
    cycle_steps: Count | None = None
    """Steps of a cycle of "cosine-cycles"."""
    decay_steps: Count | None = None
    """Steps of the decay of "wsd"; a tenth of the run by default."""
    restart_every: Count | None = None
    """Steps between two restarts of "jagged-cosine"."""
    restart_warmup_steps: Count = 100
    """Steps of warm-up after a restart."""
    max_gradient_norm: Positive | None = None
    """Gradients of a larger norm are scaled down to it."""
    weight_decay_exempt: Annotated[tuple[Exempt, ...], Field(strict=False)] = ()
    """Kinds of parameters that do not decay."""
    precision: Literal["float32", "bf16", "pure-bf16", "fp16"] = "float32"
    """What is computed in, and kept: "bf16" and "fp16" keep float32 weights, "pure-bf16" does not."""
    state_dtype: Literal["float32", "bfloat16", "float16", "8bit"] | None = None
    """The type of the optimizer's statistics; by default the parameters', but float32 for 16-bit ones."""
    stochastic_rounding: bool | None = None
    """Whether bfloat16 weights are rounded up or down by chance; by default with "pure-bf16"."""
    update_in_backward: bool = False
    """Whether each parameter steps as its gradient arrives, which is then freed."""
    compile: bool = False
    """Whether torch.compile is applied to the model."""
    sharding: Literal["ddp", "fsdp2"] = "ddp"
    """Whole copies in every process, or weights and state in shards."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """The GPU if there is one, or which."""
    threads: Count | None = None
    """Threads of the CPU; torch's choice by default. A small model is fastest on one."""
    evaluate_every: Count = 100
    """Steps between two evaluations on the validation text."""
    evaluation_tokens: Count | None = None
    """The most validation tokens of one evaluation."""
    checkpoint_every: Count = 500
    """Steps between two checkpoints."""
    keep_checkpoints: Count = 2
    """How many of the last checkpoints are kept."""
    keep_best: bool = True
    """Whether the weights of the best evaluation are kept, too."""
    tensorboard: bool = False
    """Whether the log is written for TensorBoard, too."""
    wandb: bool = False
    """Whether the log is written for Weights & Biases, too."""
    nan_step: Literal["stop", "skip"] = "stop"
    """What becomes of a step whose loss or gradient is not finite."""
    activation_checkpointing: bool = False
    """Whether activations are computed again in the backward pass, to save memory."""

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
    """One step is drawn in each interval of so many steps; as ``cost`` allows by default."""
    cost: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """The share of the run's time that the probes may take."""
    batch_size: Count | None = None
    """Sequences of one measurement of the gradient; those of a step by default."""
    kinds: Annotated[tuple[Annotated[str, NameOf(PROBES)], ...], Field(strict=False, min_length=1)] = (
        "gradient",
        "noise",
        "smoothness",
        "descent",
        "curvature",
        "angles",
    )
    """What is measured (docs/practice.md)."""
