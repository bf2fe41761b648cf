"""How often are verdicts wrong, and how often do they say nothing? Laws of noise and of sets that try to fool them.

Every claim is a bound at a known multiple of the exact expectation. "true" (× 1, attained at every step; × 2) must not be
"violated"; "false" (× 0.99, × 0.5, or × 0.5 at a single step and × 2 at all others) must not "hold". A run of 1,024 trials is
judged after 3, 16, 128 and all of them, as if each were the end; one wrong word at any of these counts. Noise of variance 1
is drawn by classes of this module, so that nothing is known of it but what the premises' draws show. On a quadratic only its
variance matters to the expectation of ‖g‖², so the exact engine gives that for every law; for signs the expectation is that of
many trials, and claims keep four standard errors off it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import frugal_theory as ft
from frugal_theory.config import Experiment
from frugal_theory.config.load import dump
from frugal_theory.evidence.exact.expectations import METRICS as EXACT
from frugal_theory.evidence.exact.expectations import expectations
from frugal_theory.evidence.moments import Moments, sampled
from frugal_theory.evidence.monte_carlo.simulation import simulation
from frugal_theory.instance import Instance, instance_of
from frugal_theory.problems.logistic import Logistic
from frugal_theory.problems.noise import Gaussian, Minibatch
from frugal_theory.problems.problem import Noise, Problem
from frugal_theory.problems.quadratic import Quadratic
from frugal_theory.report.words import percent
from frugal_theory.studies.figures import panels
from frugal_theory.studies.study import ALONE, Answer, Run
from frugal_theory.testing import Changed
from frugal_theory.theorems import THEOREMS, Setting, Theorem
from frugal_theory.verdicts.claims import Claims, fourth_moment
from frugal_theory.verdicts.judging import verdict

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = ["LAWS", "QUESTION", "SETS", "answer", "draw", "measure"]

Array = NDArray[np.float64]

QUESTION = "How often are verdicts wrong, and how often do they say nothing?"

WHOLE = True
"""The module makes its own cells."""

REPETITIONS = 50
"""Independent runs of every cell."""

LOOKS = (3, 16, 128, 1024)
"""Numbers of trials at which a run is judged."""

CONFIDENCES = (0.9, 0.99)

BLOCK = 10
"""Repetitions that are done, and kept, together."""

ERRORS = 3.0
"""Standard errors above the level that a share may be."""

Draw = Callable[[np.random.Generator, tuple[int, ...]], Array]


def _jump(rate: float) -> Draw:
    """0, or with this probability ±1/√rate: all coordinates jump by themselves."""
    return lambda rng, shape: (rng.random(shape) < rate) * rng.choice([-1.0, 1.0], shape) / math.sqrt(rate)


def _joint(rate: float) -> Draw:
    """The same, but all coordinates jump together."""
    return lambda rng, shape: (rng.random((*shape[:-1], 1)) < rate) * rng.choice([-1.0, 1.0], shape) / math.sqrt(rate)


def _student(nu: float) -> Draw:
    return lambda rng, shape: rng.standard_t(nu, shape) * math.sqrt((nu - 2) / nu)


def _pareto(a: float) -> Draw:
    """Pareto on [1, ∞), less its mean: skewed, its tail index a."""
    mean, variance = a / (a - 1), a / ((a - 1) ** 2 * (a - 2))
    return lambda rng, shape: (1 + rng.pareto(a, shape) - mean) / math.sqrt(variance)


def _lognormal(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return (rng.lognormal(size=shape) - math.exp(0.5)) / math.sqrt((math.e - 1) * math.e)


LAWS: dict[str, tuple[Draw, float]] = {
    "Gaussian": (lambda rng, shape: rng.standard_normal(shape), 3.0),
    "Laplace": (lambda rng, shape: rng.laplace(scale=math.sqrt(0.5), size=shape), 6.0),
    "Rademacher": (lambda rng, shape: rng.choice([-1.0, 1.0], shape), 1.0),
    "sparse, 1/10": (_jump(0.1), 10.0),
    "jump, 1/100": (_jump(0.01), 100.0),
    "jump, 1/500": (_jump(0.002), 500.0),
    "jump, 1/2000": (_jump(0.0005), 2000.0),
    "jump, 1/5000": (_jump(0.0002), 5000.0),
    "joint jump, 1/2000": (_joint(0.0005), 2000.0),
    "Student t, 2.5": (_student(2.5), math.inf),
    "Student t, 4": (_student(4.0), math.inf),
    "Student t, 6.5": (_student(6.5), 3 + 6 / 2.5),
    "Pareto, 2.1": (_pareto(2.1), math.inf),
    "Pareto, 2.5": (_pareto(2.5), math.inf),
    "lognormal": (_lognormal, math.exp(4) + 2 * math.exp(3) + 3 * math.exp(2) - 3),
}
"""Laws of variance 1, with their kurtosis."""


class Law:
    """Additive noise of variance 1 by a named law; it declares its variance and nothing else."""

    def __init__(self, name: str) -> None:
        self.name = name

    def variance(self, problem: Problem) -> dict[str, Array]:
        """σ_j² = 1."""
        return {name: np.ones(shape) for name, shape in problem.shapes.items()}

    def sample(
        self,
        rng: np.random.Generator,
        problem: Problem,  # noqa: ARG002
        x: Mapping[str, Array],  # noqa: ARG002
        gradient: Mapping[str, Array],
    ) -> dict[str, Array]:
        """The gradient plus one draw a coordinate."""
        return {name: g + LAWS[self.name][0](rng, g.shape) for name, g in gradient.items()}


@dataclass(frozen=True)
class Sets:
    """How sets are drawn: what the experiment's algorithm changes, and the theorem whose metric is measured.

    ``laws``: those that are tried. ``rank_one``: on f(x) = (Σ x_j)²/16 in eight coordinates, where sets matter jointly.
    ``logistic``: on a logistic regression, whose noise is that of its mini-batches.
    """

    changes: Mapping[str, Any]
    theorem: str
    laws: tuple[str, ...] = tuple(LAWS)
    rank_one: bool = False
    logistic: bool = False


LIGHT = ("Gaussian", "Laplace", "Rademacher", "sparse, 1/10")
SOME = (*LIGHT, "jump, 1/500", "joint jump, 1/2000", "Student t, 2.5", "Pareto, 2.1", "lognormal")
SIGNS = {"rule": "signsgd", "lr_scale": 0.5}

SETS: dict[str, Sets] = {
    "fixed": Sets({"set": [0, 1]}, "fixed_set"),
    "everything": Sets({"density": 1.0}, "sgdm", SOME),
    "nothing": Sets({"density": 0.0}, "sgd", SOME),
    "independent, T = 1": Sets({"update_gap": 1, "sampling": "independent"}, "independent_sampling", SOME),
    "independent, T = 5": Sets({"sampling": "independent"}, "run_length_sharp"),
    "joint, T = 5": Sets({"subspace": "randk"}, "run_length_sharp", SOME),
    "joint, whole run": Sets({"subspace": "randk", "update_gap": 24}, "held_sets"),
    "rank one, whole run": Sets(
        {"sampling": "independent", "update_gap": 24, "state_full": {"rule": "sgdm", "beta": 0.99}}, "held_sets", LIGHT, True
    ),
    "regression, T = 5": Sets({}, "run_length_sharp", ("mini-batches",), logistic=True),
    "regression, everything": Sets({"density": 1.0}, "sgdm", ("mini-batches",), logistic=True),
    "signs off a fixed set": Sets({"set": [0, 1], "state_free": SIGNS}, "hybrid_sharp", LIGHT),
    "signs off sets, T = 5": Sets({"state_free": SIGNS}, "hybrid_sharp", LIGHT),
}

THEOREM = "true, a theorem"
"""The theorem's own bound."""

