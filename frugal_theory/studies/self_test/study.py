"""The self-test as a study: a row a finding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from frugal_theory.config.load import ExperimentError
from frugal_theory.studies.self_test.finding import Finding
from frugal_theory.studies.self_test.run import Sheet, parts_of
from frugal_theory.studies.study import Answer, Run

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SelfTest", "sheet_of"]

CONFIDENCE = 0.99
"""Of all findings together."""


@dataclass(frozen=True)
class SelfTest:
    """Every planted falsehood and its true counterpart, with trials times ``budget``, under one error level."""

    budget: float = 1.0
    seed: int = 0

    name = "self-test"
    question = "Is every planted fault caught, and does nothing true raise an alarm?"
    by_cell = False

    def measure(self, _: None, run: Run) -> pd.DataFrame:
        """A row a finding. Raises ExperimentError for a budget that is not positive."""
        import pandas as pd

        def progress(what: str, done: int, total: int) -> None:
            run.say(what)
            run.progress(done, total)

        try:
            parts = parts_of(
                budget=self.budget, seed=self.seed, confidence=CONFIDENCE, jobs=run.jobs, cluster=run.cluster, progress=progress
            )
        except ValueError as error:
            raise ExperimentError(f"self-test: {error}") from error
        key = f"budget {self.budget!r} seed {self.seed}"
        tables = run.kept({f"{name} {key}": partial(_told, part) for name, part in parts.items()})
        return pd.concat(tables, ignore_index=True)

    def draw(self, _: pd.DataFrame) -> dict[str, Any]:
        """The table says all of it."""
        return {}

    def answer(self, table: pd.DataFrame) -> Answer:
        """Yes, or the claim that faults are caught has failed."""
        sheet = sheet_of(table)
        return Answer(sheet.sentence, "yes" if sheet.passed else "no", failed=not sheet.passed)


def _told(part: Callable[[], list[Finding]]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame([{**asdict(finding), "confidence": CONFIDENCE} for finding in part()])


def sheet_of(table: pd.DataFrame) -> Sheet:
    """The findings of a table."""
    columns = table.drop(columns="confidence")
    findings = tuple(Finding(**dict(zip(columns, row, strict=True))) for row in columns.itertuples(index=False, name=None))
    return Sheet(findings, float(table["confidence"].iloc[0]))
