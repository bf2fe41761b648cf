"""``[model]``: what is trained; only the trainer reads it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from frugal_theory.config.fields import NameOf
from frugal_theory.config.parts import Count, Part
from frugal_theory.config.shapes import SHAPES

__all__ = ["MOST_LAYERS", "SIZES", "Model", "Preset"]

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


class Model(Part):
    """A LLaMA by preset name; any of its sizes may be set apart. ``vocabulary`` has at least 256 bytes and a separator.

    ``key_value_heads`` are the heads of keys and values (grouped-query attention; as many as ``heads`` by default).
    ``tie_embeddings``: one matrix for embedding and head. ``checkpoint``: instead, a model that transformers reads, a folder or
    a name of the hub; it has its sizes and, unless ``data.tokenizer`` is given, its tokenizer. ``task``: what the model's head
    is for; "sequence-classification" needs a ``data.task`` with labels.
    """

    preset: Preset = "llama-9m"
    """A LLaMA of a published size ("llama-tiny" is ours)."""
    checkpoint: Annotated[str, Field(min_length=1)] | None = None
    """Instead: a model that transformers reads, its folder or its name on the hub."""
    vocabulary: Annotated[int, Field(ge=257)] | None = None
    """Tokens; at least 256 bytes and a separator. The preset's by default, as all sizes."""
    hidden_size: Count | None = None
    """Width."""
    intermediate_size: Count | None = None
    """Width of the feed-forward part."""
    layers: Annotated[int, Field(ge=1, le=MOST_LAYERS)] | None = None
    """Blocks."""
    heads: Count | None = None
    """Heads of attention; they divide the width."""
    key_value_heads: Count | None = None
    """Heads of keys and values (grouped-query attention); as many as ``heads`` by default."""
    tie_embeddings: bool = False
    """One matrix for embedding and head."""
    initializer_range: Annotated[float, Field(gt=0, le=1)] = 0.02
    """The standard deviation of the initial weights."""
    task: Literal["causal-lm", "sequence-classification"] = "causal-lm"
    """What the model is trained for: the next token, or labels, which need a ``data.task`` that has some."""

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
