"""The folder of a run: what it holds already, and whether that is the run that is asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from frugal_gpu.train import checkpoint
from frugal_gpu.train.checksums import CHECKSUMS, as_text, damage, digest
from frugal_theory.config import Experiment
from frugal_theory.config.load import ExperimentError
from frugal_theory.results.files import write_text
from frugal_theory.results.schema import DIVERGED

__all__ = ["choose", "find_run", "moved", "read_summary", "reopen", "settings_of", "write_summary"]

FREE = {
    "training": (
        "accumulation",
        "activation_checkpointing",
        "checkpoint_every",
        "compile",
        "device",
        "epochs",
        "evaluate_every",
        "keep_best",
        "keep_checkpoints",
        "sharding",
        "steps",
        "tensorboard",
        "threads",
        "tokens",
        "wandb",
    ),
    "data": ("source", "tokenizer", "validation"),
}
"""Keys that may differ between a run and its resumption: they do not change the numbers of the steps that were done, beyond
the order of sums. The number of steps and what the text is are compared by themselves."""

SUMMARY = "summary.json"


def settings_of(experiment: Experiment) -> dict[str, Any]:
    """All settings that a training run depends on, as plain values."""
    tables = experiment.model_dump(mode="json", include={"seed", "algorithm", "adapter", "model", "data", "training"})
    plain: dict[str, Any] = json.loads(json.dumps(tables))
    if experiment.algorithm.update_gap_schedule is not None and experiment.training is not None:  # T goes by evaluations
        plain["training.evaluate_every"] = experiment.training.evaluate_every
    return plain


def find_run(folder: Path, settings: dict[str, Any], steps: int, resume: bool) -> Literal["complete", "partial", "nothing"]:
    """What ``folder`` holds already. Raises :class:`ExperimentError` where going on would mix or lose runs."""
    finished = (folder / SUMMARY).exists()
    if finished and _is_complete(folder, settings, steps, resume):
        return "complete"
    found = checkpoint.all_in(folder / "checkpoints")
    if not found:
        if finished:
            raise ExperimentError(f"{folder}: holds a finished run without a checkpoint to resume from; give another --out")
        return "nothing"
    if not resume:
        raise ExperimentError(
            f"{folder}: holds an unfinished run ({found[-1].name}); continue it with --resume or give another --out"
        )
    for path in reversed(found):
        if not damage(path, ("state.json",), others=False):  # what is damaged is said when it is to be loaded
            _check_same(path, checkpoint.read_state(path), settings, steps)
            break
    return "partial"


def _is_complete(folder: Path, settings: dict[str, Any], steps: int, resume: bool) -> bool:
    """Whether the finished run in ``folder`` is the one that is asked for; False if it is to be repaired or extended."""
    if wrong := damage(folder, (SUMMARY, "metrics.jsonl")):
        if resume:
            return False
        raise ExperimentError(
            f"{folder}: holds a finished run that is damaged: {wrong}; --resume mends it from its last checkpoint"
        )
    summary = read_summary(folder)
    change = _difference(_without(summary["settings"], FREE["training"]), _without(settings, FREE["training"]))
    if not change and summary["steps"] == steps:
        return True
    if resume and steps > summary["steps"]:
        return False
    change = change or f"training.steps was {summary['steps']}, is {steps}"
    more = "--resume extends it, or give another --out" if steps > summary["steps"] else "give another --out"
    raise ExperimentError(f"{folder}: holds a finished run with other settings ({change}); {more}")


def choose(folder: Path, settings: dict[str, Any], steps: int) -> tuple[Path, list[str]]:
    """The newest checkpoint in ``folder`` whose files are all what was written, and what is to be said of it.

    Raises :class:`ExperimentError` if none is, or if it is of a run with other settings.
    """
    notices, found = [], checkpoint.all_in(folder)
    for path in reversed(found):
        if wrong := checkpoint.damaged(path):
            notices.append(f"{path.name}: {wrong}")
            continue
        state = checkpoint.read_state(path)
        _check_same(path, state, settings, steps)
        if notices:
            notices = [f"{folder}: damaged ({'; '.join(notices)}); continuing from {path.name} instead"]
        if state.get("steps", steps) != steps:
            first = state["step"] + 1
            notices.append(
                f"training.steps was {state['steps']}, is {steps}: from step {first} on the schedule is that of {steps} steps"
            )
        return path, notices
    raise ExperimentError(f"{folder}: every checkpoint is damaged ({'; '.join(notices)}); give another --out to begin again")


def _check_same(path: Path, state: dict[str, Any], settings: dict[str, Any], steps: int) -> None:
    held = state.get("settings")
    if not isinstance(held, dict):
        raise ExperimentError(f"{path}: state.json has no settings: it is of no run that can be resumed; give another --out")
    if change := _difference(_without(held), _without(settings)):
        raise ExperimentError(f"{path}: was trained with other settings ({change}); give the same ones, or another --out")
    if state["step"] > steps:
        raise ExperimentError(
            f"training.steps = {steps}: {path} has {state['step']} steps behind it; at least as many are allowed"
        )


def moved(held: dict[str, Any], given: dict[str, Any]) -> str:
    """What the settings say of another text, in words; empty if nothing."""
    return _difference(held.get("data"), given.get("data"), "data")


def read_summary(folder: Path) -> dict[str, Any]:
    """The summary.json of a run. Raises :class:`ExperimentError` if there is none, or it is not one."""
    path = folder / SUMMARY
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(summary["settings"], dict) or not isinstance(summary["steps"], int):
            raise TypeError("settings or steps are none")
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ExperimentError(f"{path}: is not the summary of a run ({type(error).__name__}: {error})") from error
    found: dict[str, Any] = summary
    return found


def write_summary(folder: Path, summary: dict[str, Any]) -> None:
    """Write the checksums of all files of a finished run, then summary.json: it says that the run is complete."""
    text = json.dumps(summary, indent=2)
    (folder / SUMMARY).unlink(missing_ok=True)
    written = [path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith(".")]
    digests = {path.name: digest(path) for path in written if path.name != CHECKSUMS}
    with_summary = folder / f".{SUMMARY}.part"
    with_summary.write_text(text, encoding="utf-8")
    write_text(folder / CHECKSUMS, as_text({**digests, SUMMARY: digest(with_summary)}))
    with_summary.replace(folder / SUMMARY)


def reopen(folder: Path) -> None:
    """Let a finished run, or one that diverged, be an unfinished one again."""
    for name in (SUMMARY, CHECKSUMS, Path(DIVERGED.path).name):
        (folder / name).unlink(missing_ok=True)


def _without(settings: dict[str, Any], free: tuple[str, ...] | None = None) -> dict[str, Any]:
    """The settings without those that are free: of every table, or of [training] only."""
    tables = FREE if free is None else {"training": free}
    return {
        name: {key: value for key, value in table.items() if key not in tables.get(name, ())}
        if isinstance(table, dict)
        else table
        for name, table in settings.items()
    }


def _difference(held: Any, given: Any, key: str = "") -> str:
    """The first key with another value, in words; empty if there is none.

    A key that was not there yet when the run began has the value by which nothing changes.
    """
    if isinstance(held, dict) and isinstance(given, dict):
        for name in sorted(held):
            if change := _difference(held.get(name), given.get(name), f"{key}.{name}" if key else name):
                return change
        return ""
    return "" if held == given else f"{key} was {held}, is {given}"
