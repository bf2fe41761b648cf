"""The optimizer of an experiment, adapters included."""

from __future__ import annotations

from torch import Tensor, nn

from frugal_gpu.optim.exempt import without_decay
from frugal_gpu.optim.frugal import Frugal
from frugal_theory.config import Experiment

__all__ = ["build_optimizer"]


def build_optimizer(model: nn.Module, experiment: Experiment, lr: float | Tensor | None = None) -> Frugal:
    """What the experiment trains the model with: ``[algorithm]``, whatever its system, on what ``[adapter]`` leaves to train.

    With an ``[adapter]`` the model gets its adapters here, in place, and only those are trained. ``lr`` is by default that of
    ``[training]``, or else the algorithm's. Raises ValueError if that is a fraction of the admissible step, ExperimentError
    (a ValueError) for adapters that the model cannot have, or without peft.
    """
    if lr is None and experiment.training is not None:
        lr = experiment.training.learning_rate
    exempt = () if experiment.training is None else experiment.training.weight_decay_exempt
    if (adapter := experiment.adapter) is None:
        return Frugal.from_config(model, without_decay(experiment.algorithm, model, exempt), lr=lr)
    from frugal_gpu.adapters.lora import adapted
    from frugal_gpu.adapters.relora import Restarts

    adapted(model, adapter)
    optimizer = Frugal.from_config(model, without_decay(experiment.algorithm, model, exempt), lr=lr)
    if adapter.restarts is not None:
        optimizer.register_step_post_hook(Restarts(model, adapter, experiment.seed))
    return optimizer
