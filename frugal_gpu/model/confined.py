"""Whether a model attends within documents, as ``data.attention = "within"`` asks: it is tried, not looked up."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from frugal_theory.config import Data, Model
from frugal_theory.config.load import ExperimentError

__all__ = ["check_confined"]

LENGTH = 4
"""Tokens of each of the two documents of the trial."""

SAME = 1e-5
"""Logits that differ by no more than this share of the largest are those of another order of sums in float32."""


def check_confined(model: nn.Module, table: Model, data: Data) -> None:
    """Raise :class:`ExperimentError` where ``data.attention`` is "within" and ``model`` attends across documents all the same.

    transformers takes the limits from the positions (:meth:`~frugal_gpu.data.batches.Packed.model_inputs`), and a model that
    has no use for positions, or does not ask for them in its mask, leaves them out without a word. LLaMA does not; a checkpoint
    may be of any kind.
    """
    if data.attention != "within" or data.packing != "stream" or table.checkpoint is None:
        return
    own: Any = model
    try:
        held = _is_confined(own)
    except (TypeError, ValueError) as error:  # a forward that takes no positions, or is asked for more than it can do
        raise _refusal(own, table, " ".join(str(error).split())[:120]) from None
    if not held:
        raise _refusal(own, table, "it attends to earlier documents all the same")


def _refusal(model: Any, table: Model, reason: str) -> ExperimentError:
    return ExperimentError(
        f'data.attention = "within": model.checkpoint = "{table.checkpoint}" is of kind "{model.config.model_type}", which '
        f'cannot be kept within documents ({reason}); data.attention = "across" and data.packing = "documents" are allowed'
    )


@torch.no_grad()
def _is_confined(model: Any) -> bool:
    """Whether a second document's logits are the same after two different first ones."""
    training, device = model.training, next(model.parameters()).device
    tokens = torch.arange(1, 3 * LENGTH + 1, device=device) % model.config.vocab_size
    first, other, second = tokens.split(LENGTH)
    ids = torch.stack([torch.cat([first, second]), torch.cat([other, second])])
    positions = torch.arange(LENGTH, device=device).repeat(2).expand_as(ids)
    model.eval()
    try:
        one, two = model(input_ids=ids, position_ids=positions).logits[:, LENGTH:].float()
    finally:
        model.train(training)
    return bool((one - two).abs().max() <= SAME * one.abs().max())
