"""What a run says when its numbers are no longer finite."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from frugal_gpu.optim.placement import local
from frugal_gpu.train import checkpoint
from frugal_theory.config import Training
from frugal_theory.config.load import ExperimentError
from frugal_theory.results.files import write_text
from frugal_theory.results.schema import DIVERGED

__all__ = ["diverged", "may_skip", "not_finite"]

MOST_IN_A_ROW = 20
"""Steps that may be skipped one after the other: float16's scale is down from 2¹⁶ to 2⁻⁴ then."""


def diverged(model: nn.Module, training: Training, folder: Path, found: str, early: bool = False) -> ExperimentError:
    """The error of a run whose loss, gradient or weights are not finite: what, where, and from where it can go on.

    ``found``: the loss and the step, in words. ``early``: whether no step has been made yet. ``folder``: that of the run; a
    file says there that the run diverged, for the report.
    """
    where = next(not_finite(model), "")
    last = checkpoint.latest(folder / "checkpoints")
    kept = f"the last good checkpoint is {last.name}" if last is not None else "no checkpoint was written"
    key, advice = _remedy(training, early)
    write_text(folder / Path(DIVERGED.path).name, json.dumps({"found": f"{found}{f': {where}' if where else ''}"}) + "\n")
    return ExperimentError(f"{key}: the run diverged, {found}{f': {where}' if where else ''}; {kept}; {advice}")


def may_skip(model: nn.Module, training: Training, scaler: torch.amp.GradScaler | None, loss: float, in_a_row: int) -> bool:
    """Whether a step without a finite loss or gradient is left out: by choice, or as its scaled gradient was too large for
    float16. Not if the weights themselves are not finite, nor for ever."""
    overflow = scaler is not None and math.isfinite(loss)
    if not (overflow or training.nan_step == "skip") or in_a_row >= MOST_IN_A_ROW:
        return False
    return all(bool(torch.isfinite(local(parameter)).all()) for parameter in model.parameters())


def not_finite(model: nn.Module) -> Iterator[str]:
    """Every parameter whose weights or gradient have an entry that is not finite, in words; weights first."""
    for what in ("weights", "gradient"):
        for name, parameter in model.named_parameters():
            tensor = parameter.detach() if what == "weights" else parameter.grad
            if tensor is not None and not bool(torch.isfinite(local(tensor)).all()):
                yield f"the {what} of {name} {'are' if what == 'weights' else 'is'} not finite"


def _remedy(training: Training, early: bool) -> tuple[str, str]:
    """The key that decides, and what to do about it."""
    if early:  # no learning rate has had a part in it
        if training.precision != "float32":
            return "training.precision", f'it is "{training.precision}"; give "float32", or a smaller model.initializer_range'
        return "model.initializer_range", "the model's start is to blame: give a smaller one"
    key = "algorithm.learning_rate" if training.learning_rate is None else "training.learning_rate"
    remedies = ["give a smaller one"]
    if training.max_gradient_norm is None:
        remedies.append("set training.max_gradient_norm")
    return key, ", or ".join(remedies)
