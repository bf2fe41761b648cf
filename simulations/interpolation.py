"""How does the method interpolate between the rates of SGD and of SGDM? The fastest (α, β) of five kinds of sets, no noise.

- "eigen": the k leading eigen-directions. The measured optimum against the closed form (``theorems.interpolation``).
- "svd once": the k leading left singular vectors of the gradient at the start, kept for ever. x is a matrix (d, d) with a
  normal start, the Hessian acts on each of its columns, so the gradient shows the large eigenvalues.
- "svd anew": the same of the current gradient every T steps, momentum reset. The set depends on x, so there is no
  spectral radius: (α, β) are tuned for the slowest of some runs, and the rate is that of other runs.
- "random once": k uniformly random directions, kept. "random anew": drawn again every T steps, momentum reset; its rate is
  found in the same way.

Rates are shown as 1 − r over heavy ball's, which is momentum everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import frugal_theory as ft
from frugal_theory.algorithm.selection import budget, stream
from frugal_theory.algorithm.subspaces import orthonormal, principal
from frugal_theory.config import Experiment
from frugal_theory.config.load import ExperimentError
from frugal_theory.problems.quadratic import Quadratic
from frugal_theory.report.drawing import COLOURS
from frugal_theory.report.words import number, percent
from frugal_theory.studies.figures import panels
from frugal_theory.studies.study import ALONE, Answer, Run
from frugal_theory.theorems.interpolation import asymptotic_rate, best_rate

from .contraction import fastest, fixed_rate, largest_step, path_rates, projector

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["QUESTION", "answer", "draw", "measure"]

Array = NDArray[np.float64]

QUESTION = "How does the method interpolate between the rates of SGD and SGDM?"

WHOLE = True
"""The sweep is one table: k is known by its share of the directions, not by the density that rounds to it."""

SETS = {
    "eigen": "top eigen-directions, measured",
    "svd once": "svd of the first gradient, kept",
    "svd anew": "svd, anew every {gap} steps",
    "random once": "random, kept",
    "random anew": "random, anew every {gap} steps",
}

DRAWS = 3
"""Sets that are kept for ever, each with its own fastest (α, β)."""

TUNED, HELD_OUT = 4, 8
"""Runs that (α, β) of sets chosen anew are tuned on, for the slowest of them, and others that they are measured on."""

HORIZON = 200
"""Steps of a run of sets chosen anew, in units of heavy ball's 1/(1 − r): what is not stable may show late."""

EVALUATIONS = 40
"""Of (α, β) for sets chosen anew. With svd the rate is a rugged function: what is polished fares no better elsewhere."""


def measure(experiment: Experiment, run: Run = ALONE) -> pd.DataFrame:
    """A row a spectrum, kind of set and k: ``speed`` 1 − r, and ``fraction`` of heavy ball's with ``lower`` and ``upper``.

    The interval is the range over draws (sets that are kept) or over runs that (α, β) were not tuned on. ``largest_step``
    is 2/λ_max((I−Π)A(I−Π)), the median over draws, ``closed_form`` the fraction that ``best_rate`` says. Raises
    ExperimentError unless the sweep has the densities that are compared.
    """
    import pandas as pd

    densities = experiment.sweep.get("algorithm.density", [])
    if 0.0 not in densities or not any(0 < density < 1 for density in densities):
        raise ExperimentError(f"{experiment.name}: sweep: algorithm.density with 0 and one between 0 and 1 is needed")
    return pd.concat(run.each(_cell, [(cell.experiment,) for cell in ft.cells(experiment)]), ignore_index=True)


def _cell(experiment: Experiment) -> pd.DataFrame:
    """The rows of one spectrum and one k."""
    import pandas as pd

    problem = ft.build_problem(experiment)
    assert isinstance(problem, Quadratic)
    eigenvalues = np.sort(problem.eigenvalues)[::-1]
    d, gap = len(eigenvalues), experiment.algorithm.update_gap
    k = budget(experiment.algorithm.density, d)
    heavy_ball = best_rate(eigenvalues, d).speed
    where = {"update_gap": gap, "dimension": d, "k": k, "share": k / d, "heavy_ball": heavy_ball}
    spectrum = {
        "exponent": getattr(experiment.problem, "exponent", np.nan),
        "condition": eigenvalues[0] / eigenvalues[-1],
    }
    rows = []
    for kind, rates, alpha, beta, limit in _sets(eigenvalues, k, gap, experiment.seed):
        fractions = (1 - np.asarray(rates)) / heavy_ball
        closed = best_rate(eigenvalues, k).speed / heavy_ball if kind == "eigen" else np.nan
        found = {"speed": float(1 - np.median(rates)), "fraction": float(np.median(fractions))}
        interval = {"lower": fractions.min(), "upper": fractions.max(), "closed_form": closed}
        step = {"alpha": alpha, "beta": beta, "largest_step": limit}
        rows.append({**spectrum, **where, "set": kind, **found, **interval, **step})
    return pd.DataFrame(rows)


