"""What a training has left, as a model again: from a run's folder, or from one of its checkpoints."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from frugal_gpu.data.tasks.prepare import Words, task_of
from frugal_gpu.model.build import made, padding_of
from frugal_gpu.model.pretrained import quietly
from frugal_gpu.train import checkpoint
from frugal_gpu.train.checksums import CHECKSUMS
from frugal_gpu.train.precision import weights
from frugal_theory.config import Experiment, Model, Training
from frugal_theory.config.load import ExperimentError, load

__all__ = ["Trained", "export", "load_trained"]


@dataclass(frozen=True)
class Trained:
    """A trained model, the experiment that it is from, its checkpoint and its run's folder (``training/``)."""

    model: nn.Module
    experiment: Experiment
    checkpoint: Path
    folder: Path

    @property
    def tokenizer(self) -> Path:
        """The run's tokenizer.json."""
        return self.folder / "tokenizer.json"

    @property
    def separator(self) -> int:
        """The token before and after a document: the tokenizer's, which the model was trained on, and not what its
        configuration says, where a checkpoint may name several, or another."""
        from tokenizers import Tokenizer

        name = _separator(self.tokenizer).get("eos_token")
        found = None if name is None else Tokenizer.from_file(str(self.tokenizer)).token_to_id(name)
        return 0 if found is None else found  # token 0 separates the documents of a source with its own tokens

    @property
    def has_labels(self) -> bool:
        """Whether the model's head is one for labels, and not for language."""
        task = task_of(self.experiment.data)
        return task is not None and task.labels > 0


def load_trained(path: Path) -> Trained:
    """The model of a run (its last sound checkpoint), or of a checkpoint such as ``checkpoints/best``.

    ``path``: runs/NAME, runs/NAME/training, a cell of a sweep, or a checkpoint. Raises :class:`ExperimentError` where there is
    none, or it is damaged.
    """
    folder, found = _found(path)
    if wrong := checkpoint.damaged(found):
        raise ExperimentError(f"{found}: is damaged: {wrong}")
    experiment = load(folder / "experiment.toml")
    training = experiment.training or Training()
    task = task_of(experiment.data)
    table = experiment.model or Model()
    padding = None if task is None else _padding(experiment, folder / "tokenizer.json")
    model = made(table, training, 0 if task is None else task.labels, padding).to(weights(training.precision))
    if experiment.adapter is not None:
        from frugal_gpu.adapters.lora import adapted

        adapted(model, experiment.adapter)
    checkpoint.load(found, model, verified=True)
    return Trained(model.eval(), experiment, found, folder)


def _found(path: Path) -> tuple[Path, Path]:
    """The folder of the run and the checkpoint."""
    if (path / "state.json").is_file() or ((path / CHECKSUMS).is_file() and (path / "model.safetensors").is_file()):
        return path.resolve().parent.parent, path
    for folder in (path / "training", path):
        sound = [each for each in reversed(checkpoint.all_in(folder / "checkpoints")) if not checkpoint.damaged(each)]
        if sound:
            return folder, sound[0]
    raise ExperimentError(f"{path}: holds no checkpoint; allowed: a run such as runs/NAME, or one of its checkpoints")


def export(trained: Trained, out: Path) -> None:
    """Write config.json, model.safetensors and the tokenizer into ``out``, as transformers reads them; adapters are merged.

    Raises :class:`ExperimentError` for a folder that holds something.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ExperimentError(f"--out {out}: exists and is not an empty folder; give another one")
    from transformers import PreTrainedTokenizerFast

    model: Any = _merged(trained.model)
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(trained.tokenizer), **_separator(trained.tokenizer))
    if task_of(trained.experiment.data) is not None:
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(_padding(trained.experiment, trained.tokenizer))
    model.config.eos_token_id = tokenizer.eos_token_id
    if trained.has_labels:
        model.config.problem_type = "regression" if model.config.num_labels == 1 else "single_label_classification"
    else:
        model.config.use_cache = True
        model.generation_config.eos_token_id = tokenizer.eos_token_id
        model.generation_config.use_cache = True
    with quietly():
        model.save_pretrained(out)
        tokenizer.save_pretrained(out)


def _padding(experiment: Experiment, tokenizer: Path) -> int:
    """The token that fills the rows of the run's task."""
    return Words(str(tokenizer), padding_of(experiment.model or Model())).padding


@torch.no_grad()
def _merged(model: nn.Module) -> nn.Module:
    """The model with its adapters, if it has any, added to the weights."""
    for name, layer in list(model.named_modules()):
        if hasattr(layer, "base_layer") and hasattr(layer, "get_delta_weight"):
            base: Any = layer.base_layer
            base.weight.add_(layer.get_delta_weight("default").to(base.weight.dtype))
            parent, _, own = name.rpartition(".")
            setattr(model.get_submodule(parent), own, base)
    return model


def _separator(tokenizer: Path) -> dict[str, str]:
    """The token between documents, as transformers calls it."""
    from tokenizers import Tokenizer

    from frugal_gpu.data.tokenizer import SEPARATORS

    known = Tokenizer.from_file(str(tokenizer))
    name = next((name for name in SEPARATORS if known.token_to_id(name) is not None), None)
    return {} if name is None else {"eos_token": name, "bos_token": name}
