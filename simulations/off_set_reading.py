"""Does momentum off the set matter? Reset, decay and hold on one noisy quadratic, by exact expectations.

What the readings differ in is how much of a gradient that entered the momentum is ever applied. With p the density, T the
steps between two draws and λ_T = β(1−β^T)/((1−β)T), the effective step is α times ::

    reset   1 − p (1−p)/(1−pβ^T) λ_T      (docs/theory/run-length.md, "The corollaries …")
    decay   1 − p (1−p) λ_T               (what is left at the end of a period goes on with probability p a step)
    hold    1                             (it comes back, late)

so a reading is also compared with "reset" at *equal pace*: with a learning rate at which both have the same effective step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import frugal_theory as ft
from frugal_theory import config
from frugal_theory.algorithm.rules import Sgdm
from frugal_theory.config import Experiment, GaussianNoise, NoNoise
from frugal_theory.config.load import ExperimentError
from frugal_theory.instance import setting_of
from frugal_theory.problems import Quadratic
from frugal_theory.report.drawing import COLOURS, HUES, EndLabel, end_labels, log_ticks
from frugal_theory.report.words import number, percent
from frugal_theory.studies.figures import panels
from frugal_theory.studies.study import ALONE, Answer, Run
from frugal_theory.theorems import THEOREMS

from .algorithm_2 import check_algorithm_2
from .vanishing_momentum import applied_share, delay

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["QUESTION", "answer", "draw", "effective_step", "measure", "share_of_bound"]

Array = NDArray[np.float64]

QUESTION = "Does momentum off the set matter (reset, decay, hold)?"

WHOLE = True
"""Whether there is a cell to answer from is seen in the whole sweep."""

MATTERS = 0.01
"""A relative change of transient or noise floor that counts."""

THEOREM = "run_length"

SETTLED = 25.0
"""Relaxation times of the slowest coordinate after which the noise floor is read off: e⁻²⁵ is left of the transient."""


def effective_step(reading: str, beta: float, gap: int, density: float) -> float:
    """How far a constant gradient moves a coordinate per step in the long run, as a share of α."""
    if reading == "hold":
        return 1.0
    if reading == "decay":
        return 1 - density * (1 - density) * delay(beta, gap) / gap
    return 1 - density + density * applied_share(beta, gap, density)


def measure(experiment: Experiment, run: Run = ALONE) -> pd.DataFrame:
    """A row a cell; everything is an exact expectation.

    ``transient`` is avg E‖gᵏ‖² over the experiment's steps without noise, ``floor`` E‖g‖² in stationarity, averaged over a
    period; ``transient_change`` and ``floor_change`` are relative to "reset" in the same cell, ``floor_at_equal_pace`` is
    too, with the learning rate lowered to the effective step of "reset". ``bound_share`` is :func:`share_of_bound`.
    Raises ExperimentError for what is not SGDM on coordinates of 0 < density < 1 of a quadratic with Gaussian noise, and for
    a sweep without "hold" at a step that the run-length theorem admits.
    """
    import pandas as pd

    points = ft.cells(experiment)
    for cell in points:
        _check(cell.experiment)
    cells = [(str(cell.settings.get("case", "")), cell.experiment) for cell in points]
    table = pd.concat(run.each(_cell, cells), ignore_index=True)
    if not (table["bound_share"].notna() & (table["reading"] == "hold")).any():
        raise ExperimentError(f'{experiment.name}: a cell of off_set_momentum = "hold" is needed, with a step that is admitted')
    return table


def _cell(case: str, one: Experiment) -> pd.DataFrame:
    """One row: both readings, transient and floor."""
    import pandas as pd

    algorithm = one.algorithm
    assert isinstance(algorithm.state_full, Sgdm)
    assert isinstance(algorithm.learning_rate, float)
    beta, gap, density = algorithm.state_full.beta, algorithm.update_gap, algorithm.density
    reading = algorithm.off_set_momentum
    reset, pace = _with(one, off_set_momentum="reset"), effective_step(reading, beta, gap, density)
    equal = _with(one, learning_rate=algorithm.learning_rate * effective_step("reset", beta, gap, density) / pace)
    transient, floor = _transient(one), _floor(one)
    floor_of_reset = floor if reading == "reset" else _floor(reset)
    row = {
        "case": case,
        "beta": beta,
        "learning_rate": algorithm.learning_rate,
        "update_gap": gap,
        "density": density,
        "reading": reading,
        "effective_step": pace,
        "transient": transient,
        "floor": floor,
        "transient_change": transient / _transient(reset) - 1,
        "floor_change": floor / floor_of_reset - 1,
        "floor_at_equal_pace": _floor(equal) / floor_of_reset - 1,
        "bound_share": share_of_bound(one),
    }
    return pd.DataFrame([row])


def _check(experiment: Experiment) -> None:
    algorithm, problem, noise = experiment.algorithm, experiment.problem, experiment.noise
    check_algorithm_2(experiment)
    drawn = algorithm.subspace == "coordinates" and algorithm.set is None and 0 < algorithm.density < 1
    if not (drawn and isinstance(algorithm.learning_rate, float)):
        raise ExperimentError(
            f"{experiment.name}: algorithm: coordinates, a density between 0 and 1 and a number as learning_rate are needed"
        )
    if not (isinstance(problem, config.Quadratic) and not problem.rotated and isinstance(noise, GaussianNoise)):
        raise ExperimentError(f"{experiment.name}: a quadratic that is not rotated and Gaussian noise are needed")


def _with(experiment: Experiment, **keys: Any) -> Experiment:
    return experiment.model_copy(update={"algorithm": experiment.algorithm.model_copy(update=keys)})


def _eigenvalues(experiment: Experiment) -> Array:
    problem = ft.build_problem(experiment)
    assert isinstance(problem, Quadratic)
    return problem.eigenvalues


def _transient(experiment: Experiment) -> float:
    return float(ft.exact(experiment.model_copy(update={"noise": NoNoise()})).mean[-1])


def _floor(experiment: Experiment) -> float:
    """E‖g‖² in stationarity, averaged over a period."""
    algorithm = experiment.algorithm
    assert isinstance(algorithm.state_full, Sgdm)
    assert isinstance(algorithm.learning_rate, float)
    assert experiment.problem is not None
    gap, least = algorithm.update_gap, _eigenvalues(experiment).min()
    pace = effective_step(algorithm.off_set_momentum, algorithm.state_full.beta, gap, algorithm.density)
    periods = int(SETTLED / (algorithm.learning_rate * pace * least * gap)) + 2
    problem = experiment.problem.model_copy(update={"start": (0.0,) * _eigenvalues(experiment).size})
    simulation = experiment.simulation.model_copy(update={"steps": periods * gap})
    found = ft.exact(experiment.model_copy(update={"problem": problem, "simulation": simulation}))
    total = found.mean * found.steps
    return float((total[-1] - total[-1 - gap]) / gap)


def share_of_bound(experiment: Experiment) -> float:
    """The largest measured / bound of the run-length theorem, over horizons, starts and splits of the noise on the spectrum.

    The theorem speaks of "reset"; other readings are held against its bound for "reset" with the same W. Measured and bound
    are both linear in the x_j² of the start and in the σ_j², so that the largest ratio is that of one coordinate alone, with
    a start and no noise or with noise and no start. nan if the theorem does not admit the step.
    """
    theorem = THEOREMS[THEOREM]
    setting = setting_of(_with(experiment, off_set_momentum="reset"))
    if setting.alpha >= theorem.largest_step(setting)[0]:
        return np.nan
    largest = 0.0
    for eigenvalue in np.unique(_eigenvalues(experiment)):
        for start, sigma in ((1.0, 0.0), (0.0, 1.0)):
            problem = config.Quadratic(eigenvalues=(float(eigenvalue),), start=(start,))
            alone = experiment.model_copy(update={"problem": problem, "noise": GaussianNoise(sigma=sigma)})
            measured = ft.exact(alone, metric=theorem.metric).mean
            bound = theorem.bound(setting_of(_with(alone, off_set_momentum="reset")).having(smoothness=setting.smoothness))
            largest = max(largest, float(np.max(measured / bound)))
    return largest


def draw(table: pd.DataFrame) -> Any:
    """Against T, at the largest density: transient, noise floor, and noise floor at equal pace, relative to "reset"."""
    density = table["density"].max()
    figure, axes = panels(
        "Momentum off the set matters only while T is not far above 1/(1−β): hold is faster, at a slightly higher noise floor",
        [
            "transient (no noise), relative to reset",
            "noise floor, relative to reset",
            "noise floor at equal pace, relative to reset",
        ],
        f"Exact expectations of E‖g‖² at density {density:g}, at the largest step of Liu et al. for each β. Equal pace: the "
        "learning rate lowered to the effective step of reset.",
        left=60,
        gap=104,
        right=66,
    )
    rows = table[(table["density"] == density) & table["bound_share"].notna()]
    columns = ("transient_change", "floor_change", "floor_at_equal_pace")
    changes = rows[list(columns)].to_numpy()
    low, high = 100 * min(0.0, changes.min()) - 3, 100 * max(0.0, changes.max()) + 3
    for place, column in zip(axes, columns, strict=True):
        _changes(place, rows, column)
        place.set(ylim=(low, high))
    for place, column in zip(axes, columns, strict=True):
        end_labels(place, _ends(rows, column))
    for reading, line, fill in (("hold", "-", COLOURS["quiet"]), ("decay", "--", COLOURS["surface"])):
        axes[1].plot([], [], line, marker="o", color=COLOURS["quiet"], markerfacecolor=fill, linewidth=1.5, label=reading)
    axes[1].legend(loc="lower right", frameon=False, fontsize=10, labelcolor=COLOURS["quiet"])
    return figure


def _changes(axes: Any, rows: pd.DataFrame, column: str) -> None:
    gaps = sorted(rows["update_gap"].unique())
    axes.set(xscale="log", xlabel="T, steps between two draws", xlim=(gaps[0], max(gaps[-1], 1.01 * gaps[0])))
    log_ticks(axes.xaxis, gaps[0], max(gaps[-1], 1.01 * gaps[0]))
    axes.axhline(0, color=COLOURS["ink"], linewidth=1)
    axes.yaxis.set_major_formatter(lambda value, _: f"{number(value)} %" if value <= 0 else f"+{number(value)} %")
    for hue, case in zip(HUES, rows["case"].unique(), strict=False):
        for reading, line, fill in (("hold", "-", COLOURS[hue]), ("decay", "--", COLOURS["surface"])):
            found = rows[(rows["case"] == case) & (rows["reading"] == reading)].sort_values("update_gap")
            looks = {"color": COLOURS[hue], "markerfacecolor": fill, "linewidth": 1.5, "markersize": 5.5}
            axes.plot(found["update_gap"], 100 * found[column], line, marker="o", clip_on=False, zorder=3, **looks)


def _ends(rows: pd.DataFrame, column: str) -> list[EndLabel]:
    held = rows[(rows["reading"] == "hold") & (rows["update_gap"] == rows["update_gap"].max())]
    hues = zip(HUES, held["case"], held[column], strict=False)
    return [EndLabel(float(held["update_gap"].max()), 100 * value, case, COLOURS[hue]) for hue, case, value in hues]


def answer(table: pd.DataFrame) -> Answer:
    """Where the readings differ and by how much, where they do not, and whether the bound still covers."""
    admitted = table["bound_share"].notna()
    held, large = (table[(table["reading"] == "hold") & which] for which in (admitted, ~admitted))
    others = table[(table["reading"] != "reset") & admitted]
    most = held.loc[held["transient_change"].idxmin()]
    longest, usual = held["update_gap"].max(), min(held["beta"].unique(), key=lambda beta: abs(beta - 0.9))
    long = held[(held["update_gap"] == longest) & (held["beta"] == usual)]
    beyond = f" ({_range(large['transient_change'])} at a large step that the theorem does not admit)" if len(large) else ""
    changes = held[["transient_change", "floor_change"]].abs().to_numpy()
    sentence = (
        f"Only while T is not far above 1/(1−β). Kept momentum is applied later, so hold lowers the transient by up to "
        f"{percent(-most['transient_change'])}{beyond} and changes the noise floor by {_range(held['floor_change'])}; at "
        f"T = {longest:g} and β = {usual:g} these are {percent(long['transient_change'].abs().max())} and "
        f"{percent(long['floor_change'].abs().max())}. At equal pace hold's noise floor is up to "
        f"{percent(-held['floor_at_equal_pace'].min())} lower. No theorem covers decay or hold; no start and no noise on this "
        f"spectrum took them above {percent(others['bound_share'].max())} of the run-length bound for reset."
    )
    return Answer(sentence, "yes" if changes.max() > MATTERS else "no")


def _range(changes: pd.Series[float]) -> str:
    return f"{_signed(changes.min())} to {_signed(changes.max())}"


def _signed(change: float) -> str:
    return f"{'+' if change > 0 else '−'}{percent(abs(change))}"
