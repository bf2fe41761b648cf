"""FSDP2: weights, gradients and optimizer state in shares, one a process (Zhao et al. 2023, arXiv 2304.11277)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from frugal_theory.config import Experiment, Training
from frugal_theory.config.load import ExperimentError

__all__ = [
    "check_sharding",
    "check_state",
    "gathered",
    "give_optimizer",
    "give_weights",
    "is_whole",
    "shard_model",
    "total_norm",
]


def check_sharding(experiment: Experiment) -> None:
    """Raise :class:`ExperimentError` for what cannot be trained in shares."""
    training = experiment.training or Training()
    if training.sharding != "fsdp2":
        return
    given = 'training.sharding = "fsdp2"'
    if training.precision == "fp16":
        raise ExperimentError(f'{given}: precision = "fp16" scales losses in each process by itself; "bf16" is allowed')
    if training.update_in_backward:
        raise ExperimentError(
            f"{given}: a share of a gradient is there after its exchange; update_in_backward = false is allowed"
        )
    if experiment.adapter is not None:
        raise ExperimentError(f'{given}: an [adapter] is small and needs no shares; sharding = "ddp" is allowed')
    if experiment.probes is not None:
        raise ExperimentError(f'{given}: [probes] measure on whole models; sharding = "ddp" is allowed')


def shard_model(model: nn.Module, accelerator: Any) -> nn.Module:
    """Shard a model on the CPU over all processes, in place: each layer by itself, then what is left.

    A device never holds more than its share and one layer. One process keeps the model as it is.
    """
    if accelerator.num_processes == 1:
        return model.to(accelerator.device)
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
    for stack in [module for module in model.modules() if isinstance(module, nn.ModuleList)]:
        for layer in stack:
            fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model


def total_norm(gradients: list[Tensor]) -> Tensor:
    """The Euclidean norm of all gradients, shares of other processes included; a plain tensor."""
    norm: Any = torch.nn.utils.get_total_norm(gradients)
    whole: Tensor = norm.full_tensor() if hasattr(norm, "full_tensor") else norm
    return whole


def check_state(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Raise :class:`ExperimentError` where the optimizer's state cannot be gathered: before the first step, not after many."""
    try:
        gathered(model, optimizer)
    except ValueError as error:
        reason = str(error).removeprefix("Frugal: ")
        raise ExperimentError(f'training.sharding = "fsdp2": {reason}; sharding = "ddp" is allowed') from None


def gathered(model: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights by name, each once, and the whole form of the optimizer's state, on the CPU of the main process.

    Every process has to call it; all but the main one get empty dictionaries.
    """
    from torch.distributed.checkpoint.state_dict import get_model_state_dict, get_optimizer_state_dict

    weights: dict[str, Any] = get_model_state_dict(model, options=_whole())
    once = {name for name, _ in [*model.named_parameters(), *model.named_buffers()]}  # a tied matrix has two names
    state = {} if optimizer is None else get_optimizer_state_dict(model, optimizer, options=_whole())
    return {name: tensor for name, tensor in weights.items() if name in once}, state


def is_whole(state: Mapping[str, Any]) -> bool:
    """Whether the state of an optimizer is one that :func:`gathered` made: it goes by names."""
    return all(isinstance(name, str) for group in state["param_groups"] for name in group["params"])


def give_weights(model: nn.Module, path: Path) -> None:
    """Read weights into a model that may be sharded; each process reads the file. Raises ValueError for another model's."""
    from safetensors.torch import load_file
    from torch.distributed.checkpoint.state_dict import set_model_state_dict

    weights = load_file(path)
    named = {name for name, _ in model.named_parameters()}
    if missing := sorted(named - weights.keys()):
        raise ValueError(f"has no {missing[0]}")
    set_model_state_dict(model, weights, options=_whole(strict=False))


def give_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Give an optimizer, of a model that may be sharded, the state that was :func:`gathered`."""
    from torch.distributed.checkpoint.state_dict import set_optimizer_state_dict

    set_optimizer_state_dict(model, optimizer, state, options=_whole())


def _whole(strict: bool = True) -> Any:
    from torch.distributed.checkpoint.state_dict import StateDictOptions

    return StateDictOptions(full_state_dict=True, cpu_offload=True, strict=strict)
