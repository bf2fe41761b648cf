"""Verify as a study: evidence of every cell, kept as soon as it is there, and verdicts on it under one error level."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frugal_theory.config import Experiment
from frugal_theory.config.cells import cells
from frugal_theory.config.one_line import printable
from frugal_theory.evidence.evidence import Evidence
from frugal_theory.results.files import make_folder, missing_folders, remove_empty
from frugal_theory.results.interrupted import KeptPremises, drop_cells, kept_cells, load_cell, save_cell
from frugal_theory.results.write import write_results
from frugal_theory.studies.interruption import count, interruptible
from frugal_theory.studies.study import Answer, Run
from frugal_theory.verdicts.claims import Claims, claims_of
from frugal_theory.verdicts.status import counted
from frugal_theory.verdicts.verdict import Verdict
from frugal_theory.verdicts.verify import gather_all, settle_all

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["VerifyStudy"]


@dataclass
class VerifyStudy:
    """All cells share one error level, and trials are added where they settle something. ``judge = False``: evidence alone.

    ``folder``: the run's, where cells are kept and theory/ is written by :meth:`write`. ``claims``, ``evidence`` and
    ``verdicts`` are there once it is measured.
    """

    folder: Path
    judge: bool = True
    claims: list[Claims] = field(default_factory=list)
    evidence: list[dict[str, Evidence]] = field(default_factory=list)
    verdicts: list[Verdict] | None = None

    name = "verify"
    question = "Do the theorems hold?"
    by_cell = False

    def measure(self, experiment: Experiment, run: Run) -> pd.DataFrame:
        """A row a verdict, or a row a cell without verdicts. Raises ExperimentError for an experiment that cannot be run."""
        self._premises = KeptPremises(self.folder, experiment)
        made = missing_folders(self._premises.path.parent)
        try:
            return self._measured(experiment, run)
        except Exception:
            if not kept_cells(self.folder):
                self._premises.drop()
                remove_empty(made)
            raise

    def _measured(self, experiment: Experiment, run: Run) -> pd.DataFrame:
        import pandas as pd

        with interruptible(self.folder, lambda: self._left(0, len(cells(experiment)))):
            self.claims = claims_of(experiment, progress=_tested(), kept=self._premises)
        make_folder(self.folder)
        found = self._kept()
        with self._interruptible(found), _progress(self.claims, experiment.name) as progress:
            lacking = [number for number, metrics in enumerate(found) if metrics is None]
            todo = [self.claims[number] for number in lacking]
            work = gather_all(todo, jobs=run.jobs, cluster=run.cluster, progress=progress)
            for number, metrics in zip(lacking, work, strict=True):
                save_cell(self.folder, self.claims[number], metrics)
                found[number] = metrics
        self.evidence = [metrics for metrics in found if metrics is not None]
        if not self.judge:
            return pd.DataFrame([_last(c, m["squared_gradient_norm"]) for c, m in zip(self.claims, self.evidence, strict=True)])
        with self._interruptible(found), _progress(self.claims, experiment.name, ", some added to settle it") as progress:
            self.evidence, self.verdicts = settle_all(
                self.claims,
                self.evidence,
                experiment.verify.confidence,
                jobs=run.jobs,
                cluster=run.cluster,
                progress=progress,
                keep=lambda claims, metrics: save_cell(self.folder, claims, metrics),
            )
        return pd.DataFrame([{**v.record(), "premises": None, "cell": v.label} for v in self.verdicts])

    def draw(self, table: pd.DataFrame) -> Mapping[str, Any]:  # noqa: ARG002
        """The report draws measured averages under their bounds itself."""
        return {}

    def answer(self, table: pd.DataFrame) -> Answer:
        """Yes if every theorem that speaks of a cell holds there; open while some verdict is; a violated one has failed."""
        found = list(table["status"])
        violated, still = "violated" in found, any(status in ("inconclusive", "shape only") for status in found)
        return Answer(f"{counted(found)}.", "no" if violated else "open" if still or "holds" not in found else "yes", violated)

    def write(self, experiment: Experiment) -> None:
        """experiment.toml and theory/; the cells that were kept for an interruption go."""
        write_results(self.folder, experiment, self.claims, self.evidence, self.verdicts)
        self._premises.drop()
        drop_cells(self.folder, self.claims)

    def _kept(self) -> list[dict[str, Evidence] | None]:
        """What an interrupted run has left; for evidence alone not where trials were added, which are not wanted."""
        found = [load_cell(self.folder, claims) for claims in self.claims]
        if not self.judge:
            begun = [claims.instance.trials for claims in self.claims]
            found = [e if e and all(m.trials <= n for m in e.values()) else None for e, n in zip(found, begun, strict=True)]
        if done := sum(metrics is not None for metrics in found):
            where = printable(str(self.folder))
            print(f"{done} of {len(found)} cells are those of an interrupted run in {where}", file=sys.stderr)
        return found

    def _interruptible(self, found: Sequence[dict[str, Evidence] | None]) -> Any:
        return interruptible(self.folder, lambda: self._left(sum(metrics is not None for metrics in found), len(found)))

    def _left(self, done: int, total: int) -> str:
        """What an interruption leaves: cells, or before the first of them what is known of their premises."""
        tested = len(self._premises)
        return count(done, total) or (f"the premises of {count(tested, total)}" if tested else "")


def _last(claims: Claims, found: Evidence) -> dict[str, Any]:
    """A cell's average up to the last step, with its interval."""
    ends = {"mean": found.mean[-1], "lower": found.lower[-1], "upper": found.upper[-1]}
    return {"cell": claims.cell.label, "learning_rate": claims.setting.alpha, **ends}


