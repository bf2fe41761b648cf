"""What a training asks of the machine, against what there is: said before anything is asked for."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from frugal_gpu.model.build import parameters_of, vocabulary_of
from frugal_gpu.probes.objective import MICRO_BATCHES
from frugal_theory.config import Experiment, Model, Training
from frugal_theory.config.load import ExperimentError
from frugal_theory.config.shapes import SHAPES
from frugal_theory.instance.sizes import available

__all__ = ["check_machine"]

WEIGHT_AND_GRADIENT = {"float32": 8, "bf16": 8, "fp16": 8, "pure-bf16": 4}
"""Bytes a parameter, without the optimizer's state."""

LOGITS = 2
"""float32 numbers that exist for every logit of a micro-batch, at least: itself and its gradient."""

MOST_THREADS = 64
"""Threads that any machine is asked for without a question."""

MOST_SEED = 2**64
"""torch takes seeds below."""


def check_machine(experiment: Experiment) -> None:
    """Raise :class:`ExperimentError` where seed, threads, model or batch are more than this machine has; rough, from below."""
    training, model = experiment.training or Training(), experiment.model or Model()
    if experiment.seed >= MOST_SEED:
        raise ExperimentError(f"seed = {experiment.seed}: training needs a seed below 2^64")
    most = max(MOST_THREADS, os.cpu_count() or 1)
    if training.threads is not None and training.threads > most:
        raise ExperimentError(f"training.threads = {training.threads}: at most {most} are allowed here")
    processes, (room, where) = int(os.environ.get("WORLD_SIZE", "1")), _room(training)
    trained = experiment.adapter is None or experiment.adapter.kind == "relora"
    shares = processes if training.sharding == "fsdp2" and where == "the GPU" else 1  # processes share one machine's memory
    weights = parameters_of(model) * WEIGHT_AND_GRADIENT[training.precision] // (1 if trained else 2) // shares
    if weights > room:
        raise ExperimentError(
            f"{_largest(model)}: weights and gradients need about {_gigabytes(weights)}, {where} has {_gigabytes(room)}; "
            "a smaller model is allowed"
        )
    rows = training.batch_size // training.accumulation // processes or 1
    row = 4 * LOGITS * (training.sequence_length * vocabulary_of(model) if model.task == "causal-lm" else 1)
    asked = [("training.sequence_length", training.sequence_length, 1, "a shorter one")]
    asked += [("training.batch_size", training.batch_size, rows, "a larger training.accumulation")]
    if experiment.probes is not None and experiment.probes.batch_size is not None:
        size = experiment.probes.batch_size
        asked += [("probes.batch_size", size, -(-size // MICRO_BATCHES), "a smaller one")]
    for key, value, count, advice in asked:
        if weights + count * row > room:
            raise ExperimentError(
                f"{key} = {value}: the logits of a micro-batch need about {_gigabytes(count * row)}, {where} has "
                f"{_gigabytes(room - weights)} beside the model; {advice} is allowed"
            )


def _room(training: Training) -> tuple[float, str]:
    """Bytes that are free where the training will run, and what that is."""
    if training.device != "cpu" and torch.cuda.is_available():
        local = int(os.environ.get("LOCAL_RANK", "0"))
        return float(torch.cuda.mem_get_info(local)[0]), "the GPU"
    return available(), "this machine"


def _largest(model: Model) -> str:
    """The key of the model that makes it as large as it is."""
    if model.checkpoint is not None:
        return f'model.checkpoint = "{Path(model.checkpoint)}"'
    preset = SHAPES[model.preset]
    sizes = ("vocabulary", "hidden_size", "intermediate_size", "layers")
    growth = {key: getattr(model, key) / getattr(preset, key) for key in sizes if getattr(model, key) is not None}
    if not growth or max(growth.values()) <= 1:
        return f'model.preset = "{model.preset}"'
    key = max(growth, key=lambda key: growth[key])
    return f"model.{key} = {getattr(model, key)}"


def _gigabytes(size: float) -> str:
    return f"{size / 2**30:,.1f} GiB"
