"""The rows of a task: from a local file or folder, which asks no network, or from the hub through ``datasets``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from frugal_gpu.data.formats import format_of, lines
from frugal_gpu.data.tasks.task import Row, Task
from frugal_theory.config.load import ExperimentError
from frugal_theory.config.registry import TASKS

__all__ = ["HUB", "Place", "check_place", "further_parts", "place_of"]

HUB = "hub"
"""The ``data.source`` that stands for the task's own data set on the hub."""

ENDINGS = (".jsonl", ".json", ".parquet")
ON_THE_HUB = re.compile(r"[\w.-]+/[\w.-]+")
TEST_SPLITS = ("validation", "test")


class Place:
    """Where the rows of one split are: local files, or a split on the hub."""

    def __init__(self, key: str, files: list[Path] | None = None, hub: tuple[str, str | None, str] | None = None) -> None:
        self.key, self.files, self.hub = key, files or [], hub

    def rows(self) -> Iterator[tuple[str, Row]]:
        """Each row with the words that name it. Raises :class:`ExperimentError` where they cannot be read."""
        if self.hub is not None:
            yield from _from_hub(self.key, *self.hub)
        for path in self.files:
            try:
                yield from ((f"{path}, row {n}", row) for n, row in enumerate(_read(path), 1))
            except (OSError, ValueError) as error:  # Arrow's errors are one of these
                reason = " ".join(str(error).split())[:300]
                raise ExperimentError(f"{self.key}: {path} cannot be read: {reason}") from error


def check_place(source: str, task: str) -> None:
    """Raise :class:`ExperimentError` where ``data.source`` names neither local rows of the task nor what may be on the hub."""
    place_of(source, task, "train")


def place_of(source: str, name: str, split: str) -> Place | None:
    """The split "train" or "validation" of a task, or another one by its name; None for a part that a local source lacks.

    Raises :class:`ExperimentError` where there is no training part.
    """
    task, key = _task(name), f'data.source = "{source}"'
    wanted = (task.validation or "validation") if split == "validation" else split
    path = Path(source)
    if source == HUB or not path.exists():
        if source != HUB and (path.parent.exists() or not ON_THE_HUB.fullmatch(source)):
            raise ExperimentError(
                f'{key}: no such file; allowed for data.task = "{name}": "{HUB}", a name of the hub such as '
                f'"owner/name", or a file or folder of {", ".join(ENDINGS)} with the columns of the task'
            )
        if split == "validation" and task.validation is None:
            return None
        hub, configuration = task.hub if source == HUB else (source, task.hub[1])
        return Place(key, hub=(hub, configuration, wanted))
    if path.is_file():
        if format_of(path) not in ENDINGS:
            raise ExperimentError(f"{key}: ends in {format_of(path) or 'nothing'}; allowed: {', '.join(ENDINGS)}, or a folder")
        return Place(key, [path]) if split == "train" else None
    found = _files(path, name, task, wanted, split == "train")
    if not found and split == "train":
        raise ExperimentError(
            f"{key}: has no training rows; allowed: train.jsonl, .json or .parquet in it, in its data/ or in its {name}/"
        )
    return Place(key, found) if found else None


def further_parts(source: str, name: str) -> dict[str, Place]:
    """The further parts that a task is measured on, by name; of a local folder those that are there."""
    result = {}
    for other in _task(name).others:
        if other not in TASKS:
            place = place_of(source, name, other)
        elif source == HUB:
            place = place_of(HUB, other, "validation")
        else:
            place = _test_set(source, other)
        if place is not None:
            result[other] = place
    return result


def _test_set(source: str, name: str) -> Place | None:
    """The test set of another task in a local folder, where it has a folder of its own."""
    path = Path(source)
    homes = [path / home for home in _homes(name, _task(name)) if (path / home).is_dir()]
    found = next((files for home in homes for split in TEST_SPLITS if (files := _in(home, split))), [])
    return Place(f'data.source = "{source}"', found) if found else None


def _task(name: str) -> Task:
    task: Task = TASKS[name]
    return task


def _homes(name: str, task: Task) -> list[str]:
    """Names of folders that hold a task."""
    return list(dict.fromkeys([*([task.hub[1]] if task.hub[1] else []), name, *task.files]))


def _files(folder: Path, name: str, task: Task, split: str, training: bool) -> list[Path]:
    """The files of a split: in a folder of the task's within ``folder``, in ``folder/data``, or in ``folder`` itself."""
    stems = [split, *(task.files if training else ())]
    places = [*(folder / home for home in _homes(name, task)), folder / "data", folder]
    return next((found for place in places for stem in stems if (found := _in(place, stem))), [])


def _in(folder: Path, stem: str) -> list[Path]:
    """``stem.json``, ``stem-00000-of-00002.parquet`` and the like."""
    own = re.compile(rf"{re.escape(stem)}(-\d+-of-\d+)?(-[0-9a-f]+)?")
    return sorted(path for path in folder.glob(f"{stem}*") if _readable(path) and own.fullmatch(path.name.split(".")[0]))


def _readable(path: Path) -> bool:
    return path.is_file() and format_of(path) in ENDINGS


def _read(path: Path) -> Iterator[Any]:
    if format_of(path) == ".parquet":
        import pyarrow.parquet

        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches():
                yield from batch.to_pylist()
        return
    text = lines(path, "utf-8")
    first = next((line for line in text if line.strip()), "")
    if first.lstrip().startswith("["):
        yield from json.loads("\n".join([first, *text]))
    elif first:
        yield json.loads(first)
        yield from (json.loads(line) for line in text if line.strip())


def _from_hub(key: str, name: str, configuration: str | None, split: str) -> Iterator[tuple[str, Row]]:
    from datasets import load_dataset

    try:
        found = load_dataset(name.partition("@")[0], configuration, split=split, revision=name.partition("@")[2] or None)
    except Exception as error:  # whatever the hub's client raises
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise ExperimentError(
            f"{key}: {name}, {split}, cannot be had from the hub ({reason}); allowed without a network: a folder with its files"
        ) from error
    yield from ((f"{name}, {split}, row {n}", row) for n, row in enumerate(found, 1))
