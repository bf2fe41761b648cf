"""The model that an experiment's ``[model]`` table describes: a LLaMA in a shape, or one that was trained before."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from frugal_gpu.model.llama import build_model, checkpoint_activations, meta_model, model_shape
from frugal_gpu.model.pretrained import (
    load_pretrained,
    longest_input,
    planned_config,
    pretrained_config,
    tokenizer_beside,
)
from frugal_theory.config import Data, Model, Training
from frugal_theory.config.load import ExperimentError

__all__ = ["check_model", "made", "padding_of", "parameters_of", "shapes_only", "vocabulary_of", "with_tokenizer"]


def check_model(model: Model, training: Training) -> None:
    """Raise :class:`ExperimentError` where the model cannot be made, or cannot take sequences of that length."""
    if model.checkpoint is None:
        model_shape(model)
        return
    longest = longest_input(pretrained_config(model))
    if longest is not None and training.sequence_length > longest:
        raise ExperimentError(
            f"training.sequence_length = {training.sequence_length}: model.checkpoint takes at most {longest} tokens"
        )


def made(model: Model, training: Training, labels: int = 0, padding: int | None = None) -> nn.Module:
    """The model in float32, its weights drawn from torch's global generator or read.

    With ``labels`` it has a head for so many classes, and takes rows that are filled with the token ``padding``.
    """
    if model.checkpoint is None:
        found = build_model(
            model_shape(model), training.sequence_length, model.initializer_range, training.activation_checkpointing, labels
        )
    else:
        found = load_pretrained(model, labels)
    if labels:
        found.config.pad_token_id = padding  # type: ignore[union-attr]
    if model.checkpoint is not None and training.activation_checkpointing:
        checkpoint_activations(found)
    return found


def shapes_only(model: Model, labels: int = 2) -> nn.Module:
    """The model on the meta device, for counting; one that has labels to tell has so many."""
    if model.checkpoint is None:
        return meta_model(model_shape(model), labels if model.task == "sequence-classification" else 0)
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    kind: Any = AutoModelForCausalLM if model.task == "causal-lm" else AutoModelForSequenceClassification
    config = planned_config(model)
    if model.task == "sequence-classification":
        config.num_labels = labels
    with torch.device("meta"):
        found: nn.Module = kind.from_config(config)
    return found


def parameters_of(model: Model) -> int:
    """How many parameters the model has, without making it."""
    if model.checkpoint is None and model.task == "causal-lm":
        return model_shape(model).parameters
    return sum(parameter.numel() for parameter in shapes_only(model).parameters())


def vocabulary_of(model: Model) -> int:
    """How many tokens the model knows."""
    if model.checkpoint is None:
        return model_shape(model).vocabulary
    found: Any = planned_config(model)
    return int(found.vocab_size)


def padding_of(model: Model) -> int | None:
    """The token that a checkpoint says to fill rows with, if it says one."""
    return None if model.checkpoint is None else pretrained_config(model).pad_token_id


def with_tokenizer(data: Data, model: Model) -> Data:
    """The data with the tokenizer of the model's checkpoint, if it has one and no other is given."""
    if model.checkpoint is None or data.tokenizer is not None:
        return data
    return data.model_copy(update={"tokenizer": tokenizer_beside(model.checkpoint)})
