"""The folder of a run: what it holds already, and whether that is the run that is asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from frugal_gpu.train import checkpoint
from frugal_theory.config import Experiment
from frugal_theory.config.load import ExperimentError

__all__ = ["find_run", "settings_of"]

FREE = {"training": {"device", "checkpoint_every", "keep_checkpoints"}}
"""Keys that may differ between a run and its resumption: they do not change the numbers."""


def settings_of(experiment: Experiment) -> dict[str, Any]:
    """All settings that a training run depends on, as plain values."""
    tables = experiment.model_dump(mode="json", include={"seed", "algorithm", "model", "data", "training"}, exclude=FREE)
    plain: dict[str, Any] = json.loads(json.dumps(tables))
    return plain


def find_run(folder: Path, settings: dict[str, Any], resume: bool) -> Literal["complete", "partial", "nothing"]:
    """What ``folder`` holds already. Raises :class:`ExperimentError` where going on would mix or lose runs."""
    if (folder / "summary.json").exists():
        held = json.loads((folder / "summary.json").read_text(encoding="utf-8"))["settings"]
        if change := _difference(held, settings):
            raise ExperimentError(f"{folder}: holds a finished run with other settings ({change}); give another --out")
        return "complete"
    last = checkpoint.latest(folder / "checkpoints")
    if last is None:
        return "nothing"
    if not resume:
        raise ExperimentError(
            f"{folder}: holds an unfinished run ({last.name}); continue it with --resume or give another --out"
        )
    if change := _difference(checkpoint.read_state(last)["settings"], settings):
        raise ExperimentError(f"{last}: was trained with other settings ({change}); give the same ones, or another --out")
    return "partial"


def _difference(held: Any, given: Any, key: str = "") -> str:
    """The first key with another value, in words; empty if there is none."""
    if isinstance(held, dict) and isinstance(given, dict):
        for name in sorted(held.keys() | given.keys()):
            if change := _difference(held.get(name), given.get(name), f"{key}.{name}" if key else name):
                return change
        return ""
    return "" if held == given else f"{key} was {held}, is {given}"
