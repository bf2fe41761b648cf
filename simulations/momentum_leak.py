"""How large is the momentum leak? Gradients go into the real step function, and what never comes out is counted.

A gradient of ones at each of the T steps of a period and none after it, on a set that the selection draws: each moves x by
αW of it in all, W = 1 on what SGD or a fixed set applies, so −⟨g, x⟩/(αT‖g‖²) is 1 less the *leak*, averaged over the steps.
Relative to the share p of the gradient that lay on the set, docs/theory/run-length.md says ::

    (1−q)/(1−qβ^T) · β(1−β^T)/((1−β)T)

with q the probability that a unit on the set stays there in the next period: p for units drawn at random, 0 for blocks in
turn and for a random basis, 1 for a set that never changes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import frugal_theory as ft
from frugal_theory.algorithm.run_lengths import RunLengths, run_lengths
from frugal_theory.config import Algorithm, Experiment
from frugal_theory.config.load import ExperimentError
from frugal_theory.evidence.intervals import mean_interval
from frugal_theory.report.drawing import COLOURS, HUES, EndLabel, end_labels, log_limits
from frugal_theory.report.words import number, percent
from frugal_theory.studies.figures import panels
from frugal_theory.studies.study import ALONE, Answer, Run

from .algorithm_2 import check_algorithm_2

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["QUESTION", "answer", "closed_form", "draw", "law", "leaks", "measure"]

Array = NDArray[np.float64]

QUESTION = "How large is the momentum leak against its closed form?"

WHOLE = True
"""All intervals share one error level, and a fixed set, which knows no density, is measured once."""

REMAINDER = 1e-9
"""Momentum that is still in the buffers, as a share of the gradient, below which a run is over."""


TRIALS = 4000
"""Trials of the sets in each cell: what is drawn at random is then known to a few percent in all cells together."""


def closed_form(beta: float, gap: int, stay: float) -> float:
    """The average leak over a period of ``gap`` steps (T), where a unit stays with probability ``stay`` (q)."""
    if stay == 1:
        return 0.0
    return (1 - stay) / (1 - stay * beta**gap) * float(np.mean(beta ** np.arange(1, gap + 1)))


def law(runs: RunLengths) -> tuple[float, float]:
    """The share p of the space on the set, and the average leak of it over the first period, by the theorems' run lengths."""
    gap, share = runs.algorithm.update_gap, runs.probability(0)
    on_set = _total(share, runs.shapes)
    leak = np.mean([_total({name: share[name] * w for name, w in runs.leak(k).items()}, runs.shapes) for k in range(gap)])
    return on_set, float(leak) / on_set


def _total(values: Mapping[str, Array], shapes: Mapping[str, tuple[int, ...]]) -> float:
    """The mean over all coordinates of arrays that broadcast against the parameters."""
    sums = [float(np.sum(np.broadcast_to(values[name], shape))) for name, shape in shapes.items()]
    return sum(sums) / sum(math.prod(shape) for shape in shapes.values())


def leaks(algorithm: Algorithm, shapes: Mapping[str, tuple[int, ...]], trials: int) -> tuple[Array, Array]:
    """By ``ft.step``, as shares of all gradients: what leaked of them, and what of them lay on the set; shape (trials,)."""
    state = ft.init(np.arange(trials))
    gradients = {name: np.ones((trials, *shape)) for name, shape in shapes.items()}
    dimension = sum(math.prod(shape) for shape in shapes.values())
    x = {name: np.zeros_like(value) for name, value in gradients.items()}
    gap, on_set, step, left = algorithm.update_gap, np.zeros(trials), 0, np.inf
    while step < gap or left > REMAINDER:
        if step == gap:
            gradients = {name: np.zeros_like(value) for name, value in gradients.items()}
        x, state = ft.step(algorithm, x, gradients, state, learning_rate=1.0)
        if step == 0:
            for name, gradient in gradients.items():
                on_set += _by_trial(gradient * state.parts[name].lift(state.parts[name].project(gradient))) / dimension
        left = max(float(np.abs(value).max(initial=0)) for kept in state.statistics.values() for value in kept.values())
        step += 1
    return 1 + np.sum([_by_trial(value) for value in x.values()], axis=0) / (dimension * gap), on_set


def _by_trial(values: Array) -> Array:
    return values.reshape(len(values), -1).sum(axis=1)