def _sets(eigenvalues: Array, k: int, gap: int, seed: int) -> Iterator[tuple[str, list[float], float, float, float]]:
    """(kind, rates, α, β, largest step) of every kind of set. With k = 0 or d there is one set only."""
    d = len(eigenvalues)
    rate, alpha, beta = fastest(lambda a, b: asymptotic_rate(eigenvalues, k, a, b), eigenvalues, 4 * EVALUATIONS)
    yield "eigen", [rate], alpha, beta, largest_step(eigenvalues, projector(np.eye(d)[:, :k]))
    if not 0 < k < d:
        return
    runs, periods = TUNED + HELD_OUT, max(4, int(HORIZON / best_rate(eigenvalues, d).speed / gap))
    starts = np.random.default_rng(stream(seed, "start")).standard_normal((runs, d, d))
    random = np.random.default_rng(stream(seed, "selection")).standard_normal((periods, runs, d * k))
    random = orthonormal(random, d, k)
    yield "svd once", *_kept(eigenvalues, principal(eigenvalues[:, None] * starts[:DRAWS], "left", k))
    yield "random once", *_kept(eigenvalues, random[0, :DRAWS])

    def runs_of(kind: str, numbers: slice) -> Callable[[float, float], Array]:
        choose = partial(_svd, k) if kind == "svd anew" else partial(_drawn, random[:, numbers])
        return path_rates(eigenvalues, starts[numbers], choose, gap, periods)

    for kind in ("svd anew", "random anew"):
        some, others = runs_of(kind, slice(TUNED)), runs_of(kind, slice(TUNED, None))
        _, alpha, beta = fastest(partial(_slowest, some), eigenvalues, EVALUATIONS, polish=kind != "svd anew")
        yield kind, list(others(alpha, beta)), alpha, beta, np.nan


def _svd(k: int, gradients: Array, _: int) -> Array:
    return projector(principal(gradients, "left", k))


def _drawn(bases: Array, _: Array, period: int) -> Array:
    return projector(bases[period])


def _slowest(rates: Callable[[float, float], Array], alpha: float, beta: float) -> float:
    return float(rates(alpha, beta).max())


def _kept(eigenvalues: Array, bases: Array) -> tuple[list[float], float, float, float]:
    """Each of the sets with the fastest (α, β) of its own; α, β and the largest step are medians."""
    found = np.array([fastest(fixed_rate(eigenvalues, basis), eigenvalues, 4 * EVALUATIONS) for basis in bases])
    limit = np.median([largest_step(eigenvalues, projector(basis)) for basis in bases])
    return list(found[:, 0]), float(np.median(found[:, 1])), float(np.median(found[:, 2])), float(limit)


LOOKS = {
    "eigen": ("hue-1", "o", "none"),
    "svd once": ("hue-4", "s", "-"),
    "svd anew": ("hue-4", "s", "--"),
    "random once": ("hue-2", "D", "-"),
    "random anew": ("hue-2", "D", "--"),
}
"""Colour by role, marker and line of every kind of set; filled markers for sets that are kept."""


def draw(table: pd.DataFrame) -> Any:
    """A panel a spectrum: the fraction of heavy ball's speed against the share of directions with momentum."""
    spectra = [part for _, part in table.groupby("exponent", sort=True)]
    figure, axes = panels(
        "A few directions with momentum bring most of heavy ball's speed, if they are the top ones and stay the same",
        [f"1 − r over heavy ball's, λᵢ = {_power(part)}" for part in spectra],
        "r: ‖x‖ shrinks by this factor a step; α and β are tuned for every set. Bands: range over draws of the set, or runs.",
        height=HEIGHT,
        gap=40,
    )
    for panel, part in zip(axes, spectra, strict=True):
        _panel(panel, part)
    place = {"loc": "lower center", "bbox_to_anchor": (0.5, 18 / HEIGHT), "ncols": 4}
    figure.legend(*axes[0].get_legend_handles_labels(), frameon=False, fontsize=9.5, **place)
    for panel in axes:
        box = panel.get_position()
        panel.set_position((box.x0, box.y0 + LEGEND / HEIGHT, box.width, box.height - LEGEND / HEIGHT))
    return figure


