"""The optimizer of an experiment, adapters included."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from frugal_gpu.optim.exempt import without_decay
from frugal_gpu.optim.frugal import Frugal
from frugal_theory.config import Experiment, Training

__all__ = ["build_optimizer"]


def build_optimizer(model: nn.Module, experiment: Experiment, lr: float | Tensor | None = None) -> Frugal:
    """What the experiment trains the model with: ``[algorithm]``, whatever its system, on what ``[adapter]`` leaves to train.

    With an ``[adapter]`` the model gets its adapters here, in place, and only those are trained. ``lr`` is by default that of
    ``[training]``, or else the algorithm's; the form of the state is ``[training]``'s. Raises ValueError if lr is a fraction of
    the admissible step, ExperimentError (a ValueError) for adapters that the model cannot have, or without peft.
    """
    if lr is None and experiment.training is not None:
        lr = experiment.training.learning_rate
    training = experiment.training or Training()
    exempt = training.weight_decay_exempt
    practice: dict[str, Any] = {"state_dtype": training.state_dtype, "stochastic_rounding": training.rounds_by_chance}
    practice["update_in_backward"] = training.update_in_backward
    if (adapter := experiment.adapter) is None:
        return Frugal.from_config(model, without_decay(experiment.algorithm, model, exempt), lr=lr, **practice)
    from frugal_gpu.adapters.lora import adapted
    from frugal_gpu.adapters.relora import Restarts

    adapted(model, adapter)
    optimizer = Frugal.from_config(model, without_decay(experiment.algorithm, model, exempt), lr=lr, **practice)
    if adapter.restarts is not None:
        optimizer.register_step_post_hook(Restarts(model, adapter, experiment.seed))
    return optimizer