def measure(experiment: Experiment, run: Run = ALONE, trials: int = TRIALS) -> pd.DataFrame:
    """A row a cell: the leak as a share of the gradient on the set, with an interval, its law and its closed form.

    ``lower`` to ``upper`` covers the expectation, in all cells together, with the experiment's confidence; it is the
    interval of a ratio, linearised. Raises ExperimentError for what is not Algorithm 2 in the reading "reset".
    """
    import pandas as pd

    cells = ft.cells(experiment)
    confidence = 1 - (1 - experiment.verify.confidence) / len(cells)
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    tasks: list[tuple[Any, ...]] = []
    for number_of_cell, cell in enumerate(cells):
        seed = (cell.experiment.algorithm.seed or 0) + number_of_cell  # no two cells share their draws
        algorithm = cell.experiment.algorithm.model_copy(update={"seed": seed})
        shapes = ft.build_problem(cell.experiment).shapes
        check_algorithm_2(cell.experiment)
        runs = run_lengths(algorithm, shapes)
        if runs is None or runs.beta == 0 or algorithm.off_set_momentum != "reset":
            raise ExperimentError(f'{experiment.name}: algorithm: β > 0 and off_set_momentum = "reset" are needed')
        share, expected = law(runs)
        where = (cell.settings.get("case", algorithm.subspace), share, algorithm.update_gap, runs.beta)
        if where in rows:  # a fixed set knows no density
            continue
        stay = {"fixed": 1.0, "redrawn": share}.get(runs.law, 0.0)
        rows[where] = {
            "law": expected,
            "law_kind": runs.law,
            "closed_form": closed_form(runs.beta, algorithm.update_gap, stay),
        }
        tasks.append((algorithm, shapes, trials, confidence))
    if not any(row["closed_form"] > 0 for row in rows.values()):
        raise ExperimentError(f"{experiment.name}: no set ever changes, so nothing leaks; a cell with one that does is needed")
    measured = pd.concat(run.each(_measured, tasks), ignore_index=True)
    settings = pd.DataFrame(list(rows), columns=["subspace", "density", "update_gap", "beta"])
    return pd.concat([settings, measured, pd.DataFrame(list(rows.values()))], axis=1)


def _measured(algorithm: Algorithm, shapes: Mapping[str, tuple[int, ...]], trials: int, confidence: float) -> pd.DataFrame:
    import pandas as pd

    ratio, lower, upper = _ratio(*leaks(algorithm, shapes, trials), confidence)
    return pd.DataFrame([{"measured": ratio, "lower": lower, "upper": upper}])


def _ratio(leak: Array, on_set: Array, confidence: float) -> tuple[float, float, float]:
    """E leak / E on_set with its interval, from independent trials."""
    ratio = leak.mean() / on_set.mean()
    residual = (leak - ratio * on_set) / on_set.mean()
    deviation = residual.std(ddof=1)
    skewness = np.mean(residual**3) / deviation**3 if deviation > REMAINDER else 0.0
    moments = np.array([ratio]), np.array([deviation]), np.array([skewness])
    lower, upper = mean_interval(*moments, len(leak), confidence)
    return float(ratio), float(lower[0]), float(upper[0])


def draw(table: pd.DataFrame) -> Any:
    """The leak against T for two kinds of sets, and measured over closed form in every cell."""
    figure, (leak, ratio) = panels(
        "The momentum leak is its closed form: small where sets are held for T ≫ β/(1−β) steps, none on a fixed set",
        [
            "leak: share of the gradients on the set that is never applied",
            "measured leak / closed form, cells in order of their leak",
        ],
        "dots: measured with ft.step; lines: closed forms; bars: intervals, at the file's confidence for all cells together.",
        left=56,
        gap=110,
        right=140,
    )
    _against_gap(leak, table[table["closed_form"] > 0])
    _ratios(ratio, table)
    return figure


