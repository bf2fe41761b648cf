"""LLaMA models: transformers' ``LlamaForCausalLM`` in the shapes of the FRUGAL and GaLore papers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from frugal_theory import config
from frugal_theory.config.load import ExperimentError
from frugal_theory.config.shapes import SHAPES, Shape

__all__ = ["SHAPES", "Shape", "build_model", "checkpoint_activations", "meta_model", "model_shape", "parameter_count"]


def model_shape(model: config.Model) -> Shape:
    """The preset's shape with the sizes that the table sets apart.

    Raises :class:`ExperimentError` where the heads do not divide the hidden size into even parts (rotary embeddings
    turn pairs of coordinates).
    """
    names = ("vocabulary", "hidden_size", "intermediate_size", "layers", "heads", "key_value_heads")
    given = {name: size for name in names if (size := getattr(model, name)) is not None}
    shape = replace(SHAPES[model.preset], tie_embeddings=model.tie_embeddings, **given)
    if shape.hidden_size % (2 * shape.heads):
        raise ExperimentError(
            f"model.heads = {shape.heads}: hidden_size {shape.hidden_size} must be an even number times heads"
        )
    return shape


def build_model(
    shape: Shape,
    sequence_length: int,
    initializer_range: float = 0.02,
    activation_checkpointing: bool = False,
    labels: int = 0,
) -> nn.Module:
    """A ``LlamaForCausalLM`` in float32 with weights drawn from torch's global generator; with ``labels`` a
    ``LlamaForSequenceClassification`` for so many.

    Called under ``torch.device("meta")`` it has shapes and no storage.
    """
    from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

    kind: Any = LlamaForSequenceClassification if labels else LlamaForCausalLM
    model: Any = kind(
        LlamaConfig(
            vocab_size=shape.vocabulary,
            hidden_size=shape.hidden_size,
            intermediate_size=shape.intermediate_size,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.key_value_heads or shape.heads,
            max_position_embeddings=sequence_length,
            initializer_range=initializer_range,
            rms_norm_eps=1e-6,
            use_cache=False,
            tie_word_embeddings=shape.tie_embeddings,
            bos_token_id=None,
            eos_token_id=0,
            **({"num_labels": labels} if labels else {}),
        )
    )
    if activation_checkpointing:
        checkpoint_activations(model)
    result: nn.Module = model.float()
    return result


def checkpoint_activations(model: Any) -> None:
    """Let a model of transformers compute its activations again in the backward pass, instead of keeping them."""
    # transformers renamed it; the older name is deprecated in newer versions
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False})


def meta_model(shape: Shape, labels: int = 0) -> nn.Module:
    """The model without storage, for counting."""
    with torch.device("meta"):
        return build_model(shape, sequence_length=256, labels=labels)


def parameter_count(shape: Shape) -> int:
    """Number of parameters, read off the model itself."""
    return sum(parameter.numel() for parameter in meta_model(shape).parameters())
