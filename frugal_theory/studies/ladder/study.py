"""The ladder as a study: a row a rung and horizon."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from frugal_theory.config import Experiment
from frugal_theory.studies.ladder.ladder import Ladder, climb, ready
from frugal_theory.studies.study import Answer, Run

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LadderStudy"]


@dataclass
class LadderStudy:
    """All cells share one error level, and a worst case that is solved once. ``found``: the ladders, once measured."""

    found: list[Ladder] = field(default_factory=list)

    name = "ladder"
    question = "Does every engine and theorem lie below the next?"
    by_cell = False

    def measure(self, experiment: Experiment, run: Run) -> pd.DataFrame:
        """A row a rung and horizon, with what became of its ladder. Raises ExperimentError for what has none."""
        import pandas as pd

        self.found = climb(experiment, ready(experiment), run.jobs, run.say)
        told = [one.frame().assign(in_order=not one.out_of_order, sentence=one.sentence) for one in self.found]
        return pd.concat(told, ignore_index=True)

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
