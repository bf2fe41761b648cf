"""Results on disk: files that get their final name only when they are complete, and cells that survive an interruption."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np

from frugal_theory.config.load import dump
from frugal_theory.evidence.evidence import ARRAYS, Evidence

if TYPE_CHECKING:
    from frugal_theory.config import Experiment
    from frugal_theory.verdicts.claims import Claims
    from frugal_theory.verdicts.verdict import Verdict

__all__ = ["ResultsError", "drop_cells", "finished", "load_cell", "make_folder", "save_cell", "write_results", "write_text"]


class ResultsError(OSError):
    """Results that cannot be written. The message is one line naming the file and what is wrong."""


@contextmanager
def finished(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside ``path``; rename it to ``path`` at the end, or remove it if anything went wrong.

    Raises ResultsError for a full disk, an unwritable folder and the like.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise ResultsError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True) if temporary.parent.is_dir() else None


def write_text(path: Path, text: str) -> None:
    """Write a text file in one go."""
    with finished(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def make_folder(path: Path) -> None:
    """Make the folder, and find out now rather than after the work whether it can be written to."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResultsError(f"{path}: the folder cannot be made: {error.strerror or error}") from error
    with finished(path / ".writable") as temporary:
        temporary.write_bytes(b"")
    (path / ".writable").unlink(missing_ok=True)


def write_results(
    folder: Path,
    experiment: Experiment,
    studies: Sequence[Claims],
    evidence: Sequence[Mapping[str, Evidence]],
    verdicts: Sequence[Verdict] | None,
) -> None:
    """Write experiment.toml and theory/{evidence.parquet, bounds.parquet, verdicts.json}; no verdicts, no bounds."""
    import pandas as pd

    measured = [
        found.frame().assign(cell=study.cell.label, confidence=found.confidence, trials=found.trials)
        for study, metrics in zip(studies, evidence, strict=True)
        for found in metrics.values()
    ]
    _write_frame(folder / "theory" / "evidence.parquet", pd.concat(measured, ignore_index=True))
    if verdicts is not None:
        bounds = [
            pd.DataFrame(
                {
                    "cell": study.cell.label,
                    "theorem": theorem.name,
                    "metric": theorem.metric,
                    "step": np.arange(1, study.setting.steps + 1),
                    "bound": theorem.bound(study.setting),
                    "explicit": theorem.explicit,
                }
            )
            for study in studies
            for theorem in study.theorems
            if study.excuse(theorem) is None
        ]
        columns = ["cell", "theorem", "metric", "step", "bound", "explicit"]
        table = pd.concat(bounds, ignore_index=True) if bounds else pd.DataFrame(columns=columns)
        _write_frame(folder / "theory" / "bounds.parquet", table)
        labels = {json.dumps(study.cell.settings, sort_keys=True, default=str): study.cell.label for study in studies}
        records = [v.record() | {"label": labels[json.dumps(v.cell, sort_keys=True, default=str)]} for v in verdicts]
        write_text(folder / "theory" / "verdicts.json", json.dumps(records, indent=1, ensure_ascii=False) + "\n")
    write_text(folder / "experiment.toml", dump(experiment))


def _write_frame(path: Path, frame: Any) -> None:
    with finished(path) as temporary:
        frame.to_parquet(temporary, index=False)


# --- cells that are done, for a run that is interrupted --------------------------------------------------


def save_cell(folder: Path, study: Claims, evidence: Mapping[str, Evidence]) -> None:
    """Keep one cell's evidence until the whole run is complete."""
    arrays: dict[str, Any] = {}
    for metric, found in evidence.items():
        for name in ARRAYS:
            value = getattr(found, name)
            if value is not None:
                arrays[f"{metric}/{name}"] = value
        arrays[f"{metric}/facts"] = json.dumps([found.source, found.confidence, found.trials, list(found.notes)])
    with finished(_cell_file(folder, study)) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def load_cell(folder: Path, study: Claims) -> dict[str, Evidence] | None:
    """The evidence that an interrupted run kept for this very cell; None if there is none, or the file is damaged."""
    try:
        return _read_cell(_cell_file(folder, study), study)
    except (OSError, EOFError, ValueError, KeyError, BadZipFile):
        return None


def _read_cell(path: Path, study: Claims) -> dict[str, Evidence]:
    with np.load(path) as file:
        evidence = {}
        for metric in study.metrics:
            source, confidence, trials, notes = json.loads(str(file[f"{metric}/facts"]))
            arrays = {name: file[f"{metric}/{name}"] for name in ARRAYS if f"{metric}/{name}" in file}
            evidence[metric] = Evidence(
                source=source, metric=metric, confidence=confidence, trials=trials, notes=tuple(notes), **arrays
            )
    return evidence


def drop_cells(folder: Path, studies: Iterable[Claims]) -> None:
    """Remove what was kept of these cells: the run is complete. Cells of another experiment stay."""
    for study in studies:
        _cell_file(folder, study).unlink(missing_ok=True)
    with suppress(OSError):  # not empty, or not there
        _cells_folder(folder).rmdir()


def _cells_folder(folder: Path) -> Path:
    return folder / "theory" / "cells"


def _cell_file(folder: Path, study: Claims) -> Path:
    """Named by everything the evidence depends on: the cell's experiment, its metrics and the program's version."""
    try:
        program = version("frugal-lab")
    except PackageNotFoundError:
        program = "unknown"
    facts = json.dumps([program, study.metrics, study.setting.alpha, dump(study.cell.experiment)])
    return _cells_folder(folder) / f"{hashlib.sha256(facts.encode()).hexdigest()[:20]}.npz"
