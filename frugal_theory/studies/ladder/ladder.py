"""The ladder: one configuration seen by every engine and theorem, each of which must lie below the next (theory, section 7).

Monte Carlo ≤ exact expectation (equal within its interval) ≤ worst case over all L-smooth functions (noise-free) ≤
run-length theorem ≤ published bound. Each number comes by a way of its own, so a ladder in order speaks for all of them.

Where the momentum set never changes nothing leaks, and every rung is about the average of E‖gᵏ‖². Where it changes, all
but the last are about E‖gᵏ‖²_W, the norm that the run-length theorem bounds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from frugal_theory.config import Experiment
from frugal_theory.config.load import ExperimentError, takes_a_file
from frugal_theory.evidence.exact.linear import momentum
from frugal_theory.studies.ladder.measured import expectations, rung_horizons, worst
from frugal_theory.studies.ladder.proved import bounds, with_constant
from frugal_theory.studies.ladder.rung import OUT_OF_ORDER, Comparison, Rung, compare
from frugal_theory.theorems import THEOREMS
from frugal_theory.verdicts.claims import Claims, claims_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Ladder", "climb", "climber", "interval_confidence", "ladder", "ladders", "ready"]


@dataclass(frozen=True)
class Ladder:
    """The rungs of one cell, the lowest first, and the comparison of each with the next one that there is.

    A rung that cannot be compared with the next is also compared with the first one above that it can be compared with.
    ``confidence``: that of all intervals of all cells of the experiment together.
    """

    label: str
    metric: str
    steps: int
    learning_rate: float
    confidence: float
    rungs: tuple[Rung, ...]
    comparisons: tuple[Comparison, ...]
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def out_of_order(self) -> list[Comparison]:
        """The comparisons that must not be."""
        return [comparison for comparison in self.comparisons if comparison.status in OUT_OF_ORDER]

    @property
    def sentence(self) -> str:
        """What was found, in one sentence without its full stop."""
        if bad := self.out_of_order:
            return f"out of order: {', '.join(f'{c.lower} {c.status} {c.upper}' for c in bad)}"
        open_ = [c for c in self.comparisons if c.status == "inconclusive"]
        apart = [c for c in self.comparisons if c.status == "not comparable"]
        missing = [rung for rung in self.rungs if rung.missing]
        facts = [f"{len(open_)} inconclusive"] if open_ else []
        facts += [f"{len(apart)} not comparable"] if apart else []
        facts += [f"{len(missing)} missing"] if missing else []
        return f"in order where comparable ({', '.join(facts)})" if facts else "every rung is below the next"

    def record(self) -> dict[str, Any]:
        """The ladder as an object of ladder.json."""
        return {
            "label": self.label,
            "cell": self.settings,
            "metric": self.metric,
            "steps": self.steps,
            "learning_rate": self.learning_rate,
            "confidence": self.confidence,
            "in_order": not self.out_of_order,
            "sentence": self.sentence,
            "rungs": [rung.record() for rung in self.rungs],
            "comparisons": [comparison.record() for comparison in self.comparisons],
        }

    def frame(self) -> pd.DataFrame:
        """Tidy table: one row a rung and horizon, columns cell, rung, step, value, lower, upper."""
        import pandas as pd

        parts = [
            pd.DataFrame({"step": rung.steps, "value": rung.value, "lower": rung.lower, "upper": rung.upper}).assign(
                cell=self.label, rung=rung.name
            )
            for rung in self.rungs
        ]
        return pd.concat(parts, ignore_index=True)[["cell", "rung", "step", "value", "lower", "upper"]]


@takes_a_file
def ladder(experiment: Experiment, *, jobs: int = 1) -> Ladder:
    """The ladder of the experiment itself (not of its sweep).

    ``jobs``: processes that share Monte Carlo, and programs of the worst case that are solved at once. Rungs that there
    are not (no quadratic, too many steps, solvers not installed, a theorem that does not apply) say why. Raises
    ExperimentError for an algorithm that is not Algorithm 2, SGDM in the set and SGD off it.
    """
    (found,) = ladders(experiment.model_copy(update={"sweep": {}, "cases": []}), jobs=jobs)
    return found


def ladders(experiment: Experiment, *, jobs: int = 1, progress: Callable[[str], None] | None = None) -> list[Ladder]:
    """The ladder of every cell, all intervals under one error level. ``progress(what)`` is called before each piece of work."""
    return climb(experiment, ready(experiment), jobs, progress)


def ready(experiment: Experiment) -> list[Claims]:
    """Every cell made ready; nothing is measured yet. Raises ExperimentError as :func:`ladder`."""
    found = claims_of(experiment, tuple(THEOREMS.values()))
    for claims in found:
        try:
            momentum(claims.setting.algorithm, claims.setting.runs)
        except ValueError as error:
            raise ExperimentError(f"{experiment.name}: no ladder: {error}") from None
    return found


def climb(experiment: Experiment, cells: Sequence[Claims], jobs: int, progress: Callable[[str], None] | None) -> list[Ladder]:
    """The ladder of every cell that is ready."""
    one = climber(experiment, cells, jobs, progress)
    return [one(claims) for claims in cells]


def climber(
    experiment: Experiment,
    cells: Sequence[Claims],
    jobs: int,
    progress: Callable[[str], None] | None,
    cluster: str | None = None,
) -> Callable[[Claims], Ladder]:
    """What makes the ladder of one of the ``cells``, which share the error level; a ``cluster`` shares Monte Carlo."""
    confidence = experiment.verify.confidence
    single = interval_confidence(experiment, cells)
    solved: dict[str, Rung] = {}

    def climbed(claims: Claims) -> Ladder:
        say = _speaker(progress, claims.cell.label or experiment.name)
        rungs = [*expectations(claims, single, jobs, say, cluster), worst(claims, solved, jobs, say), *bounds(claims)]
        rungs = with_constant(claims, rungs)
        links = _links([rung for rung in rungs if not rung.missing])
        facts = (rungs[0].metric, claims.setting.steps, claims.setting.alpha, confidence)
        return Ladder(claims.cell.label, *facts, tuple(rungs), tuple(links), claims.cell.settings)

    return climbed


def interval_confidence(experiment: Experiment, cells: Sequence[Claims]) -> float:
    """That of every single interval, so that all of all cells hold together with the experiment's."""
    return 1 - (1 - experiment.verify.confidence) / sum(len(rung_horizons(claims.setting.steps)) for claims in cells)


def _links(rungs: Sequence[Rung]) -> list[Comparison]:
    """Each rung with the next; where that says nothing, or is a rung aside, also with the first above that says something."""
    links = []
    for place, rung in enumerate(rungs[:-1]):
        above = [compare(rung, other) for other in rungs[place + 1 :]]
        links.append(above[0])
        if above[0].status == "not comparable" or rungs[place + 1].aside:
            links += [other for other in above[1:] if other.status != "not comparable"][:1]
    return links


def _speaker(progress: Callable[[str], None] | None, label: str) -> Callable[[str], None]:
    return lambda what: None if progress is None else progress(f"{label}: {what}")
