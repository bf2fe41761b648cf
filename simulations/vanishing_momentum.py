"""Does momentum vanish as β → 1? Progress per step on a constant gradient, exactly, against the weights of the theorems.

Momentum is an average: it moves x by (1−β)g̃ at first and by the rest of g̃ later. A set that never changes applies all of
it, late by β/(1−β) steps. A coordinate that is drawn anew every T steps with probability p loses what is left at the end
of its run, so of a gradient on the set only the share (docs/theory/run-length.md, "The corollaries …") ::

    E W = 1 − (1−p)/(1−pβ^T) · β(1−β^T)/((1−β)T)

is ever applied, and with SGD off the set the effective step is α(1 − p + p E W).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import frugal_theory as ft
from frugal_theory.algorithm.rules import Nothing, Sgdm
from frugal_theory.config import Experiment, Quadratic
from frugal_theory.config.load import ExperimentError
from frugal_theory.report.drawing import COLOURS, HUES, EndLabel, end_labels
from frugal_theory.report.words import number, percent
from frugal_theory.studies.figures import panels
from frugal_theory.studies.study import ALONE, Answer, Run

from .algorithm_2 import check_algorithm_2

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["QUESTION", "answer", "applied_share", "delayed_share", "draw", "measure"]

QUESTION = "Does momentum vanish as β → 1?"

WHOLE = True
"""A set that never changes knows no T, so its cells are one."""

VANISHED = 0.5
"""Of a gradient: where less of it is applied at the largest β than this share of what is at the smallest, momentum vanishes."""

PERIODS = 120
"""Periods of a run whose steady progress is measured. A coordinate has then forgotten its start: 0.75⁶⁰ is 3·10⁻⁸."""


def applied_share(beta: float, gap: int, density: float) -> float:
    """E W on the set, averaged over a period of ``gap`` steps (T), for coordinates drawn with probability ``density`` (p)."""
    if density == 1:
        return 1.0
    return 1 - (1 - density) / (1 - density * beta**gap) * delay(beta, gap) / gap


def delayed_share(beta: float, steps: int) -> float:
    """What a set that never changes has applied after ``steps`` steps, as a share of SGD's: 1 − β(1−β^K)/((1−β)K)."""
    return 1 - delay(beta, steps) / steps


def delay(beta: float, steps: int) -> float:
    """Σ_{r ≤ K} β^r = β(1−β^K)/(1−β): the steps of progress that are still to come after K of them."""
    return float(np.sum(beta ** np.arange(1, steps + 1)))


def measure(experiment: Experiment, run: Run = ALONE) -> pd.DataFrame:
    """A row a cell and quantity; ``measured`` and ``closed_form`` are shares of what SGD progresses.

    ``quantity`` is "on the set" (per step of a coordinate on the set, by momentum alone: the state-free rule is "none"),
    "everywhere" (per step, SGD off the set), both in the long run, or "from the start" (over K = ``steps`` steps, for a
    set that never changes). Raises ExperimentError unless the experiment is a quadratic with all eigenvalues equal and
    αλK small, without noise, on densities below 1 and on density 1.
    """
    import pandas as pd

    _check(experiment)
    tasks: list[tuple[Experiment]] = []
    fixed: set[float] = set()
    for cell in ft.cells(experiment):
        check_algorithm_2(cell.experiment)
        if cell.experiment.algorithm.density == 1:
            beta = _beta(cell.experiment)
            if beta in fixed:
                continue
            fixed.add(beta)
        tasks.append((cell.experiment,))
    return pd.concat(run.each(_cell, tasks), ignore_index=True)


def _beta(experiment: Experiment) -> float:
    assert isinstance(experiment.algorithm.state_full, Sgdm)
    return experiment.algorithm.state_full.beta