MANY = 16
"""Cells above which they share one progress bar, or elsewhere than on a terminal one line for every hundredth of them."""


def _tested() -> Callable[[int, int], None]:
    """One line that says how many cells' premises have been tested, where that takes long."""
    shown = [time.monotonic()]

    def update(done: int, total: int) -> None:
        if time.monotonic() - shown[0] > (0.2 if sys.stderr.isatty() else 10.0):
            shown[0] = time.monotonic()
            end = "\r" if sys.stderr.isatty() else "\n"
            print(f"[{done}/{total}] premises tested", end=end, file=sys.stderr, flush=True)

    return update


@contextmanager
def _progress(ready: Sequence[Claims], name: str, more: str = "") -> Iterator[Callable[[Claims, int, int], None]]:
    """A progress bar a cell on a terminal, a line a cell elsewhere; both on stderr. Many cells share one."""
    if len(ready) > MANY:
        with _together(len(ready), more) as update:
            yield update
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("trials"))
    labels = {
        id(claims): f"[{i}/{len(ready)}] {printable(claims.cell.label or name)}" for i, claims in enumerate(ready, start=1)
    }
    with Progress(
        *columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal
    ) as bars:
        tasks: dict[int, TaskID] = {}

        def update(claims: Claims, done: int, trials: int) -> None:
            label = labels[id(claims)]
            if id(claims) not in tasks:
                tasks[id(claims)] = bars.add_task(escape(label), total=trials)
            bars.update(tasks[id(claims)], completed=done, total=trials)
            if done >= trials and not console.is_terminal:
                print(f"{label}: {trials} trials{more}", file=sys.stderr, flush=True)

        yield update


@contextmanager
def _together(total: int, more: str) -> Iterator[Callable[[Claims, int, int], None]]:
    """One bar, or line, for all cells."""
    from rich.console import Console
    from rich.progress import Progress

    console, done = Console(stderr=True), 0
    every = max(1, total // 100)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bars:
        bar = bars.add_task("cells", total=total)

        def update(_: Claims, trials: int, wanted: int) -> None:
            nonlocal done
            if trials < wanted:
                return
            done += 1
            bars.update(bar, completed=done)
            if done % every == 0 and not console.is_terminal:
                print(f"[{done}/{total}] cells{more}", file=sys.stderr, flush=True)

        yield update
