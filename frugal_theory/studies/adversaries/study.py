"""Every theorem against the worst that a few steps can bring, exactly: the largest measured/bound that a search finds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from frugal_theory.metrics import METRICS, Metric
from frugal_theory.report.drawing import COLOURS
from frugal_theory.studies.adversaries.candidates import REGIMES, Candidate, Space, regimes_of
from frugal_theory.studies.adversaries.families import FAMILIES, Family
from frugal_theory.studies.adversaries.tree import Tree
from frugal_theory.studies.attack.optimise import polish, search
from frugal_theory.studies.figures import panels
from frugal_theory.studies.study import Answer, Run
from frugal_theory.theorems import THEOREMS, Theorem

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ADVERSARIES", "Adversaries", "Found", "attacked", "ratio_of"]

Array = NDArray[np.float64]

ROUNDING = 1e-9
"""A ratio above 1 by no more than this is a bound that is attained."""

REGIMES_IN_WORDS = {"anything": "of all", "noise alone": "∇f(x¹) = 0", "momentum": "β ≥ ½"}

LOOKS = 10
"""Candidates at which a family is tried for whether the theorem covers it."""


@dataclass(frozen=True)
class Found:
    """The worst instance of a family: measured/bound, at which k, in words, and its genes."""

    ratio: float
    step: int
    words: str
    genes: tuple[float, ...]
    evaluations: int


def ratio_of(theorem: Theorem, candidate: Candidate) -> tuple[float, int]:
    """The largest measured/bound over the horizons, and k; (0, 1) where the theorem says nothing or nothing moves."""
    if candidate.excuse is not None:
        return 0.0, 1
    setting = candidate.instance.setting
    measured, bound = Tree.of(candidate.instance).expectation(metric_of(theorem, candidate)), theorem.bound(setting)
    ratios = np.where(bound > 0, measured / np.where(bound > 0, bound, 1.0), np.where(measured > 0, np.inf, 0.0))
    worst = int(np.argmax(ratios))
    return float(ratios[worst]), worst + 1


def metric_of(theorem: Theorem, candidate: Candidate) -> Metric:
    """What the theorem bounds."""
    own = getattr(theorem, "measure", None)
    found: Metric = METRICS[theorem.metric] if own is None else own(candidate.instance.setting)
    return found


def attacked(theorem: Theorem, family: Family, evaluations: int, seed: int, regime: str = "anything") -> Found:
    """The worst instance of the family that so many evaluations find, by differential evolution and then a simplex."""
    space = Space(family, theorem, regime)
    best: list[float] = []
    worst = Found(-1.0, 0, "", (), 0)

    def minus_ratio(genes: Array) -> float:
        nonlocal worst
        candidate = space.candidate(genes)
        ratio, step = ratio_of(theorem, candidate)
        if ratio > worst.ratio:
            worst = Found(ratio, step, candidate.words, tuple(float(gene) for gene in np.clip(genes, 0, 1)), 0)
        best.append(ratio)
        return -ratio

    population = max(8, min(40, evaluations // 25))
    search(minus_ratio, space.size, "differential-evolution", evaluations, seed, space.points(population, seed))
    polish(minus_ratio, np.array(worst.genes), evaluations - len(best))
    return Found(worst.ratio, worst.step, worst.words, worst.genes, len(best))


def excuse(theorem: Theorem, family: Family) -> str | None:
    """Why the theorem covers no instance of the family, in the words of the first that it refuses; None if it covers one."""
    space, said = Space(family, theorem), None
    for genes in space.points(LOOKS, 0):
        reason = space.candidate(genes).excuse
        if reason is None:
            return None
        said = said or reason
    return said


@dataclass(frozen=True)
class Adversaries:
    """Every theorem with every family that it covers. ``evaluations``: of each pair.

    A theorem that no family belongs to, or whose constants are hidden, has a row that says why it is not attacked.
    """

    evaluations: int = 300
    seed: int = 0
    theorems: tuple[str, ...] = ()

    name = "adversaries"
    question = "Does any instance of a few steps, with every noise and every set followed exactly, violate a theorem?"
    by_cell = False

    def measure(self, _: None, run: Run) -> pd.DataFrame:
        """A row a theorem and family: the largest measured/bound, where it was found, and the genes that make it again."""
        import pandas as pd

        tasks, silent = [], []
        for name in self.theorems or tuple(THEOREMS):
            theorem = THEOREMS[name]
            if not theorem.explicit:
                silent.append({"theorem": name, "reason": "not attacked: its constants are hidden"})
                continue
            reasons = {family.name: excuse(theorem, family) for family in FAMILIES.values()}
            covered = [family for family in FAMILIES.values() if reasons[family.name] is None]
            tasks += [(name, f.name, regime, self.evaluations, self.seed) for f in covered for regime in regimes_of(f)]
            if not covered:
                reason = next(iter(reasons.values()))
                silent.append({"theorem": name, "reason": f"not attacked: it covers no family; of the first: {reason}"})
        tables = run.each(_row, tasks)
        return pd.concat([*tables, *([pd.DataFrame(silent)] if silent else [])], ignore_index=True)

    def draw(self, table: pd.DataFrame) -> dict[str, Any]:
        """The largest ratio of every theorem."""
        rows = [dict(row) for row in _worst(table)][::-1]
        note = "f piecewise quadratic, two-point noise, at most six steps, every path and every set followed. 1: the bound."
        titles = [f"largest measured / bound: {REGIMES_IN_WORDS[regime]}" for regime in REGIMES]
        figure, axes = panels(
            "How close exact adversaries come to every bound", titles, note, left=186, gap=24, height=120 + 20 * len(rows)
        )
        for place, regime in enumerate(REGIMES):
            ratios = [_largest(table, row["theorem"], regime) for row in rows]
            colours = [COLOURS["violated" if ratio > 1 + ROUNDING else "hue-1"] for ratio in ratios]
            axes[place].barh(range(len(rows)), ratios, height=0.62, color=colours)
            for line, ratio in enumerate(ratios):
                text = "–" if np.isnan(ratio) else f"{ratio:.3f}"
                axes[place].text(0 if np.isnan(ratio) else ratio, line, f" {text}", va="center", fontsize=9)
            axes[place].axvline(1, color=COLOURS["quiet"], linewidth=1)
            axes[place].grid(False, axis="y")
            axes[place].set(xlim=(0, 1.25 * max(1.0, np.nanmax(table["ratio"]))))
            axes[place].set_yticks(range(len(rows)), [row["theorem"] if place == 0 else "" for row in rows])
        return {"adversaries": figure}

    def answer(self, table: pd.DataFrame) -> Answer:
        """No if none is above 1; a theorem that is beaten has failed."""
        worst = list(_worst(table))
        beaten = [row for row in worst if row["ratio"] > 1 + ROUNDING]
        silent = table[table["ratio"].isna()]
        apart = f"; not attacked: {', '.join(silent['theorem'])}" if len(silent) else ""
        if beaten:
            told = "; ".join(
                f"{r['theorem']} {r['ratio']:.6g} at k = {r['step']} ({r['family']}, {r['words']})" for r in beaten
            )
            return Answer(f"Beaten: {told}{apart}.", "yes", failed=True)
        top = max(worst, key=lambda row: row["ratio"])
        attained = sum(row["ratio"] > 1 - 1e-3 for row in worst)
        return Answer(
            f"No: the largest measured/bound of {len(worst)} theorems is {top['ratio']:.9g} ({top['theorem']}); "
            f"{attained} are attained to 0.1 %, the loosest reaches {min(row['ratio'] for row in worst):.3f}{apart}.",
            "no",
        )


def _worst(table: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """The row with the largest ratio of every theorem that was attacked, in the table's order."""
    for _, rows in table[table["ratio"].notna()].groupby("theorem", sort=False):
        yield rows.loc[rows["ratio"].idxmax()].to_dict()


def _largest(table: pd.DataFrame, theorem: str, regime: str) -> float:
    """NaN where the theorem has nothing in that regime."""
    return float(table.loc[(table["theorem"] == theorem) & (table["regime"] == regime), "ratio"].max())


def _row(theorem: str, family: str, regime: str, evaluations: int, seed: int) -> pd.DataFrame:
    import pandas as pd

    found = attacked(THEOREMS[theorem], FAMILIES[family], evaluations, seed, regime)
    facts = {
        "theorem": theorem,
        "family": family,
        "regime": regime,
        "ratio": found.ratio,
        "step": found.step,
        "words": found.words,
    }
    return pd.DataFrame([{**facts, "evaluations": found.evaluations, "genes": json.dumps(found.genes), "reason": ""}])


ADVERSARIES = Adversaries()