def _against_gap(axes: Any, table: pd.DataFrame) -> None:
    kinds = [kind for kind in ("blocks in turn", "coordinates") if kind in set(table["subspace"])]
    kinds = kinds or list(table["subspace"].unique()[:1])
    gaps = np.unique(np.round(np.geomspace(1, table["update_gap"].max(), 80)).astype(int))
    low, high = table["closed_form"].min(), 1.0
    axes.set(xscale="log", yscale="log", xlabel="T, steps between two choices of the set")
    ends = []
    for hue, beta in zip(HUES, sorted(table["beta"].unique()), strict=False):
        colour = COLOURS[hue]
        for kind, line, fill in zip(kinds, ("-", "--"), (colour, COLOURS["surface"]), strict=False):
            rows = table[(table["subspace"] == kind) & (table["beta"] == beta)]
            rows = rows[rows["density"] == rows["density"].max()]
            stay = 0.0 if rows["law_kind"].iloc[0] != "redrawn" else rows["density"].iloc[0]
            curve = [closed_form(beta, int(gap), stay) for gap in gaps]
            axes.plot(gaps, curve, line, color=colour, linewidth=1.5)
            axes.plot(
                rows["update_gap"], rows["measured"], "o", color=colour, markerfacecolor=fill, markersize=5.5, clip_on=False
            )
            if kind == kinds[0]:
                ends.append(EndLabel(gaps[-1], curve[-1], f"β = {beta:g}", colour))
    for kind, line in zip(kinds, ("-", "--"), strict=False):
        density = table[table["subspace"] == kind]["density"].max()
        axes.plot([], [], line, color=COLOURS["quiet"], linewidth=1.5, label=f"{kind}, p = {density:.2g}")
    axes.legend(loc="lower left", frameon=False, fontsize=9.5, labelcolor=COLOURS["quiet"])
    log_limits(axes, 1, float(gaps[-1]), low, high)
    end_labels(axes, ends)


def _ratios(axes: Any, table: pd.DataFrame) -> None:
    drawn = table[table["closed_form"] > 0]
    axes.axhline(1, color=COLOURS["ink"], linewidth=1)
    kinds = list(drawn["subspace"].unique())
    for place, kind in enumerate(kinds):
        rows = drawn[drawn["subspace"] == kind].sort_values("closed_form")
        x = place + np.linspace(-0.36, 0.36, len(rows))
        scale = rows["closed_form"]
        colour = COLOURS[HUES[0]]
        axes.vlines(x, rows["lower"] / scale, rows["upper"] / scale, color=colour, linewidth=1.2)
        axes.plot(x, rows["measured"] / scale, "o", color=colour, markersize=3)
    axes.set_xticks(range(len(kinds)), [kind.replace(" ", "\n", 1) for kind in kinds])
    spread = max(0.01, 1.15 * float(np.max(np.abs(drawn[["lower", "upper"]].div(drawn["closed_form"], axis=0) - 1))))
    axes.set(ylim=(1 - spread, 1 + spread), xlim=(-0.5, len(kinds) - 0.5))
    axes.grid(False, axis="x")
    axes.yaxis.set_major_formatter(lambda value, _: number(value, 4))
    none = table[table["closed_form"] == 0]
    if len(none):
        text = f"{', '.join(none['subspace'].unique())}:\nleak ≤ {number(none['measured'].max(), 1)},\nclosed form 0"
        axes.text(1.04, 0.5, text, transform=axes.transAxes, fontsize=9.5, color=COLOURS["quiet"], va="center")


def answer(table: pd.DataFrame) -> Answer:
    """How far measured and closed form are apart, how many intervals miss, and how large the leak is."""
    leaking = table[table["closed_form"] > 0]
    slack = REMAINDER / (1 - leaking["beta"])  # what the last momentum would still have moved
    missed = (leaking["lower"] - slack > leaking["closed_form"]) | (leaking["upper"] + slack < leaking["closed_form"])
    ratio = leaking["measured"] / leaking["closed_form"]
    width = ((leaking["upper"] - leaking["lower"]) / 2 / leaking["closed_form"]).max()
    beta = min(leaking["beta"].unique(), key=lambda found: abs(found - 0.9))
    rows = leaking[(leaking["beta"] == beta) & (leaking["subspace"] == leaking["subspace"].iloc[0])]
    rows = rows[rows["density"] == rows["density"].min()].sort_values("update_gap")
    sizes = ", ".join(
        f"{percent(found)} at T = {gap:g}" for gap, found in zip(rows["update_gap"], rows["measured"], strict=True)
    )
    sentence = (
        f"Measured and closed form agree: their ratio is {number(ratio.min(), 4)} to {number(ratio.max(), 4)} in "
        f"{len(leaking)} cells, each known to ±{percent(width)} or better, and {int(missed.sum())} of the intervals miss; for "
        f"{rows['subspace'].iloc[0]} with p = {rows['density'].iloc[0]:g} and β = {beta:g} a gradient on the set loses {sizes}."
    )
    return Answer(sentence, "no" if missed.any() else "yes")
