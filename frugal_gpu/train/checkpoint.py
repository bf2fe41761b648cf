"""Checkpoints in safe formats: ``step-000500/`` holds model.safetensors, optimizer.pt, state.json and metrics.jsonl.gz.

``optimizer.pt`` loads with ``weights_only=True``; metrics.jsonl.gz is the log up to there, so that a run is continued from
what the checkpoint holds and from nothing else. A checkpoint is written to a temporary folder, flushed to disk and renamed: a
folder named ``step-…`` is complete. ``checksums.json`` has the SHA-256 of every other file; none is read before they agree.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import zlib
from pathlib import Path
from typing import Any

import torch
from torch import nn

from frugal_gpu.optim.placement import is_sharded
from frugal_gpu.train.checksums import CHECKSUMS, as_text, damage, digest
from frugal_gpu.train.sharding import give_optimizer, give_weights, is_whole
from frugal_theory.config.load import ExperimentError
from frugal_theory.results.files import ResultsError

__all__ = ["BEST", "all_in", "damaged", "latest", "load", "mend", "read_log", "read_state", "save", "save_best", "step_of"]

Weights = nn.Module | dict[str, torch.Tensor]
"""A model, or its weights by name."""

PREFIX = "step-"
BEST = "best"
"""The folder of the best weights, beside the checkpoints."""

LOG = "metrics.jsonl.gz"
FILES = ("model.safetensors", "optimizer.pt", "state.json", LOG)
BEST_FILES = ("model.safetensors", "state.json")

STALE, ASIDE = ".partial", ".replaced"
"""Ends of the names of folders that are being written, and that are being replaced."""


def save(
    folder: Path,
    step: int,
    model: Weights,
    optimizer: torch.optim.Optimizer | dict[str, Any],
    state: dict[str, Any],
    keep: int,
    log: Path | None = None,
) -> Path:
    """Write the checkpoint of ``step`` into ``folder`` and delete all but the last ``keep``; returns its path.

    ``model`` and ``optimizer`` may be what was gathered of them from several processes. ``log``: the file of metrics up to
    there. Raises :class:`ResultsError` if it cannot be written; nothing is left of it then
    and the older ones stay.
    """
    final = folder / f"{PREFIX}{step:06d}"
    with_log = b"" if log is None else log.read_bytes()
    _write(final, {"step": step, **state}, model, optimizer, gzip.compress(with_log, mtime=0))
    for old in all_in(folder)[:-keep]:
        shutil.rmtree(old)
    return final


def save_best(folder: Path, step: int, model: Weights, state: dict[str, Any]) -> Path:
    """Write the weights of ``step`` into ``folder/best``, in the place of those before; returns its path."""
    return _write(folder / BEST, {"step": step, **state}, model)


def _write(
    final: Path,
    state: dict[str, Any],
    model: Weights,
    optimizer: torch.optim.Optimizer | dict[str, Any] | None = None,
    log: bytes | None = None,
) -> Path:
    from safetensors import SafetensorError
    from safetensors.torch import save_file, save_model

    temporary, aside = (final.with_name(f".{final.name}{end}") for end in (STALE, ASIDE))
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        if isinstance(model, nn.Module):
            save_model(model, str(temporary / "model.safetensors"))
        else:
            save_file({name: tensor.contiguous() for name, tensor in model.items()}, temporary / "model.safetensors")
        if optimizer is not None:
            with (temporary / "optimizer.pt").open("wb") as file:  # through a file of ours a full disk says so
                torch.save(optimizer if isinstance(optimizer, dict) else optimizer.state_dict(), file)
        if log is not None:
            (temporary / LOG).write_bytes(log)
        (temporary / "state.json").write_text(json.dumps(state, indent=2), encoding="utf-8")
        digests = {path.name: digest(path) for path in sorted(temporary.iterdir())}
        (temporary / CHECKSUMS).write_text(as_text(digests), encoding="utf-8")
        for path in [*temporary.iterdir(), temporary]:
            _flush(path)
        if final.exists():
            shutil.rmtree(aside, ignore_errors=True)
            os.replace(final, aside)
        os.replace(temporary, final)
        _flush(final.parent)
        shutil.rmtree(aside, ignore_errors=True)
    except (SafetensorError, RuntimeError, OSError) as error:  # the first two are what writers make of a full disk
        reason = _reason(error)
        shutil.rmtree(temporary, ignore_errors=True)
        raise ResultsError(f"{final}: cannot be written: {reason}") from error
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return final


def mend(folder: Path) -> None:
    """Put right what a process that was killed has left: what was to be replaced comes back, what was begun goes.

    Only the one who holds the run's lock may do so.
    """
    for aside in folder.glob(f".*{ASIDE}"):
        final = folder / aside.name.removeprefix(".").removesuffix(ASIDE)
        if final.exists():
            shutil.rmtree(aside, ignore_errors=True)
        else:
            os.replace(aside, final)
    for stale in folder.glob(f".*{STALE}"):
        shutil.rmtree(stale, ignore_errors=True)


def all_in(folder: Path) -> list[Path]:
    """The checkpoints in ``folder``, by step."""
    found = [path for path in folder.glob(f"{PREFIX}*") if re.fullmatch(rf"{PREFIX}[0-9]+", path.name) and path.is_dir()]
    return sorted(found, key=step_of)


def step_of(path: Path) -> int:
    """The step in a checkpoint's name."""
    return int(path.name.removeprefix(PREFIX))


