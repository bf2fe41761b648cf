"""LLaMA shapes by preset: the one place where they are written."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SHAPES", "Shape"]


@dataclass(frozen=True)
class Shape:
    """The sizes that make a LLaMA. Embedding and output head are not tied in the presets, as in GaLore and FRUGAL; by default
    there are as many heads of keys and values as of queries."""

    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    vocabulary: int = 32000
    key_value_heads: int | None = None
    tie_embeddings: bool = False

    @property
    def parameters(self) -> int:
        """How many parameters the model has."""
        width, keys = self.hidden_size, self.hidden_size // self.heads * (self.key_value_heads or self.heads)
        layer = 2 * width * (width + keys) + 3 * width * self.intermediate_size + 2 * width
        return (1 if self.tie_embeddings else 2) * self.vocabulary * width + self.layers * layer + width


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
