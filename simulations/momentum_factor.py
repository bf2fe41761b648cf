"""Is the factor β/(1−β) of Theorem 5.2 ever needed? The constants that exact expectations imply, part by part.

For coordinates drawn at every step with probability p, Theorem 5.2 says, in O(·)::

    avg E‖gᵏ‖² = O( Δ/(Kα) + Lασ²(1 + p(1−p) β/(1−β)) )

Measured is a sum of what the start leaves and what the noise brings, so each part has a constant of its own: the *transient*,
sup_K of α Σ_{k≤K} E‖gᵏ‖²/Δ without noise, and the *noise floor*, lim_K of avg E‖gᵏ‖²/(Lασ²) from the solution. The run-length
theorem (its corollary independent_sampling) bounds both without the factor, by what is ever applied of a gradient,

    ω_p = 1 − pβ(1−p)/(1−pβ)      least at 1 − p = q/(1+q), q = √(1−β):      1/ω = 1/2 + 1/(2√(1−β))

which is the transient's constant for small steps: it is the one that grows, and Theorem 5.2's shape has 1 there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import differential_evolution

import frugal_theory as ft
from frugal_theory.algorithm.rules import Sgdm
from frugal_theory.config import Experiment, GaussianNoise, NoNoise, Quadratic
from frugal_theory.config.identity import identity
from frugal_theory.evidence.exact.stationary import stationary
from frugal_theory.report.drawing import COLOURS, HUES, EndLabel, end_labels, log_ticks
from frugal_theory.report.words import number
from frugal_theory.studies.figures import panels
from frugal_theory.studies.rates import rates
from frugal_theory.studies.study import ALONE, Answer, Run
from frugal_theory.theorems.theorem import published_step

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["QUESTION", "answer", "applied", "draw", "measure", "worst_density"]

Array = NDArray[np.float64]

QUESTION = "Is the factor β/(1−β) of Theorem 5.2 ever needed?"

WHOLE = True
"""The worst densities, the fits and the search belong to the sweep, not to a cell of it."""

NO_FACTOR = 1.0
"""The constant of Lασ² in Theorem 5.2 without its factor: a noise floor above it would need more."""

SETTLED = 20.0
"""Steps of a run, in units of 1/(αω): e⁻²⁰ of the start is left."""


def applied(density: float, beta: float) -> float:
    """ω_p, the share of a gradient that is ever applied."""
    return 1 - density * beta * (1 - density) / (1 - density * beta)


def worst_density(beta: float) -> float:
    """The p with the least ω_p: 1/(1 + √(1−β))."""
    return float(1 / (1 + np.sqrt(1 - beta)))


def measure(experiment: Experiment, run: Run = ALONE) -> pd.DataFrame:
    """A row a cell, path "fixed" or "worst": the constants of both parts and the run-length theorem's bounds of them.

    ``factor`` is Theorem 5.2's, 1 + p(1−p)β/(1−β); ``implied`` its hidden constant. Rows of path "fit" have exponents of
    ``implied`` in 1/(1−β) from ``studies.rates``: ``exponent``, ``lower`` and ``upper``; the row of path "search" has the
    largest noise floor that SciPy's differential evolution finds over p, β, α up to the published step and λ <= L.
    """
    import pandas as pd

    cells = [cell.experiment for cell in ft.cells(experiment)]
    paths = [("fixed", one) for one in cells]
    for beta in sorted({_beta(one) for one in cells}):
        paths.append(("worst", _with(experiment, density=worst_density(beta), state_full=Sgdm(beta=beta))))
    found = pd.concat(run.each(_constants, paths), ignore_index=True)
    rest = {
        f"fits {identity(experiment)}": lambda: _fits(experiment),
        "search": lambda: pd.DataFrame([{"path": "search", **largest_floor()}]),
    }
    return pd.concat([found, *run.kept(rest)], ignore_index=True)


def _constants(path: str, experiment: Experiment) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame([{"path": path, **constants(experiment)}])


def _fits(experiment: Experiment) -> pd.DataFrame:
    """The exponents of the implied constant, at the experiment's density and along the worst."""
    import pandas as pd

    found: list[dict[str, Any]] = []
    for fit in rates(experiment):
        if fit.name.startswith("theorem_5_2") and "1/ω" not in fit.name:
            density = np.nan if "worst" in fit.name else experiment.algorithm.density
            exponent = {"exponent": fit.estimate, "lower": fit.lower, "upper": fit.upper}
            found.append({"path": "fit", "name": fit.name, "density": density, **exponent})
    return pd.DataFrame(found)


def largest_floor() -> dict[str, float]:
    """The largest E‖g‖²/(Lασ²) in stationarity, from its closed form, and where it is."""

    def setting(z: Array) -> tuple[float, float, float, float]:
        density, leak, fraction, curvature = z
        beta = 1 - 10**leak
        return float(density), beta, fraction * published_step(1.0, beta), curvature

    def negative(z: Array) -> float:
        density, beta, alpha, curvature = setting(z)
        return -float(stationary(alpha, beta, curvature, density, 1.0)) / alpha

    box = [(0.0, 1.0), (-5.0, 0.0), (0.01, 1.0), (0.01, 1.0)]
    found = differential_evolution(negative, box, rng=0, tol=1e-8, maxiter=200)
    density, beta, _, _ = setting(found.x)
    return {"beta": beta, "density": density, "floor": -float(found.fun)}


