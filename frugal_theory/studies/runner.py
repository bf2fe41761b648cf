"""The one runner: every study is measured, kept cell by cell, drawn, answered and written here."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frugal_theory.config.identity import identity
from frugal_theory.config.load import cells, dump
from frugal_theory.config.one_line import printable
from frugal_theory.config.version import installed
from frugal_theory.evidence.workers import in_order
from frugal_theory.results.files import finished, make_folder, missing_folders, remove_empty, write_text
from frugal_theory.studies.figures import picture
from frugal_theory.studies.interruption import count, interruptible
from frugal_theory.studies.kept import Pieces
from frugal_theory.studies.study import ALONE, Answer, Study

if TYPE_CHECKING:
    import pandas as pd

    from frugal_theory.config import Experiment

__all__ = ["Outcome", "beside", "carry_out"]


@dataclass(frozen=True)
class Outcome:
    """What a study came to: its table, its answer, the PNG of every figure, and the folder they were written to."""

    table: pd.DataFrame
    answer: Answer
    pictures: Mapping[str, bytes]
    folder: Path
    seconds: float


def beside(out: Path | None, name: str, study: Study) -> Path:
    """The folder of a study within the results of an experiment: DIR/studies/STUDY, or runs/NAME/studies/STUDY."""
    return (out or Path("runs") / name) / "studies" / study.name


def carry_out(
    study: Study,
    experiment: Experiment | None,
    folder: Path,
    *,
    jobs: int = 1,
    cluster: str | None = None,
    source: str = "",
) -> Outcome:
    """Measure, draw and answer; write experiment.toml, table.csv, figures/ and study.json to ``folder``, all or nothing.

    ``jobs`` processes, or the workers of the Dask ``cluster`` with that address, share the cells. A run that was interrupted
    goes on where it was, unless ``source``, the text of a study that may change between two runs, is another. Ctrl-C is
    one line on stderr and ``SystemExit(130)``. Raises
    ExperimentError for an experiment that the study cannot measure, and leaves no folder then.
    """
    began = time.perf_counter()
    made = missing_folders(folder)
    make_folder(folder)
    run = _Kept(jobs, cluster, Pieces(folder / "cells", (study.name, source)), study.name)
    try:
        with run.watched(), interruptible(folder, lambda: count(len(run.pieces.used), run.total)):
            table = _measured(study, experiment, run)
            pictures, vectors = _drawn(study, table)
            answer = study.answer(table)
    except BaseException:
        remove_empty(made)
        raise
    _write(study, experiment, folder, table, {"png": pictures, "svg": vectors}, answer)
    run.pieces.drop()
    return Outcome(table, answer, pictures, folder, time.perf_counter() - began)


def _measured(study: Study, experiment: Experiment | None, run: _Kept) -> pd.DataFrame:
    """The whole table; by cell if the study says so, the cells' settings as its first columns."""
    if experiment is None or not study.by_cell:
        return study.measure(experiment, run)
    import pandas as pd

    points = cells(experiment)
    found = run.each(_measure_cell, [(study, point.experiment) for point in points], [identity(p.experiment) for p in points])
    return pd.concat([_labelled(table, p.settings) for table, p in zip(found, points, strict=True)], ignore_index=True)


def _measure_cell(study: Study, experiment: Experiment) -> pd.DataFrame:
    return study.measure(experiment, ALONE)


def _labelled(table: pd.DataFrame, settings: Mapping[str, Any]) -> pd.DataFrame:
    """The table with a column for every setting of its cell, unless it has that column itself."""
    words = {key: value if isinstance(value, (str, int, float)) else str(value) for key, value in settings.items()}
    columns = {key: [word] * len(table) for key, word in words.items() if key not in table.columns}
    return table.assign(**columns)[[*columns, *table.columns]]


