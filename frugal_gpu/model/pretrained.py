"""Models that transformers reads, from a folder or from the hub: of language or with a head for labels."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from logging import ERROR, getLogger
from pathlib import Path
from textwrap import shorten
from typing import Any

from torch import nn

from frugal_theory.config import Model
from frugal_theory.config.load import ExperimentError

__all__ = ["is_local", "load_pretrained", "longest_input", "planned_config", "pretrained_config", "quietly", "tokenizer_beside"]

ON_THE_HUB = re.compile(r"[\w.-]+/[\w.-]+")

KNOWN: dict[str, tuple[str, dict[str, Any]]] = {
    "FacebookAI/roberta-base": (
        "roberta",
        {"vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1, "layer_norm_eps": 1e-5},
    ),
    "meta-llama/Llama-3.1-8B": (
        "llama",
        {
            "vocab_size": 128256,
            "hidden_size": 4096,
            "intermediate_size": 14336,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "max_position_embeddings": 131072,
            "rms_norm_eps": 1e-5,
            "bos_token_id": 128000,
            "eos_token_id": 128001,
        },
    ),
}
"""Sizes of the models of the published studies, so that a run on them can be planned without a network."""

COUNTED_FROM_PADDING = ("roberta", "xlm-roberta", "camembert")
"""Models whose first position is the one after the padding token's number."""


def pretrained_config(model: Model) -> Any:
    """The configuration of ``model.checkpoint``. Raises :class:`ExperimentError` if it is of no model for ``model.task``."""
    from transformers import AutoConfig

    assert model.checkpoint is not None
    _check_name(model.checkpoint)
    try:
        with quietly():
            found = AutoConfig.from_pretrained(model.checkpoint, local_files_only=is_local(model.checkpoint))
    except Exception as error:  # transformers has many
        raise ExperimentError(f'model.checkpoint = "{model.checkpoint}": {_first_line(error)}') from None
    return _of_the_task(found, model)


def planned_config(model: Model) -> Any:
    """The same for planning: what is known of a published model is not asked of the network."""
    known = KNOWN.get(model.checkpoint or "")
    if known is None or is_local(model.checkpoint or ""):
        return pretrained_config(model)
    from transformers import AutoConfig

    return _of_the_task(AutoConfig.for_model(known[0], **known[1]), model)


def _of_the_task(found: Any, model: Model) -> Any:
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
    )

    labelled = model.task == "sequence-classification"
    known = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES if labelled else MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    if found.model_type not in known:
        what = "model for sequence classification" if labelled else "causal language model"
        raise ExperimentError(f'model.checkpoint = "{model.checkpoint}": a "{found.model_type}" is no {what}')
    return found


def longest_input(found: Any) -> int | None:
    """How many tokens a model of this configuration takes; None if it does not say."""
    longest: int | None = getattr(found, "max_position_embeddings", None)
    if longest is not None and found.model_type in COUNTED_FROM_PADDING:
        return longest - found.pad_token_id - 1
    return longest


def load_pretrained(model: Model, labels: int = 0) -> nn.Module:
    """The model in float32, with a new head for so many ``labels`` if it is to have one and the checkpoint has none like it.

    A new head is drawn from torch's global generator. Raises :class:`ExperimentError` if the model cannot be read.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    pretrained_config(model)
    labelled = model.task == "sequence-classification"
    kind: Any = AutoModelForSequenceClassification if labelled else AutoModelForCausalLM
    own: dict[str, Any] = {"num_labels": labels, "ignore_mismatched_sizes": True} if labelled else {}
    try:
        with quietly():
            loaded: Any = kind.from_pretrained(
                model.checkpoint, local_files_only=is_local(model.checkpoint or ""), dtype=torch.float32, **own
            )
    except Exception as error:  # transformers has many
        raise ExperimentError(f'model.checkpoint = "{model.checkpoint}": {_first_line(error)}') from None
    loaded.config.use_cache = False
    found: nn.Module = loaded
    return found


def tokenizer_beside(checkpoint: str) -> str:
    """The path of the tokenizer.json of a checkpoint. Raises :class:`ExperimentError` if there is none."""
    path: str | None = str(Path(checkpoint) / "tokenizer.json")
    if not is_local(checkpoint):
        _check_name(checkpoint)
        from transformers.utils import cached_file

        try:
            with quietly():
                path = cached_file(checkpoint, "tokenizer.json", _raise_exceptions_for_missing_entries=False)
        except Exception as error:  # transformers has many
            raise ExperimentError(f'model.checkpoint = "{checkpoint}": {_first_line(error)}') from None
    if path is None or not Path(path).is_file():
        raise ExperimentError(f'model.checkpoint = "{checkpoint}": has no tokenizer.json; give data.tokenizer the path of one')
    return path


def is_local(checkpoint: str) -> bool:
    """Whether a checkpoint is a folder here."""
    return (Path(checkpoint) / "config.json").is_file()


def _check_name(checkpoint: str) -> None:
    """Raise :class:`ExperimentError` for what is neither a model's folder nor may be a name of the hub."""
    owner = Path(checkpoint).parent
    if is_local(checkpoint) or (ON_THE_HUB.fullmatch(checkpoint) and not owner.exists()):  # a folder "runs" owns nothing there
        return
    raise ExperimentError(
        f'model.checkpoint = "{checkpoint}": no such model; allowed: a folder with config.json and weights, '
        "as save_pretrained and frugal-gpu export write it, or a name of the hub"
    )


@contextmanager
def quietly() -> Iterator[None]:
    """Without a bar for each file, a line for each attempt to reach the hub, and a table of a head that a new one replaces."""
    from transformers.utils import logging

    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    hub = getLogger("huggingface_hub")
    level = hub.level
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    hub.setLevel(ERROR)
    try:
        yield
    finally:
        hub.setLevel(level)
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()


def _first_line(error: Exception) -> str:
    return shorten(str(error), 200, placeholder=" …") or type(error).__name__
