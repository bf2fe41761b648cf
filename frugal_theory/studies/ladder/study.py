"""The ladder as a study: a row a rung and horizon."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from frugal_theory.config import Experiment
from frugal_theory.config.identity import identity
from frugal_theory.studies.ladder.ladder import Ladder, climber, interval_confidence, ready
from frugal_theory.studies.study import Answer, Run
from frugal_theory.verdicts.claims import Claims

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LadderStudy"]


@dataclass
class LadderStudy:
    """All cells share one error level; each is kept as soon as it is there. ``found``: the ladders' records, once measured."""

    found: list[dict[str, Any]] = field(default_factory=list)

    name = "ladder"
    question = "Does every engine and theorem lie below the next?"
    by_cell = False

    def measure(self, experiment: Experiment, run: Run) -> pd.DataFrame:
        """A row a rung and horizon, with what became of its ladder. Raises ExperimentError for what has none."""
        import pandas as pd

        cells = ready(experiment)
        climbed, level = climber(experiment, cells, run.jobs, run.say, run.cluster), interval_confidence(experiment, cells)
        tables = run.kept({identity(level, one.cell.experiment): partial(_told, climbed, one) for one in cells})
        self.found = [json.loads(table["record"].iloc[0]) for table in tables]
        return pd.concat(tables, ignore_index=True).drop(columns="record")

    def draw(self, _: pd.DataFrame) -> dict[str, Any]:
        """The report draws ladders itself."""
        return {}

    def answer(self, table: pd.DataFrame) -> Answer:
        """Yes if every rung that can be compared lies below the next; a claim that a theorem or an engine makes."""
        cells = table.drop_duplicates("cell")
        told = zip(cells["cell"], cells["sentence"], strict=True)
        sentence = "; ".join(f"{label}: {said}" if label else said for label, said in told)
        in_order = bool(cells["in_order"].all())
        return Answer(f"{sentence[0].upper()}{sentence[1:]}.", "yes" if in_order else "no", failed=not in_order)


def _told(climbed: Callable[[Claims], Ladder], claims: Claims) -> pd.DataFrame:
    one = climbed(claims)
    record = json.dumps(one.record(), ensure_ascii=False)
    return one.frame().assign(in_order=not one.out_of_order, sentence=one.sentence, record=record)
