"""The attack as a study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from frugal_theory.config import Experiment
from frugal_theory.report.drawing import COLOURS
from frugal_theory.studies.attack.search import Attack, attack
from frugal_theory.studies.figures import panels
from frugal_theory.studies.study import Answer, Run, Status

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["AttackStudy"]


@dataclass
class AttackStudy:
    """The attack as a study: a row an evaluation, with the best ratio so far and what became of the theorem.

    ``found``: the instance, once it is measured.
    """

    theorem: str | None
    free: Sequence[str]
    evaluations: int
    optimizer: str
    found: Attack | None = None

    name = "attack"
    question = "Does an instance violate the theorem?"
    by_cell = False

    def measure(self, experiment: Experiment, run: Run) -> pd.DataFrame:
        """The search. Raises ExperimentError as :func:`attack`."""
        import pandas as pd

        def progress(done: int, total: int, best: float) -> None:
            run.say(f"{100 * best:.4g} % of the bound")
            run.progress(done, total)

        options = {"free": self.free, "evaluations": self.evaluations, "optimizer": self.optimizer}
        self.found = found = attack(experiment, self.theorem, progress=progress, **options)  # type: ignore[arg-type]
        verdict = found.verdict
        facts = {"theorem": found.theorem, "step": verdict.step, "status": verdict.status, "reason": verdict.reason}
        return pd.DataFrame({"evaluation": np.arange(1, len(found.best) + 1), "ratio": found.best}).assign(**facts)

    def draw(self, table: pd.DataFrame) -> dict[str, Any]:
        """The best ratio against the evaluations."""
        title = f"The instance on which {table['theorem'].iloc[0]} is tightest"
        figure, (axes,) = panels(title, ["largest measured / bound so far, against the instances tried"])
        axes.step(table["evaluation"], table["ratio"], where="post", color=COLOURS["hue-1"], linewidth=1.6)
        axes.axhline(1, color=COLOURS["quiet"], linewidth=1)
        axes.set(xlim=(1, max(2, len(table))), ylim=(0, None))
        return {"attack": figure}

    def answer(self, table: pd.DataFrame) -> Answer:
        """What was found; open where the theorem hides its constant."""
        last = table.iloc[-1]
        what = "the largest implied constant" if last["status"] == "shape only" else "the largest measured/bound"
        found = f"{what} found is {last['ratio']:.6g}, at k = {last['step']}, in {len(table)} evaluations"
        violated = last["status"] == "violated"
        status: Status = "yes" if violated else "open" if last["status"] == "shape only" else "no"
        return Answer(f"{last['theorem']}: {found}", status, failed=violated)
