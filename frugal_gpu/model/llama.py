"""LLaMA models: transformers' ``LlamaForCausalLM`` in the shapes of the FRUGAL and GaLore papers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from frugal_theory import config
from frugal_theory.config.load import ExperimentError

__all__ = ["SHAPES", "Shape", "build_model", "meta_model", "model_shape", "parameter_count"]


@dataclass(frozen=True)
class Shape:
    """The sizes that make a LLaMA. Embedding and output head are not tied, as in GaLore and FRUGAL."""

    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    vocabulary: int = 32000


SHAPES: dict[str, Shape] = {
    "llama-tiny": Shape(128, 352, 3, 4, vocabulary=2048),
    "llama-9m": Shape(128, 352, 4, 4),
    "llama-20m": Shape(256, 688, 4, 4),
    "llama-35m": Shape(384, 1024, 6, 8),
    "llama-40m": Shape(416, 1024, 8, 8),
    "llama-60m": Shape(512, 1376, 8, 8),
    "llama-71m": Shape(512, 1368, 12, 8),
    "llama-100m": Shape(640, 1708, 12, 10, vocabulary=32100),
    "llama-130m": Shape(768, 2048, 12, 12),
    "llama-250m": Shape(768, 2560, 24, 16),
    "llama-350m": Shape(1024, 2736, 24, 16),
    "llama-1b": Shape(2048, 5461, 24, 32),
    "llama-3b": Shape(2560, 6848, 32, 32),
    "llama-7b": Shape(4096, 11008, 32, 32),
}
"""The presets. All but "llama-tiny", which is ours and small enough for a CPU, are the published configurations of the
GaLore line; its 100M model is the one with 32,100 tokens."""


def model_shape(model: config.Model) -> Shape:
    """The preset's shape with the sizes that the table sets apart.

    Raises :class:`ExperimentError` where the heads do not divide the hidden size into even parts (rotary embeddings
    turn pairs of coordinates).
    """
    names = ("vocabulary", "hidden_size", "intermediate_size", "layers", "heads")
    given = {name: size for name in names if (size := getattr(model, name)) is not None}
    shape = replace(SHAPES[model.preset], **given)
    if shape.hidden_size % (2 * shape.heads):
        raise ExperimentError(
            f"model.heads = {shape.heads}: hidden_size {shape.hidden_size} must be an even number times heads"
        )
    return shape


def build_model(
    shape: Shape, sequence_length: int, initializer_range: float = 0.02, activation_checkpointing: bool = False
) -> nn.Module:
    """A ``LlamaForCausalLM`` in float32 with weights drawn from torch's global generator.

    Called under ``torch.device("meta")`` it has shapes and no storage.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    model: Any = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=shape.vocabulary,
            hidden_size=shape.hidden_size,
            intermediate_size=shape.intermediate_size,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            max_position_embeddings=sequence_length,
            initializer_range=initializer_range,
            rms_norm_eps=1e-6,
            use_cache=False,
            tie_word_embeddings=False,
            bos_token_id=None,
            eos_token_id=0,
        )
    )
    if activation_checkpointing:
        # transformers renamed it; the older name is deprecated in newer versions
        enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
        enable({"use_reentrant": False})
    result: nn.Module = model.float()
    return result


def meta_model(shape: Shape) -> nn.Module:
    """The model without storage, for counting."""
    with torch.device("meta"):
        return build_model(shape, sequence_length=256)


def parameter_count(shape: Shape) -> int:
    """Number of parameters, read off the model itself."""
    return sum(parameter.numel() for parameter in meta_model(shape).parameters())