def _drawn(study: Study, table: pd.DataFrame) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Every figure as PNG and as SVG."""
    from frugal_theory.report.drawing import style

    with style():
        figures = study.draw(table)
        return {n: picture(f) for n, f in figures.items()}, {n: picture(f, "svg") for n, f in figures.items()}


def _write(
    study: Study,
    experiment: Experiment | None,
    folder: Path,
    table: pd.DataFrame,
    figures: Mapping[str, Mapping[str, bytes]],
    answer: Answer,
) -> None:
    """study.json comes last: where it is, everything else is of the same run."""
    (folder / "study.json").unlink(missing_ok=True)
    said = "" if experiment is None else dump(experiment)
    if said and not any((folder / part).exists() for part in ("theory", "training")):  # a run's own file is another matter
        write_text(folder / "experiment.toml", said)
    write_text(folder / "table.csv", str(table.to_csv(index=False, lineterminator="\n")))
    for ending, drawn in figures.items():
        for name, content in drawn.items():
            with finished(folder / "figures" / f"{name}.{ending}") as temporary:
                temporary.write_bytes(content)
    facts = {"name": study.name, "question": study.question, "answer": answer.sentence, "status": answer.status}
    record = {**facts, "failed": answer.failed, "version": installed(), "experiment": said}
    write_text(folder / "study.json", json.dumps(record, indent=1, ensure_ascii=False) + "\n")


# --- the run that a study sees -----------------------------------------------------------------------------------


class _Kept:
    """A :class:`~frugal_theory.studies.study.Run` that keeps every piece and shows how far it is on stderr."""

    def __init__(self, jobs: int, cluster: str | None, pieces: Pieces, name: str) -> None:
        self.jobs, self.cluster, self.pieces, self.name = jobs, cluster, pieces, name
        self._show: Callable[[str], None] = lambda _: None
        self._text, self._count, self.total = "", "", 0

    def say(self, text: str) -> None:
        self._text = text
        self._update()

    def progress(self, done: int, total: int) -> None:
        self._count = f" {done}/{total}"
        self._update()

    def kept(self, parts: Mapping[str, Callable[[], pd.DataFrame]]) -> list[pd.DataFrame]:
        computing = list(parts.values())
        return self._all(list(parts), lambda missing: (computing[number]() for number in missing))

    def each(
        self,
        function: Callable[..., pd.DataFrame],
        tasks: Sequence[tuple[Any, ...]],
        keys: Sequence[str] | None = None,
    ) -> list[pd.DataFrame]:
        keys = [f"{function.__qualname__} {identity(*task)}" for task in tasks] if keys is None else keys
        return self._all(keys, lambda missing: self._computed(function, tasks, missing))

    def _all(self, keys: Sequence[str], computed: Callable[[Sequence[int]], Iterator[pd.DataFrame]]) -> list[pd.DataFrame]:
        """The tables of all keys: those that were kept, and those that ``computed`` gives for the numbers of the rest."""
        found = [self.pieces.load(key) for key in keys]
        missing = [number for number, table in enumerate(found) if table is None]
        done = len(keys) - len(missing)
        if done:
            where = printable(str(self.pieces.folder.parent))
            print(f"{self.name}: {done} of {len(keys)} cells are those of an interrupted run in {where}", file=sys.stderr)
        self.total += len(keys)
        self.progress(done, len(keys))
        for number, table in zip(missing, computed(missing), strict=True):
            self.pieces.save(keys[number], table)
            found[number] = table
            done += 1
            self.progress(done, len(keys))
        return [table for table in found if table is not None]

    def _computed(
        self, function: Callable[..., pd.DataFrame], tasks: Sequence[tuple[Any, ...]], missing: Sequence[int]
    ) -> Iterator[pd.DataFrame]:
        """Without a cluster the first is done here, and tells whether the others are worth processes of their own."""
        todo = [tasks[number] for number in missing]
        if not todo:
            return
        if self.cluster is None:
            began = time.perf_counter()
            yield function(*todo[0])
            each, todo = time.perf_counter() - began, todo[1:]
        else:
            each = 0.0
        if todo:
            yield from in_order(function, todo, jobs=self.jobs, cluster=self.cluster, seconds=[each] * len(todo))

    @contextmanager
    def watched(self) -> Iterator[None]:
        """A line on a terminal's stderr that says how far it is; nothing elsewhere."""
        from rich.console import Console
        from rich.markup import escape

        with Console(stderr=True).status(escape(self.name)) as status:
            self._show = status.update
            try:
                yield
            finally:
                self._show = lambda _: None

    def _update(self) -> None:
        from rich.markup import escape

        self._show(escape(printable(f"{self.name}{self._count}{': ' if self._text else ''}{self._text}")))
