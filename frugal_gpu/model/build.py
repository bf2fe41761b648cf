"""The model that an experiment's ``[model]`` table describes: a LLaMA in a shape, or one that was trained before."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from frugal_gpu.model.llama import build_model, checkpoint_activations, meta_model, model_shape
from frugal_gpu.model.pretrained import load_pretrained, pretrained_config, tokenizer_beside
from frugal_theory.config import Data, Model, Training
from frugal_theory.config.load import ExperimentError

__all__ = ["check_model", "made", "parameters_of", "shapes_only", "vocabulary_of", "with_tokenizer"]


def check_model(model: Model, training: Training) -> None:
    """Raise :class:`ExperimentError` where the model cannot be made, or cannot take sequences of that length."""
    if model.checkpoint is None:
        model_shape(model)
        return
    found = pretrained_config(model.checkpoint)
    longest = getattr(found, "max_position_embeddings", None)
    if longest is not None and training.sequence_length > longest:
        raise ExperimentError(
            f"training.sequence_length = {training.sequence_length}: model.checkpoint takes at most {longest} tokens"
        )


def made(model: Model, training: Training) -> nn.Module:
    """The model in float32, its weights drawn from torch's global generator or read."""
    if model.checkpoint is None:
        return build_model(
            model_shape(model), training.sequence_length, model.initializer_range, training.activation_checkpointing
        )
    found = load_pretrained(model.checkpoint)
    if training.activation_checkpointing:
        checkpoint_activations(found)
    return found


def shapes_only(model: Model) -> nn.Module:
    """The model on the meta device, for counting."""
    if model.checkpoint is None:
        return meta_model(model_shape(model))
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        found: nn.Module = AutoModelForCausalLM.from_config(pretrained_config(model.checkpoint))
    return found


def parameters_of(model: Model) -> int:
    """How many parameters the model has, without making it."""
    if model.checkpoint is None:
        return model_shape(model).parameters
    return sum(parameter.numel() for parameter in shapes_only(model).parameters())


def vocabulary_of(model: Model) -> int:
    """How many tokens the model knows."""
    if model.checkpoint is None:
        return model_shape(model).vocabulary
    found: Any = pretrained_config(model.checkpoint)
    return int(found.vocab_size)


def with_tokenizer(data: Data, model: Model) -> Data:
    """The data with the tokenizer of the model's checkpoint, if it has one and no other is given."""
    if model.checkpoint is None or data.tokenizer is not None:
        return data
    return data.model_copy(update={"tokenizer": tokenizer_beside(model.checkpoint)})