def _power(part: pd.DataFrame) -> str:
    exponent, condition = part["exponent"].iloc[0], part["condition"].iloc[0]
    return f"i^−{exponent:g}, κ = {number(condition, 2)}"


HEIGHT, LEGEND = 390, 40
"""Of the figure and of the legend below its panels, in points."""


def _panel(axes: Any, part: pd.DataFrame) -> None:
    first = part.iloc[0]
    shares = np.arange(first["dimension"] + 1) / first["dimension"]
    eigenvalues = np.arange(1, first["dimension"] + 1) ** -float(first["exponent"])
    closed = [best_rate(eigenvalues, k).speed / first["heavy_ball"] for k in range(len(shares))]
    axes.plot(shares, closed, color=COLOURS["hue-1"], lw=1.6, alpha=0.55, label="top eigen-directions, closed form")
    inner = part[(part["share"] > 0) & (part["share"] < 1)]
    for kind, (colour, marker, line) in LOOKS.items():
        rows = inner[inner["set"] == kind].sort_values("share")
        face = COLOURS["surface"] if kind.endswith("anew") else COLOURS[colour]
        axes.fill_between(rows["share"], rows["lower"], rows["upper"], color=COLOURS[colour], alpha=0.12, lw=0)
        label = SETS[kind].format(gap=first["update_gap"])
        looks = {"marker": marker, "markersize": 4.5, "markerfacecolor": face, "linewidth": 1.4, "linestyle": line}
        axes.plot(rows["share"], rows["fraction"], color=COLOURS[colour], label=label, zorder=3 + (kind == "eigen"), **looks)
    ends = part[(part["share"] == 0) | (part["share"] == 1)]
    axes.plot(ends["share"], ends["fraction"], "o", color=COLOURS["ink"], markersize=6, label="none: SGD; all: heavy ball")
    axes.axhline(1 / np.sqrt(2), color=COLOURS["quiet"], linewidth=1, linestyle=":", label="1/√2, the limit as κ grows")
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.02, 1.05), xlabel="share of directions with momentum, k/d")


def answer(table: pd.DataFrame) -> Answer:
    """What the least share of top eigen-directions on the closed form's plateau brings, and other sets of that size.

    Yes if it is more than SGD has, on every spectrum.
    """
    eigen = table[table["set"] == "eigen"]
    error = float((eigen["fraction"] / eigen["closed_form"] - 1).abs().max())
    some = table[(table["share"] > 0) & (table["share"] < 1)]
    plateau = some.groupby("exponent")["closed_form"].transform("max")
    reached = some[(some["set"] == "eigen") & (some["closed_form"] > 0.99 * plateau)]
    share = float(reached.groupby("exponent")["share"].min().max())
    here = some[some["share"] == share].sort_values("exponent")

    def fractions(kind: str, column: str = "fraction") -> str:
        return _listed(percent(value) for value in here[here["set"] == kind][column])

    none = eigen[eigen["share"] == 0].sort_values("exponent")["fraction"]
    faster = here[here["set"] == "eigen"]["fraction"].to_numpy() > none.to_numpy()
    sentence = (
        f"Momentum on the top {percent(share)} of the eigen-directions brings {fractions('eigen')} of heavy ball's speed "
        f"for the exponents {_listed(f'{exponent:g}' for exponent in here['exponent'].unique())}, where SGD has "
        f"{_listed(percent(value) for value in none)}, and more directions bring no more until all have it (closed form and "
        f"measured optimum agree to {number(error, 1)}); the svd of the first gradient, kept, does as well "
        f"({fractions('svd once')}), chosen anew every {here['update_gap'].iloc[0]} steps only where the condition is mild "
        f"({fractions('svd anew')}; the slowest of {HELD_OUT} runs {fractions('svd anew', 'lower')}), and random directions "
        f"hardly help, kept ({fractions('random once')}) or anew ({fractions('random anew')})."
    )
    return Answer(sentence, "yes" if faster.all() else "no")


def _listed(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
