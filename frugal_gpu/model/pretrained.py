"""Models from a folder that transformers reads: any causal language model, with its sizes and its tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from frugal_theory.config.load import ExperimentError

__all__ = ["load_pretrained", "pretrained_config", "tokenizer_beside"]


def pretrained_config(folder: str) -> Any:
    """The configuration of a model's folder. Raises :class:`ExperimentError` if it is none of a causal language model."""
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    _check_folder(folder)
    try:
        found = AutoConfig.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # transformers has many
        raise ExperimentError(f'model.checkpoint = "{folder}": {_first_line(error)}') from None
    if found.model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise ExperimentError(f'model.checkpoint = "{folder}": a "{found.model_type}" is no causal language model')
    return found


def load_pretrained(folder: str) -> nn.Module:
    """The model in float32, without dropout of its own choosing. Raises :class:`ExperimentError` if it cannot be read."""
    import torch
    from transformers import AutoModelForCausalLM

    pretrained_config(folder)
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
    except Exception as error:  # transformers has many
        raise ExperimentError(f'model.checkpoint = "{folder}": {_first_line(error)}') from None
    model.config.use_cache = False
    found: nn.Module = model
    return found


def tokenizer_beside(folder: str) -> str:
    """The path of the tokenizer.json in a model's folder. Raises :class:`ExperimentError` if there is none."""
    path = Path(folder) / "tokenizer.json"
    if not path.is_file():
        raise ExperimentError(f'model.checkpoint = "{folder}": has no tokenizer.json; give data.tokenizer the path of one')
    return str(path)


def _check_folder(folder: str) -> None:
    if not (Path(folder) / "config.json").is_file():
        raise ExperimentError(
            f'model.checkpoint = "{folder}": no such model; allowed: a folder with config.json and weights, '
            "as save_pretrained and frugal-gpu export write it"
        )


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