def _cell(one: Experiment) -> pd.DataFrame:
    """The rows of one density, T and β."""
    import pandas as pd

    rows: list[dict[str, Any]] = []
    algorithm, beta = one.algorithm, _beta(one)
    gap, density = algorithm.update_gap, algorithm.density
    where = {"density": density, "update_gap": gap, "beta": beta}
    share = applied_share(beta, gap, density)
    if density < 1:
        alone = one.model_copy(update={"algorithm": algorithm.model_copy(update={"state_free": Nothing()})})
        everywhere = 1 - density + density * share
        rows.append({**where, "quantity": "on the set", "measured": _steady(alone) / density, "closed_form": share})
        rows.append({**where, "quantity": "everywhere", "measured": _steady(one), "closed_form": everywhere})
    else:
        progress = _progress(one, one.simulation.steps + 1)
        for steps in _decades(one.simulation.steps):
            from_start = {"measured": progress[steps] / steps, "closed_form": delayed_share(beta, steps)}
            rows.append({**where, "update_gap": math.nan, "steps": steps, "quantity": "from the start", **from_start})
    return pd.DataFrame(rows)


def _check(experiment: Experiment) -> None:
    problem, rate = experiment.problem, experiment.algorithm.learning_rate
    if not isinstance(problem, Quadratic) or len(set(problem.eigenvalues or (1.0, 2.0))) > 1 or problem.start != "ones":
        raise ExperimentError(f'{experiment.name}: problem: a quadratic with equal eigenvalues and start = "ones" is needed')
    if experiment.algorithm.subspace != "coordinates" or experiment.algorithm.set is not None:
        raise ExperimentError(f'{experiment.name}: algorithm: subspace = "coordinates", without a set of its own, is needed')
    if experiment.noise.kind != "none" or not isinstance(rate, float):
        raise ExperimentError(f'{experiment.name}: noise.kind = "none" and a learning_rate that is a number are needed')
    densities = experiment.sweep.get("algorithm.density", [])
    if 1.0 not in densities or not any(0 < density < 1 for density in densities) or experiment.simulation.steps < 10:
        raise ExperimentError(f"{experiment.name}: sweep: density 1, one between 0 and 1, and at least 10 steps are needed")


def _decades(steps: int) -> list[int]:
    return [10**power for power in range(1, math.floor(math.log10(steps)) + 1)]


def _steady(experiment: Experiment) -> float:
    """Progress per step over whole periods, the first half of them left out, as a share of SGD's."""
    gap = experiment.algorithm.update_gap
    progress = _progress(experiment, PERIODS * gap + 1)
    half = PERIODS // 2 * gap
    return float((progress[2 * half] - progress[half]) / half)


def _progress(experiment: Experiment, steps: int) -> NDArray[np.float64]:
    """How far x has come in 0 … steps − 1 steps, in steps of SGD: −log(E‖gᵏ‖²/‖g¹‖²)/(2αλ), since gᵏ⁺¹ = (1 − αλw)gᵏ."""
    simulation = experiment.simulation.model_copy(update={"steps": steps})
    found = ft.exact(experiment.model_copy(update={"simulation": simulation}))
    squares = np.diff(found.mean * found.steps, prepend=0.0)
    assert isinstance(experiment.problem, Quadratic)
    assert experiment.problem.eigenvalues is not None
    assert isinstance(experiment.algorithm.learning_rate, float)
    return -np.log(squares / squares[0]) / (2 * experiment.algorithm.learning_rate * experiment.problem.eigenvalues[0])


