"""Checkpoints in safe formats: ``step-000500/`` holds model.safetensors, optimizer.pt and state.json.

``optimizer.pt`` loads with ``weights_only=True``. A checkpoint is written to a temporary folder, flushed to disk and
renamed: a folder named ``step-…`` is complete.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import nn

from frugal_theory.config.load import ExperimentError
from frugal_theory.results.files import ResultsError

__all__ = ["latest", "load", "read_state", "save"]

PREFIX = "step-"


def save(folder: Path, step: int, model: nn.Module, optimizer: torch.optim.Optimizer, state: dict[str, Any], keep: int) -> Path:
    """Write the checkpoint of ``step`` into ``folder`` and delete all but the last ``keep``; returns its path.

    Raises :class:`ResultsError` if it cannot be written; nothing is left of it then and the older ones stay.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_model

    final = folder / f"{PREFIX}{step:06d}"
    temporary = folder / f".{final.name}.partial"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        save_model(model, str(temporary / "model.safetensors"))
        with (temporary / "optimizer.pt").open("wb") as file:  # through a file of ours a full disk says so
            torch.save(optimizer.state_dict(), file)
        (temporary / "state.json").write_text(json.dumps({"step": step, **state}, indent=2), encoding="utf-8")
        for path in temporary.iterdir():
            _flush(path)
    except (SafetensorError, RuntimeError, OSError) as error:  # the first two are what writers make of a full disk
        reason = _reason(error)
        shutil.rmtree(temporary, ignore_errors=True)
        raise ResultsError(f"{final}: cannot be written: {reason}") from error
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    shutil.rmtree(final, ignore_errors=True)
    os.replace(temporary, final)
    for old in _all(folder)[:-keep]:
        shutil.rmtree(old)
    return final


def latest(folder: Path) -> Path | None:
    """The checkpoint with the highest step, or None."""
    return next(reversed(_all(folder)), None)


def load(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, device: torch.device) -> dict[str, Any]:
    """Read a checkpoint into model and optimizer; returns its state.json.

    Raises :class:`ExperimentError` if a file is missing, damaged, or of another model.
    """
    from safetensors.torch import load_model

    try:
        load_model(model, str(path / "model.safetensors"), device=str(device))
        optimizer.load_state_dict(torch.load(path / "optimizer.pt", map_location=device, weights_only=True))
        return read_state(path)
    except ExperimentError:
        raise
    except Exception as error:  # safetensors, pickle and zip each have their own
        reason = " ".join(str(error).split())[:200]
        raise ExperimentError(
            f"{path}: cannot be resumed from: {reason}; delete this folder to resume from an older checkpoint"
        ) from error


def read_state(path: Path) -> dict[str, Any]:
    """The checkpoint's state.json. Raises :class:`ExperimentError` if there is none or it is damaged."""
    try:
        state: dict[str, Any] = json.loads((path / "state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ExperimentError(f"{path}: state.json cannot be read ({error}); delete this folder") from error
    return state


def _reason(error: Exception) -> str:
    """The operating system's reason, which torch hides behind a message of its own; or the first words of the error."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return " ".join(str(error).split())[:200]


def _all(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"{PREFIX}*"), key=lambda path: int(path.name.removeprefix(PREFIX)))


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
