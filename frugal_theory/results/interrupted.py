"""Cells that are done, kept until the whole run is complete: an interrupted one goes on from them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile
from zlib import crc32

import numpy as np

from frugal_theory.config.dataset import is_file
from frugal_theory.config.identity import name_of
from frugal_theory.evidence.evidence import KEPT, Evidence
from frugal_theory.premises.check import key_of
from frugal_theory.premises.premise import Premise
from frugal_theory.results.files import append, finished
from frugal_theory.verdicts.claims import Found, FourthMoment

if TYPE_CHECKING:
    from frugal_theory.config import Experiment
    from frugal_theory.instance import Instance
    from frugal_theory.verdicts.claims import Claims

__all__ = ["KeptPremises", "drop_cells", "kept_cells", "load_cell", "save_cell"]


def save_cell(folder: Path, claims: Claims, evidence: Mapping[str, Evidence]) -> None:
    """Keep one cell's evidence until the whole run is complete."""
    arrays: dict[str, Any] = {}
    for metric, found in evidence.items():
        for name in KEPT:
            value = getattr(found, name)
            if value is not None:
                arrays[f"{metric}/{name}"] = value
        arrays[f"{metric}/facts"] = json.dumps([found.source, found.confidence, found.trials, list(found.notes)])
    with finished(_cell_file(folder, claims)) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def load_cell(folder: Path, claims: Claims) -> dict[str, Evidence] | None:
    """The evidence that an interrupted run kept for this very cell; None if there is none, or the file is damaged."""
    try:
        return _read_cell(_cell_file(folder, claims), claims)
    except (OSError, EOFError, ValueError, KeyError, BadZipFile):
        return None


def _read_cell(path: Path, claims: Claims) -> dict[str, Evidence]:
    with np.load(path) as file:
        evidence = {}
        for metric in claims.metrics:
            source, confidence, trials, notes = json.loads(str(file[f"{metric}/facts"]))
            arrays = {name: file[f"{metric}/{name}"] for name in KEPT if f"{metric}/{name}" in file}
            evidence[metric] = Evidence(
                source=source, metric=metric, confidence=confidence, trials=trials, notes=tuple(notes), **arrays
            )
    return evidence


def drop_cells(folder: Path, cells: Iterable[Claims]) -> None:
    """Remove what was kept of these cells: the run is complete. Cells of another experiment stay."""
    for claims in cells:
        _cell_file(folder, claims).unlink(missing_ok=True)
    with suppress(OSError):  # not empty, or not there
        _cells_folder(folder).rmdir()


def kept_cells(folder: Path) -> int:
    """How many cells are kept there, be they of whatever experiment."""
    return len(list(_cells_folder(folder).glob("[!.]*.npz")))


class KeptPremises:
    """What was found of the experiment's cells before they are simulated, a line a cell, kept until the whole run is complete.

    Every line begins with its checksum: one that is damaged, or that a kill has cut short, is not there.
    """

    def __init__(self, folder: Path, experiment: Experiment) -> None:
        self.path = _cells_folder(folder) / f"premises_{name_of(experiment)}.jsonl"
        self._found: dict[int, tuple[str, Found]] = {}
        with suppress(OSError):
            for line in self.path.read_bytes().splitlines():
                with suppress(ValueError, TypeError):
                    number, made, premises, noise = json.loads(_checked(line))
                    self._found[number] = made, Found(tuple(Premise(*one) for one in premises), FourthMoment(*noise))

    def __len__(self) -> int:
        return len(self._found)

    def load(self, number: int, instance: Instance) -> Found | None:
        """What was found of that cell; None if it has not been tested, or has become another instance since."""
        made, found = self._found.get(number, ("", None))
        return found if made == _made(instance) else None

    def save(self, number: int, instance: Instance, found: Found) -> None:
        """Keep it. Raises ResultsError if it cannot be written."""
        self._found[number] = made, _ = _made(instance), found
        told = [[p.name, p.statement, bool(p.held), p.how, p.level, p.power] for p in found.premises]
        line = json.dumps([number, made, told, found.noise])
        append(self.path, f"{crc32(line.encode()):08x} {line}")

    def drop(self) -> None:
        """Remove what was kept, and its folder if that is empty."""
        self.path.unlink(missing_ok=True)
        with suppress(OSError):
            self.path.parent.rmdir()


def _checked(line: bytes) -> bytes:
    """The line without its checksum. Raises ValueError if that is not the line's."""
    sum_, _, content = line.partition(b" ")
    if int(sum_, 16) != crc32(content):
        raise ValueError("damaged")
    return content


def _cells_folder(folder: Path) -> Path:
    return folder / "theory" / "cells"


def _cell_file(folder: Path, claims: Claims) -> Path:
    """Named by everything the evidence depends on: the cell's experiment, its metrics, what was made of it and the program."""
    named = name_of(claims.metrics, claims.setting.alpha, claims.cell.experiment, _made(claims.instance))
    return _cells_folder(folder) / f"{named}.npz"


def _made(instance: Instance) -> str:
    """What was made of an experiment that does not say all of it: of data of one's own as they were read, by code of one's own.

    Empty for problems and noises of this package without such data.
    """
    ours = all(type(part).__module__.startswith("frugal_theory.") for part in (instance.problem, instance.noise))
    dataset = getattr(instance.experiment.problem, "dataset", None)
    if ours and not (isinstance(dataset, str) and is_file(dataset)):
        return ""
    start = hashlib.sha256(b"".join(np.ascontiguousarray(value).tobytes() for value in instance.start.values()))
    return f"{(key_of(instance) or b'').hex()} {start.hexdigest()}"