def draw(table: pd.DataFrame) -> Any:
    """Three panels against β: the share on the set by T, the progress of a set that never changes, and all of x."""
    few = table["density"].min()
    figure, (on_set, fixed, everywhere) = panels(
        "Momentum on redrawn sets vanishes as β → 1, unless T grows with 1/(1−β); on a fixed set it is late, not lost",
        [
            f"share of the gradient applied, p = {few:g}",
            "fixed set: progress in K steps / SGD's",
            "redrawn sets: progress per step / SGD's, T = 10",
        ],
        "dots: measured, exact expectations; lines: closed forms. T: steps between two draws of the set; p: its density.",
        right=62,
        gap=104,
    )
    leak = np.geomspace(1 - table["beta"].min(), 1 - table["beta"].max(), 60)
    rows = table[(table["quantity"] == "on the set") & (table["density"] == few)]
    _lines(on_set, rows, "update_gap", lambda beta, gap: applied_share(beta, int(gap), few), leak, "T = ")
    rows = table[table["quantity"] == "from the start"]
    _lines(fixed, rows, "steps", lambda beta, steps: delayed_share(beta, int(steps)), leak, "K = ")
    gaps = sorted(set(table["update_gap"].dropna()))
    gap = int(gaps[min(1, len(gaps) - 1)])
    rows = table[(table["quantity"] == "everywhere") & (table["update_gap"] == gap)]
    _lines(everywhere, rows, "density", lambda beta, p: 1 - p + p * applied_share(beta, gap, p), leak, "p = ")
    for density in sorted(set(rows["density"])):
        everywhere.axhline(1 - density, color=COLOURS["quiet"], linewidth=1, linestyle=(0, (2, 2)))
        everywhere.text(0.5, 1 - density, "1 − p", color=COLOURS["quiet"], fontsize=9.5, ha="left", va="bottom")
    return figure


def _lines(axes: Any, rows: pd.DataFrame, by: str, closed: Any, leak: NDArray[np.float64], label: str) -> None:
    """Dots for what was measured, a line for its closed form ``closed(β, value of by)``, named at its end."""
    axes.set(xscale="log", ylim=(0, 1.03), xlim=(leak[0], leak[-1]), xlabel="β")
    betas = sorted(set(rows["beta"]))
    axes.set_xticks([1 - beta for beta in betas], [number(beta, 4) for beta in betas])
    axes.minorticks_off()
    ends = []
    for hue, value in zip(HUES, sorted(set(rows[by])), strict=False):
        dots, colour = rows[rows[by] == value], COLOURS[hue]
        line = [closed(1 - gone, value) for gone in leak]
        axes.plot(leak, line, color=colour, linewidth=1.6)
        axes.plot(1 - dots["beta"], dots["measured"], "o", color=colour, markersize=5, clip_on=False)
        ends.append(EndLabel(leak[-1], line[-1], f"{label}{number(value)}", colour))
    end_labels(axes, ends)


def answer(table: pd.DataFrame) -> Answer:
    """When it vanishes, when not, and how far measured and closed form are apart."""
    on_set = table[table["quantity"] == "on the set"]
    rows = on_set[on_set["density"] == on_set["density"].min()]
    gaps, betas = sorted(set(rows["update_gap"])), sorted(set(rows["beta"]))
    gap = gaps[len(gaps) // 2]
    shares = ", ".join(
        f"{percent(found)} at β = {beta:g}"
        for beta, found in zip(betas[1:], rows[rows["update_gap"] == gap].sort_values("beta")["measured"][1:], strict=True)
    )
    everywhere = table[(table["quantity"] == "everywhere") & (table["beta"] == betas[-1]) & (table["update_gap"] == gaps[0])]
    least = everywhere.loc[everywhere["density"].idxmin()]
    start = table[(table["quantity"] == "from the start") & (table["beta"] == betas[-1])]
    error = float((table["measured"] / table["closed_form"] - 1).abs().max())
    ends = rows[rows["update_gap"] == gap].sort_values("beta")["measured"]
    vanishes = ends.iloc[-1] < VANISHED * ends.iloc[0]
    sentence = (
        f"On sets that are redrawn, yes, once (1−β)T is small: with T = {gap:g} and p = {least['density']:g} the share of a "
        f"gradient on the set that is ever applied is {shares}, and x then moves by the state-free rule alone, at "
        f"{percent(least['measured'])} of SGD's pace; on a set that never changes nothing is lost, but it comes β/(1−β) steps "
        f"late ({percent(start['measured'].iloc[-1])} of SGD's progress in {start['steps'].iloc[-1]:g} steps at β = "
        f"{betas[-1]:g}). All {len(table)} numbers agree with their closed forms to {number(error, 1)}."
    )
    return Answer(sentence, "yes" if vanishes else "no")
