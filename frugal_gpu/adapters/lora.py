"""LoRA (Hu et al. 2021, arXiv 2106.09685) through peft."""

from __future__ import annotations

from typing import Any

from torch import nn

from frugal_theory.config.adapter import Adapter
from frugal_theory.config.load import ExperimentError

__all__ = ["adapted", "linear_layers"]


def adapted(model: nn.Module, adapter: Adapter) -> nn.Module:
    """Put the adapters into the model, in place, and return it: A and B are trained, with ReLoRA all that has no adapter, too,
    and of a model for labels its head.

    W + (alpha/rank) B A with A kaiming uniform (√5) and B = 0. Raises ExperimentError without peft, and for a target that no
    linear layer has, and for a rank above that of every layer.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise ExperimentError("adapter: needs peft; pip install peft, or leave [adapter] out") from None
    found = linear_layers(model)
    names = found if adapter.target is None else [name for name in found if _ends(name, adapter.target)]
    missing = [target for target in adapter.target or () if not any(_ends(name, (target,)) for name in found)]
    if missing or not names:
        endings = ", ".join(dict.fromkeys(f'"{name.rsplit(".", 1)[-1]}"' for name in found))
        raise ExperimentError(
            f'adapter.target = "{missing[0] if missing else ""}": no linear layer has that name; allowed: {endings}'
        )
    layers: list[Any] = [model.get_submodule(name) for name in names]
    most = max(min(layer.in_features, layer.out_features) for layer in layers)
    if adapter.rank > most:
        raise ExperimentError(
            f"adapter.rank = {adapter.rank}: no layer with an adapter has a rank above {most}; at most {most} is allowed"
        )
    settings = LoraConfig(r=adapter.rank, lora_alpha=adapter.alpha, lora_dropout=adapter.dropout, target_modules=names)
    inject_adapter_in_model(settings, model)
    if adapter.kind == "relora":  # norms, embeddings and the head are trained, too
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(".base_layer." not in name)
    for name, parameter in model.named_parameters():
        if _of_head(model, name):
            parameter.requires_grad_(True)
    return model


def linear_layers(model: nn.Module) -> list[str]:
    """The names of the linear layers that can have an adapter: all but the output head, and the head of a model for labels."""
    heads = getattr(model, "get_output_embeddings", lambda: None)()
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear) and module is not heads]
    return [name for name in linear if not _of_head(model, name)]


def _of_head(model: nn.Module, name: str) -> bool:
    """Whether a name is of the head of one of transformers' models for labels: beside the model that it stands on."""
    labelled = type(model).__name__.endswith("ForSequenceClassification")
    return labelled and not name.startswith(f"{getattr(model, 'base_model_prefix', '')}.")


def _ends(name: str, targets: tuple[str, ...]) -> bool:
    return any(name == target or name.endswith(f".{target}") for target in targets)