def latest(folder: Path) -> Path | None:
    """The checkpoint with the highest step, or None."""
    return next(reversed(all_in(folder)), None)


def damaged(path: Path) -> str:
    """What is wrong with a checkpoint, in words; empty if every file of it is what was written."""
    best = path.name == BEST
    found = damage(path, BEST_FILES if best else FILES)
    if not found and not best and read_state(path)["step"] != step_of(path):
        return f"it is that of step {read_state(path)['step']}, under another name"
    return found


def load(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    device: torch.device | str = "cpu",
    verified: bool = False,
) -> dict[str, Any]:
    """Read a checkpoint into model and optimizer; returns its state.json. ``verified``: its checksums are known to agree.

    Raises :class:`ExperimentError` if a file is missing, damaged, or of another model.
    """
    from safetensors.torch import load_model

    if not verified and (wrong := damaged(path)):
        raise ExperimentError(f"{path}: is damaged: {wrong}")
    where = "cpu" if torch.device(device).type == "cpu" else str(device)  # not every reader knows "cpu:0"
    try:
        sharded = any(is_sharded(parameter) for parameter in model.parameters())
        if sharded:
            give_weights(model, path / "model.safetensors")
        else:
            load_model(model, str(path / "model.safetensors"), device=where)
        if optimizer is not None:
            held = torch.load(path / "optimizer.pt", map_location="cpu" if sharded else where, weights_only=True)
            if is_whole(held):
                give_optimizer(model, optimizer, held)
            elif sharded:
                raise ExperimentError(f'{path}: was written under sharding = "ddp"; training.sharding = "ddp" continues it')
            else:
                optimizer.load_state_dict(held)
        return read_state(path)
    except ExperimentError:
        raise
    except Exception as error:  # safetensors, pickle and zip each have their own
        reason = " ".join(str(error).split())[:200]
        raise ExperimentError(f"{path}: is sound, but not of this model and algorithm: {reason}") from error


def read_state(path: Path) -> dict[str, Any]:
    """The checkpoint's state.json. Raises :class:`ExperimentError` if there is none or it is damaged."""
    try:
        state = json.loads((path / "state.json").read_text(encoding="utf-8"))
        step = state["step"]
        if isinstance(step, bool) or not isinstance(step, int):
            raise ValueError(f"step is {step!r}")
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ExperimentError(f"{path}: is damaged: state.json cannot be read ({type(error).__name__}: {error})") from error
    found: dict[str, Any] = state
    return found


def read_log(path: Path) -> str:
    """The lines of metrics.jsonl up to the checkpoint, as a text. Raises :class:`ExperimentError` if it is damaged."""
    try:
        return gzip.decompress((path / LOG).read_bytes()).decode("utf-8")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise ExperimentError(f"{path}: is damaged: {LOG} cannot be read ({error})") from error


def _reason(error: Exception) -> str:
    """The operating system's reason, which torch hides behind a message of its own; or the first words of the error."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return " ".join(str(error).split())[:200]


def _flush(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