def constants(experiment: Experiment) -> dict[str, float]:
    """The constants of one experiment with a single coordinate, exactly, and what independent_sampling says of them."""
    algorithm, beta = ft.resolved(experiment).algorithm, _beta(experiment)
    alpha, density = float(algorithm.learning_rate), algorithm.density  # type: ignore[arg-type]
    share = applied(density, beta)
    problem = experiment.problem
    assert isinstance(problem, Quadratic)
    curvature = float(np.max(problem.eigenvalues or [problem.smoothness]))
    steps = int(SETTLED / (alpha * curvature * share))
    simulation = experiment.simulation.model_copy(update={"steps": steps})
    one = experiment.model_copy(update={"simulation": simulation, "algorithm": algorithm})
    silent = one.model_copy(update={"noise": NoNoise()})
    still = one.model_copy(update={"problem": problem.model_copy(update={"start": (0.0,)}), "noise": GaussianNoise(sigma=1.0)})
    theorem = ft.THEOREMS["independent_sampling"]
    k, gap = np.arange(1, steps + 1), ft.setting_of(silent).gap
    transient = float(np.max(ft.exact(silent).mean * k)) * alpha / gap
    squares = np.diff(ft.exact(still).mean * k)
    floor = float(squares[-1]) / (curvature * alpha)
    factor = 1 + density * (1 - density) * beta / (1 - beta)
    return {
        "beta": beta,
        "density": density,
        "applied": share,
        "factor": factor,
        "transient": transient,
        "floor": floor,
        "implied": max(transient, floor / factor),
        "transient_bound": float(np.max(theorem.bound(ft.setting_of(silent)) * k)) * alpha / gap,
        "floor_bound": float(theorem.bound(ft.setting_of(still))[-1]) / (curvature * alpha),
    }


def _beta(experiment: Experiment) -> float:
    assert isinstance(experiment.algorithm.state_full, Sgdm)
    return experiment.algorithm.state_full.beta


def _with(experiment: Experiment, **changes: Any) -> Experiment:
    return experiment.model_copy(update={"algorithm": experiment.algorithm.model_copy(update=changes)})


def draw(table: pd.DataFrame) -> Any:
    """What the noise and what the start need, against 1/(1−β), for some densities and along the worst."""
    figure, (noise, start) = panels(
        "The factor β/(1−β) is never needed for the noise; what grows is the constant of the start, which has no factor",
        ["noise floor E‖g‖² / (Lασ²)", "transient Σ E‖gᵏ‖² / (Δ/α)"],
        "dots: measured, exact expectations at half the published step; dashed: the run-length theorem; dotted: Theorem 5.2's "
        "shape.",
        gap=150,
        right=110,
    )
    cells = table[table["path"].isin(["fixed", "worst"])]
    groups = [(f"p = {density:g}", rows) for density, rows in cells[cells["path"] == "fixed"].groupby("density")]
    groups.append(("worst p", cells[cells["path"] == "worst"]))
    for axes, part in ((noise, "floor"), (start, "transient")):
        ends, x = [], 1 / (1 - cells["beta"])
        for hue, (label, found) in zip([*(COLOURS[hue] for hue in HUES), COLOURS["ink"]], groups, strict=False):
            rows = found.sort_values("beta")
            inverse = 1 / (1 - rows["beta"])
            axes.plot(inverse, rows[part], "o-", color=hue, markersize=4.5, linewidth=1.4)
            axes.plot(inverse, rows[f"{part}_bound"], "--", color=hue, linewidth=1.1)
            if part == "floor":
                axes.plot(inverse, rows["factor"], ":", color=hue, linewidth=1.4)
            ends.append(
                EndLabel(float(inverse.iloc[-1]), float(rows[part if part == "transient" else "factor"].iloc[-1]), label, hue)
            )
        axes.set(xscale="log", yscale="log", xlim=(x.min(), x.max()), xlabel="1/(1−β)")
        if part == "transient":
            axes.axhline(1, color=COLOURS["quiet"], linewidth=1.4, linestyle=":")
        low, high = axes.get_ylim()
        log_ticks(axes.xaxis, float(x.min()), float(x.max()))
        log_ticks(axes.yaxis, low, high)
        end_labels(axes, ends)
    return figure


def answer(table: pd.DataFrame) -> Answer:
    """The largest noise floor beside the largest factor, and how the implied constant grows at fixed p and at the worst."""
    cells, fits = table[table["path"].isin(["fixed", "worst"])], table[table["path"] == "fit"]
    searched = table[table["path"] == "search"].iloc[0]
    fixed, worst = fits[fits["density"].notna()].iloc[0], fits[fits["density"].isna()].iloc[0]
    last = cells[cells["path"] == "worst"].sort_values("beta").iloc[-1]
    bound = float((cells["transient"] / cells["transient_bound"]).max())
    sentence = (
        f"No: the noise floor is at most {number(cells['floor'].max())} Lασ² in {len(cells)} cells where the factor "
        f"1 + p(1−p)β/(1−β) reaches {number(cells['factor'].max())}, and a search over p, β, α and λ finds no more than "
        f"{number(searched['floor'])}, at β = {number(round(float(searched['beta']), 3))}; what grows is the constant of "
        f"the transient, like 1/ω_p: it is bounded at fixed p (exponent {_exponent(fixed)} in 1/(1−β) at p = "
        f"{fixed['density']:g}), but not along the worst p (exponent {_exponent(worst)}, {number(last['implied'])} at β = "
        f"{number(last['beta'])} and p = {number(last['density'])}), and the run-length theorem, which has 1/ω_p there, covers "
        f"every cell, its transient at up to {number(100 * bound, 2)} % of the bound."
    )
    needed = max(float(cells["floor"].max()), float(searched["floor"])) > NO_FACTOR
    return Answer(sentence, "yes" if needed else "no")


def _exponent(fit: pd.Series) -> str:
    error = (fit["upper"] - fit["lower"]) / 2
    return f"{fit['exponent']:.3f} ± {error:.3f}"
