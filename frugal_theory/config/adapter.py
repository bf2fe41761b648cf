"""``[adapter]``: low-rank adapters in place of the full weights; only the trainer reads it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from frugal_theory.config.parts import Count, Part, Positive, Probability

__all__ = ["Adapter"]


class Adapter(Part):
    """LoRA, W + (alpha/rank) B A, or ReLoRA, which merges the product into W every ``restart_every`` steps and starts anew.

    ``target``: the last parts of the names of the linear layers that get one; without it every linear layer but the output
    head. At a restart of ReLoRA all but a share ``keep`` of the optimizer's moments becomes zero: the smallest of each tensor
    (``prune = "magnitude"``) or random ones.
    """

    kind: Literal["lora", "relora"] = "lora"
    rank: Count = 128
    """r of W + (alpha/r) BA."""
    alpha: Positive = 32.0
    """The scale of the product."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """The share of inputs that is set to zero in training."""
    target: Annotated[tuple[str, ...], Field(strict=False, min_length=1)] | None = None
    """The last parts of the names of the linear layers that get one; by default all but the output head."""
    restart_every: Count | None = None
    """Of ReLoRA: steps between two merges into W; 5000 by default."""
    prune: Literal["magnitude", "random"] = "magnitude"
    """Which moments stay at a restart of ReLoRA: the largest of a tensor, or random ones. Adafactor's factors and LDAdam's
    error are not pruned."""
    keep: Probability = 0.001
    """The share of moments that stays."""

    @model_validator(mode="after")
    def _combinations(self) -> Adapter:
        if self.kind == "lora" and self.restart_every is not None:
            raise ValueError(f'restart_every = {self.restart_every}: kind = "lora" never restarts; "relora" is allowed')
        return self

    @property
    def restarts(self) -> int | None:
        """Steps between restarts; None for LoRA."""
        return None if self.kind == "lora" else self.restart_every or 5000
