"""A table as a study: tuned on one seed, trained on all, and its orderings held against those that were reported."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from frugal_gpu.studies.tables.recipes import SETTINGS, Setting, Size, experiment
from frugal_gpu.studies.tables.tables import Claim, Table
from frugal_theory.report.drawing import COLOURS
from frugal_theory.studies.figures import panels
from frugal_theory.studies.study import Answer, Run

if TYPE_CHECKING:
    import pandas as pd

    from frugal_theory.config import Experiment

__all__ = ["CONFIDENCE", "PaperTable", "Runs", "Tuned", "compared", "tuned"]

CONFIDENCE = 0.95
"""Of the interval of each comparison, for itself."""

DIVERGED = 1e6
"""A loss above all others."""


class Runs(Protocol):
    """Where runs come from: :class:`~frugal_gpu.studies.tables.bank.Bank`, or a plan."""

    def get(self, experiment: Experiment, name: str) -> dict[str, Any]:
        """The run of an experiment."""
        ...


@dataclass(frozen=True)
class Tuned:
    """The keys that were best on the first seed, the learning rate, and whether it or they are at an end of the grid."""

    choice: dict[str, Any]
    rate: float | None
    edge: bool
    losses: tuple[float | None, ...] = ()


def tuned(setting: Setting, size: Size, runs: Runs) -> Tuned:
    """Of a setting: the best of its choices on seed 0, at the rate of another setting where it has one of those."""
    other = None if setting.rate_of is None else tuned(SETTINGS[setting.rate_of], size, runs)
    rate = None if other is None else other.rate
    if not setting.choices:
        return Tuned({}, rate, False if other is None else other.edge)
    losses = [runs.get(experiment(setting, size, 0, keys, rate), setting.name)["loss"] for keys in setting.choices]
    best = int(np.argmin([DIVERGED if loss is None else loss for loss in losses]))
    choice = dict(setting.choices[best])
    return Tuned(choice, choice.get("learning_rate", rate), best in (0, len(losses) - 1), tuple(losses))


@dataclass(frozen=True)
class PaperTable:
    """One of the tables at a size, from ``runs``."""

    table: Table
    size: Size
    runs: Runs

    by_cell = False

    @property
    def name(self) -> str:
        """The table's."""
        return self.table.name

    @property
    def question(self) -> str:
        """The table's."""
        return self.table.question

    def measure(self, _: None, run: Run) -> pd.DataFrame:
        """A row a run: ``setting``, ``seed``, ``learning_rate``, ``choice`` (what else was tuned), ``edge``, ``loss`` (nats a
        validation token; NaN if it diverged), ``perplexity``, ``state_bytes``, ``tokens``, ``seconds`` and ``reported``."""
        import pandas as pd

        found = []
        for done, name in enumerate(self.table.rows):
            run.progress(done, len(self.table.rows))
            setting = SETTINGS[name]
            best = tuned(setting, self.size, self.runs)
            for seed in range(self.table.seeds):
                row = self.runs.get(experiment(setting, self.size, seed, best.choice, best.rate), name)
                loss = math.nan if row["loss"] is None else row["loss"]
                found.append(
                    {
                        **{"setting": name, "seed": seed, "learning_rate": best.rate},
                        **{"choice": _words(best.choice), "edge": best.edge},
                        **{"loss": loss, "perplexity": math.exp(loss), "state_bytes": row["state_bytes"]},
                        **{"tokens": row["tokens"], "seconds": row["seconds"]},
                        "reported": self.table.numbers.get(name, math.nan),
                    }
                )
        return pd.DataFrame(found)

    def draw(self, table: pd.DataFrame) -> dict[str, Any]:
        """A line a setting: the loss of every seed, and their mean."""
        order = list(dict.fromkeys(table["setting"]))
        note = f"a mark a seed, the bar their mean; {int(table['tokens'].max()):,} tokens at most, {self.size.name} size"
        figure, (axes,) = panels(self.table.title, ["validation loss"], note, left=250, height=120 + 26 * len(order))
        for place, name in enumerate(order):
            losses = table.loc[table["setting"] == name, "loss"]
            axes.plot(losses, [-place] * len(losses), "o", ms=5, color=COLOURS["hue-1"], alpha=0.7)
            axes.plot([losses.mean()], [-place], "|", ms=16, mew=2, color=COLOURS["hue-2"])
        axes.set_yticks([-place for place in range(len(order))], order)
        axes.set_ylim(-len(order) + 0.5, 0.5)
        return {self.name: figure}

    def answer(self, table: pd.DataFrame) -> Answer:
        """A sentence for each ordering that was reported; yes if all are reproduced, no if one is contradicted."""
        if not self.table.claims:
            return Answer(_spread(table), "open")
        found = [compared(table, claim) for claim in self.table.claims]
        status: Any = "no" if "no" in {s for _, s in found} else "yes" if {s for _, s in found} == {"yes"} else "open"
        return Answer(" ".join(sentence for sentence, _ in found), status)


def compared(table: pd.DataFrame, claim: Claim) -> tuple[str, str]:
    """What the runs say of a claim, in one sentence, and "yes", "no" or "open".

    The difference within seeds, with Student's interval over them at :data:`CONFIDENCE`, decides; one seed decides nothing.
    """
    losses = {name: table[table["setting"] == name].set_index("seed")["loss"] for name in (claim.first, claim.second)}
    difference = (losses[claim.second] - losses[claim.first]).dropna()
    said = f"{claim.first} before {claim.second}"
    if difference.empty:
        return f"{said}: open, for a run diverged (reported: {claim.reported}).", "open"
    mean, count = float(difference.mean()), len(difference)
    if count == 1:
        return f"{said}: open, by {mean:+.3f} nats on one seed (reported: {claim.reported}).", "open"
    from scipy import stats

    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1) * difference.std(ddof=1) / math.sqrt(count))
    status = "yes" if mean - half > 0 else "no" if mean + half < 0 else "open"
    word = {"yes": "reproduced", "no": "not reproduced", "open": "open"}[status]
    interval = f"{mean:+.3f} nats, {100 * CONFIDENCE:.0f} % interval {mean - half:+.3f} to {mean + half:+.3f}, {count} seeds"
    return f"{said}: {word}, by {interval} (reported: {claim.reported}).", status


def _spread(table: pd.DataFrame) -> str:
    means = table.groupby("setting", sort=False)["loss"].mean().dropna()
    best, worst = str(means.idxmin()), str(means.idxmax())
    seeds = table["seed"].nunique()
    return (
        f"Between the best ({best}, {means.min():.3f}) and the worst ({worst}, {means.max():.3f}) lie "
        f"{means.max() - means.min():.3f} nats on {seeds} seed{'s' if seeds > 1 else ''}; no ordering is held against it."
    )


def _words(choice: dict[str, Any]) -> str:
    free = choice.get("state_free")
    return "" if free is None else f"SGD × {free['lr_scale']:g}"