FACTORS: dict[str, tuple[bool, Callable[[Array], Array]]] = {
    "true, attained": (True, lambda exact: exact),
    "true, × 2": (True, lambda exact: 2 * exact),
    "false, × 0.99": (False, lambda exact: 0.99 * exact),
    "false, × 0.5": (False, lambda exact: 0.5 * exact),
    "false at one step": (False, lambda exact: exact * np.where(np.arange(len(exact)) == len(exact) // 2, 0.5, 2.0)),
}
"""Claims: whether they are true, and the bound that each makes of the exact expectation."""


TRUTH = 40_000
"""Trials whose average stands for an expectation that nobody knows."""

SAMPLES = np.random.default_rng(0).standard_normal((60, 4)) + 0.5
"""Features times labels of the logistic regression."""

DIRECTION = np.full((8, 1), 8**-0.5)
"""Of the rank-one quadratic."""


def measure(experiment: Experiment, run: Run = ALONE, repetitions: int = REPETITIONS) -> pd.DataFrame:
    """A row for every law, kind of sets, claim, confidence and number of trials: how many of the runs came to each status."""
    import pandas as pd

    tasks = [
        (experiment, law, sets, first, min(BLOCK, repetitions - first))
        for first in range(0, repetitions, BLOCK)
        for sets, kind in SETS.items()
        for law in kind.laws
    ]
    found = pd.concat(run.each(block, tasks), ignore_index=True)
    by = ["sets", "law", "claim", "is_true", "tightness", "confidence", "trials"]
    return found.groupby(by, sort=False, as_index=False).sum()


def block(experiment: Experiment, law: str, sets: str, first: int, count: int) -> pd.DataFrame:
    """Counts of every status over the repetitions ``first`` … of one cell."""
    import pandas as pd

    theorem, base = THEOREMS[SETS[sets].theorem], instance(experiment, sets, Law(law), 0)
    low, high = expected(experiment, law, sets)
    bounds = {name: make(high if true else low) for name, (true, make) in FACTORS.items()}
    bounds[THEOREM] = theorem.bound(base.setting)
    claims = tuple(Changed(theorem, name, partial(_given, bound), name=name) for name, bound in bounds.items())
    known = fourth_moment(base)
    counts = {
        (claim.name, confidence, trials): dict.fromkeys(("holds", "violated", "inconclusive"), 0)
        for claim in claims
        for confidence in CONFIDENCES
        for trials in LOOKS
    }
    for repetition in range(first, first + count):
        ready = Claims(instance(experiment, sets, Law(law), 1 + repetition), claims, noise=known)
        values, key = averages(ready, claims[0]), ready.key(claims[0])
        for trials in LOOKS:
            measured = sampled("monte_carlo", key, Moments.of(values[:trials]), 0.9)
            evidence = {ready.key(claim): measured for claim in claims}
            for confidence in CONFIDENCES:
                for claim in claims:
                    found = verdict(ready, claim, evidence, 1 - confidence, confidence)
                    counts[claim.name, confidence, trials][found.status] += 1
    return pd.DataFrame(
        {
            "sets": sets,
            "law": law,
            "claim": name,
            "is_true": name == THEOREM or FACTORS[name][0],
            "tightness": float(np.max(high / bounds[name])),
            "confidence": confidence,
            "trials": trials,
            "runs": count,
            **found,
        }
        for (name, confidence, trials), found in counts.items()
    )


def _given(bound: Array, _: Setting) -> Array:
    return bound


def instance(experiment: Experiment, sets: str, noise: Noise, seed: int, **changes: Any) -> Instance:
    """One cell: the experiment's algorithm with these sets, at the step that the experiment asks for, with any noise."""
    kind = SETS[sets]
    altered = experiment.algorithm.model_dump(exclude_unset=True) | dict(kind.changes)
    named = {"name": "cell", "algorithm": altered, "verify": {"theorems": [kind.theorem]}}
    assert experiment.problem is not None
    tables = experiment.model_dump(exclude_unset=True) | named
    model = instance_of(ft.parse(tables))
    algorithm = model.setting.algorithm.model_copy(update={"seed": seed, **changes})
    problem: Problem = model.problem
    steps, rate = experiment.simulation.steps, model.setting.alpha
    if kind.rank_one:
        basis = np.linalg.qr(np.concatenate([DIRECTION, np.eye(8)[:, :7]], axis=1))[0]
        problem = Quadratic(np.array([1.0] + [0.0] * 7), basis, tuple(DIRECTION[:, 0]))
    if kind.logistic:
        problem, noise = Logistic(SAMPLES, 0.01, (1.0,) * 4), Minibatch(4)
        rate /= problem.smoothness  # that of the quadratic is 1
    return Instance.of_parts(
        problem, noise, algorithm, learning_rate=rate, steps=steps, trials=experiment.simulation.trials, seed=seed
    )


def averages(ready: Claims, theorem: Theorem) -> Array:
    """The running averages of the theorem's metric, of every trial at every step, shape (trials, steps)."""
    key = ready.key(theorem)
    work = simulation(ready.instance, (key,), measures=ready.measures)
    found = [work.run(batch)[key].values for batch in work.batches]
    return np.concatenate(found)


def expected(experiment: Experiment, law: str, sets: str) -> tuple[Array, Array]:
    """The expectation of the running averages, from below and from above, shape (steps,) each; equal where it is exact."""
    return _expected(dump(experiment), law, sets)


@cache
def _expected(text: str, law: str, sets: str) -> tuple[Array, Array]:
    experiment, kind = ft.parse(text), SETS[sets]
    if kind.rank_one:
        exact = np.zeros(experiment.simulation.steps)
        for inside in itertools.product([False, True], repeat=8):  # every set has probability 2⁻⁸
            chosen = tuple(int(j) for j in np.flatnonzero(inside))
            one = instance(experiment, sets, Gaussian(1.0), 0, set=chosen)
            exact += expectations(one, ["squared_gradient_norm"])["squared_gradient_norm"].mean / 2**8
        return exact, exact
    theorem = THEOREMS[kind.theorem]
    if theorem.metric in EXACT and not kind.logistic:
        one = instance(experiment, sets, Gaussian(1.0), 0)
        exact = expectations(one, [theorem.metric])[theorem.metric].mean
        return exact, exact
    many = experiment.model_copy(update={"simulation": experiment.simulation.model_copy(update={"trials": TRUTH})})
    values = averages(Claims(instance(many, sets, Law(law), 10**6), (theorem,)), theorem)
    mean, error = values.mean(axis=0), values.std(axis=0, ddof=1) / math.sqrt(TRUTH)
    return mean - 4 * error, mean + 4 * error


def wrong(table: pd.DataFrame) -> pd.DataFrame:
    """The table with the share of wrong verdicts, and by how many standard errors it is above the level."""
    count = np.where(table["is_true"], table["violated"], table["holds"])
    level = 1 - table["confidence"]
    share = count / table["runs"]
    error = np.sqrt(level * (1 - level) / table["runs"])
    return table.assign(wrong=share, above=(share - level) / error)


def power(table: pd.DataFrame) -> pd.DataFrame:
    """The shares of claims at most half attained that hold, and of "false, × 0.5" that are violated, by all trials, at 99 %."""
    import pandas as pd

    best = table[(table["trials"] == max(LOOKS)) & (table["confidence"] == max(CONFIDENCES))]
    half = best["is_true"] & (best["tightness"] <= 0.5 + 1e-6)
    true = best[half].assign(share=lambda t: t["holds"] / t["runs"])
    false = best[best["claim"] == "false, × 0.5"].assign(share=lambda t: t["violated"] / t["runs"])
    return pd.concat([true, false], ignore_index=True)[["sets", "law", "claim", "share"]]


def draw(table: pd.DataFrame) -> dict[str, Figure]:
    """How often verdicts are wrong beside the level, and how often they find what is there to be found."""
    shown = wrong(table)
    shown = shown.assign(of_level=shown["wrong"] / (1 - shown["confidence"]))
    worst = shown.groupby(["law", "claim"], sort=False, as_index=False)["of_level"].max()
    grid = worst.pivot_table(index="law", columns="claim", values="of_level", sort=False)
    title = "No law of noise makes verdicts wrong more often than they may be"
    what = "share of runs with a wrong verdict over the share that is allowed; the largest of all sets, confidences and trials"
    figures = {"false_verdicts": _grid(title, what, grid, ".2g", 1.5, "Blues")}
    found = power(table)
    for claim, name, title in (
        ("true, × 2", "holds", "What is true by a factor of 2 holds"),
        (THEOREM, "theorems", "Theorems that are at most half attained hold"),
        ("false, × 0.5", "violated", "What is false by a factor of 2 is violated"),
    ):
        grid = 100 * found[found["claim"] == claim].pivot_table(index="law", columns="sets", values="share", sort=False)
        figures[name] = _grid(title, "% of runs with 1,024 trials, at 99 %", grid, ".0f", 100, "Greens")
    return figures


def _grid(title: str, what: str, grid: pd.DataFrame, form: str, most: float, colours: str) -> Figure:
    import seaborn as sns

    figure, (axes,) = panels(title, [what], height=430, left=120)
    sns.heatmap(grid, annot=True, fmt=form, vmin=0, vmax=most, cmap=colours, cbar=False, ax=axes, linewidths=1)
    axes.set(xlabel="", ylabel="")
    axes.set_xticklabels([str(name).replace(", ", ",\n") for name in grid.columns], rotation=0, fontsize=7)
    return figure


def answer(table: pd.DataFrame) -> Answer:
    """Yes: never wrong more often than allowed; no and failed if some share is above its level by three standard errors."""
    found, strength = wrong(table), power(table)
    worst = found.loc[found["above"].idxmax()]
    allowed = bool((found["above"] <= ERRORS).all())
    light = strength[strength["law"].isin([*LIGHT, "mini-batches"])]
    least = light.groupby("claim", sort=False)["share"].min()
    sentence = (
        f"Of {int(found['runs'].iloc[0])} runs {percent(worst['wrong'])} came to a wrong verdict where that was worst of "
        f"{len(found):,} places ({worst['law']} noise, {worst['sets']}, {worst['claim']}, {worst['trials']} trials; "
        f"{percent(1 - worst['confidence'])} are allowed). With {max(LOOKS):,} trials and light noise at least "
        f"{percent(least.get(THEOREM, 1.0))} of theorems that are at most half attained hold, at least "
        f"{percent(least['true, × 2'])} of what is true by a factor of 2 do, and at least {percent(least['false, × 0.5'])} of "
        "what is false by a factor of 2 is violated."
    )
    return Answer(sentence, "yes" if allowed else "no", failed=not allowed)
