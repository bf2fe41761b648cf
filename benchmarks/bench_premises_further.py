"""How often the tests of what a problem and a noise say of themselves, and those along the run, refuse what is true, and find
what is planted. Rows of the table in docs/premises.md.

``python -m benchmarks premises_further --jobs N``; 1000 repetitions take about half an hour on one core.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.bench_premises import COARSE, DIMENSION, FEWER, SHARE, TRUE, Additive, first, interval
from frugal_theory.algorithm.step import init, step
from frugal_theory.config import Algorithm
from frugal_theory.instance import Instance
from frugal_theory.premises.check import LEVEL, PREMISES, check_premises
from frugal_theory.premises.covariance import directed, paired
from frugal_theory.premises.draws import draw, sizes
from frugal_theory.premises.grounds import Grounds
from frugal_theory.premises.shape import asymmetric
from frugal_theory.problems import Gaussian, Quadratic
from frugal_theory.studies.study import Answer, Run

ALGORITHM = Algorithm.model_validate(
    {
        "density": 0.5,
        "update_gap": 10,
        "subspace": "coordinates",
        "state_full": {"rule": "sgdm", "beta": 0.9},
        "state_free": "sgd",
    }
)
HALF = ALGORITHM.model_copy(update={"set": tuple(range(DIMENSION // 2))})
ALPHA, STEPS, TRIALS = 0.05, 400, 128
"""The run that is walked."""

LOW, HIGH = 2.9, 4.1
"""A region that the run crosses: ‖x¹‖ = √20 = 4.5, the optimum is at 0, and steps of 1/(2L) are soon through."""

QUIET = 0.1
"""σ_j on the way, small against ‖x‖."""

SYMMETRIC = ("Gaussian", "Laplace", "Student t, ν = 5", "Student t, ν = 3", "Student t, ν = 2.1", "multivariate t, ν = 5")
UNCORRELATED = [name for name, noise in TRUE.items() if isinstance(noise, Additive)]


class Flagged(Additive):
    """Additive noise that says of itself what the keywords say."""

    def __init__(self, law: Any, declared: Any = 1.0, **said: Any) -> None:
        super().__init__(law, declared)
        for name, value in said.items():
            setattr(self, name, value)


def equally(rng: Any, shape: Any, correlation: float) -> Any:
    """All pairs of coordinates correlated alike."""
    common = rng.standard_normal((*shape[:-1], 1))
    return np.sqrt(1 - correlation) * rng.standard_normal(shape) + np.sqrt(correlation) * common


def one_pair(rng: Any, shape: Any, correlation: float) -> Any:
    drawn = rng.standard_normal(shape)
    drawn[..., 0] = correlation * drawn[..., 1] + np.sqrt(1 - correlation**2) * drawn[..., 0]
    return drawn


def leaning(rng: Any, shape: Any, by: float) -> Any:
    """Gaussian, but for the first coordinate, which is positive with probability ½ + ``by``."""
    drawn = rng.standard_normal(shape)
    drawn[..., 0] = np.abs(drawn[..., 0]) * np.where(rng.random(shape[:-1]) < 0.5 + by, 1, -1)
    return drawn


def mixed(rng: Any, shape: Any, apart: float) -> Any:
    """Two Gaussians, this many of their deviations apart on either side of 0, of variance 1 together."""
    return (apart * rng.choice([-1.0, 1.0], shape) + rng.standard_normal(shape)) / np.sqrt(1 + apart**2)


def said(coordinates: int = FEWER) -> dict[str, tuple[str, Any]]:
    """What noise says of itself and is not so: the premise and the noise."""
    steps, trials = sizes(DIMENSION, coordinates)
    noise, zeros = np.random.default_rng(0).standard_normal((steps * trials, DIMENSION)), np.zeros(DIMENSION)
    pair = paired(noise, zeros, SHARE / 12).detectable
    lean = asymmetric(noise, zeros, SHARE / 6).detectable
    spread = directed(noise, zeros, SHARE / 12).detectable
    equal = 2 * (spread - 1) / (DIMENSION - 1)  # the direction must be found, too
    symmetric = {"symmetric_unimodal": True}
    return {
        f"a correlation of {pair:.3f} of one pair": (
            "uncorrelated",
            Flagged(partial(one_pair, correlation=pair), uncorrelated=True),
        ),
        f"a correlation of {equal:.3f} of all pairs": (
            "uncorrelated",
            Flagged(partial(equally, correlation=equal), uncorrelated=True),
        ),
        f"one sign {lean:.3f} too often": ("symmetric_unimodal", Flagged(partial(leaning, by=lean), **symmetric)),
        "±σ": ("symmetric_unimodal", Flagged(lambda rng, s: rng.choice([-1.0, 1.0], s), **symmetric)),
        "two Gaussians, 4 of their deviations apart": ("symmetric_unimodal", Flagged(partial(mixed, apart=2.0), **symmetric)),
        "two Gaussians, 3 of their deviations apart": ("symmetric_unimodal", Flagged(partial(mixed, apart=1.5), **symmetric)),
        "exponential": ("symmetric_unimodal", Flagged(lambda rng, s: rng.exponential(size=s) - 1, **symmetric)),
        "Student t, ν = 4, declared ν = 8": ("P4", Flagged(lambda rng, s: rng.standard_t(4, s), 2.0, degrees_of_freedom=8.0)),
        "Student t, ν = 4, declared ν = 6": ("P4", Flagged(lambda rng, s: rng.standard_t(4, s), 2.0, degrees_of_freedom=6.0)),
    }


def crossing(x: Any) -> Any:
    """1 in the region, 0 elsewhere; shape (..., 1)."""
    distance = np.linalg.norm(x, axis=-1, keepdims=True)
    return ((distance > LOW) & (distance < HIGH)).astype(float)


class OnTheWay(Gaussian):
    """Gaussian noise to which ``extra(rng, shape)`` is added in the region."""

    def __init__(self, extra: Callable[[Any, Any], Any], sigma: float = QUIET) -> None:
        super().__init__(sigma)
        self.extra = extra

    def sample(self, rng: Any, problem: Any, x: Any, gradient: Any) -> Any:
        drawn = super().sample(rng, problem, x, gradient)["x"]
        return {"x": drawn + crossing(x["x"]) * self.extra(rng, drawn.shape)}


class Bumpy(Quadratic):
    """½‖x‖² and a bump of radius 0.1 about the point where the run without noise is after 12 steps, its curvature ``depth``
    less there; L = 1 is declared. Momentum on half of the coordinates bends the run away from where descent goes."""

    def __init__(self, depth: float) -> None:
        super().__init__(np.ones(DIMENSION), start="ones")
        self.depth, self.centre = depth, _after(12)

    def gradient(self, x: Any) -> Any:
        away = x["x"] - self.centre
        near = np.exp(-np.sum(away**2, axis=-1, keepdims=True) / (2 * 0.1**2))
        return {"x": super().gradient(x)["x"] - self.depth * near * away}


def _after(steps: int) -> Any:
    """Where SGDM on the first half of the coordinates, SGD on the others, is after so many steps from (1 … 1)."""
    x, state = {"x": np.ones(DIMENSION)}, init()
    for _ in range(steps):
        x, state = step(HALF, x, x, state, ALPHA)
    return x["x"]


ROUND = Quadratic(np.ones(DIMENSION), start="ones")
ALONG: dict[str, tuple[str, Any, Any]] = {
    "a bias of σ of one coordinate in a region": ("P3", ROUND, OnTheWay(lambda rng, s: first(QUIET))),  # noqa: ARG005
    "a bias of σ/2 of one coordinate in a region": ("P3", ROUND, OnTheWay(lambda rng, s: first(QUIET / 2))),  # noqa: ARG005
    "one variance 4 times too large in a region": (
        "P4",
        ROUND,
        OnTheWay(lambda rng, s: first(np.sqrt(3) * QUIET) * rng.standard_normal(s)),
    ),
    "L exceeded 5 times at a bump on the way": ("P1", Bumpy(6.0), OnTheWay(lambda rng, s: 0.0)),  # noqa: ARG005
    "L exceeded 2 times at a bump on the way": ("P1", Bumpy(3.0), OnTheWay(lambda rng, s: 0.0)),  # noqa: ARG005
}
"""What is wrong only along the run."""


def along(name: str, repetitions: int, *, path: bool) -> int:
    """How often that is refused as one of its own premise, with the path or by the fixed points alone."""
    premise, problem, noise = ALONG[name]
    count = 0
    for seed in range(repetitions):
        alpha = ALPHA if path else None
        made = Instance.of_parts(problem, noise, HALF, learning_rate=alpha, steps=STEPS, trials=TRIALS, seed=seed)
        count += any(found.name == premise and not found.held for found in check_premises(made))
    return count


def true_along(name: str, repetitions: int, level: float) -> int:
    """How often any premise of true noise is refused at this level, with the path."""
    noise = TRUE[name]
    count = 0
    for seed in range(repetitions):
        made = Instance.of_parts(ROUND, noise, ALGORITHM, learning_rate=ALPHA, steps=STEPS, trials=TRIALS, seed=seed)
        count += any(not found.held for found in check_premises(made, level=level))
    return count


def of_itself(premise: str, noise: Any, repetitions: int, level: float, coordinates: int = FEWER) -> int:
    """How often the premise is refused from draws at fixed points; ``level`` is that of all premises together."""
    count = 0
    for seed in range(repetitions):
        made = Instance.of_parts(ROUND, noise, ALGORITHM, seed=seed)
        count += not Grounds(made, level, PREMISES, draw(made, coordinates)).premise(premise).held
    return count


def true_of_itself(premise: str, name: str, repetitions: int, level: float, coordinates: int = FEWER) -> int:
    """How often true noise is refused: each test at its own share of ``level``."""
    law, declared = TRUE[name].law, TRUE[name].declared
    return of_itself(premise, Flagged(law, declared, **{premise: True}), repetitions, level, coordinates)


PROBLEMS: dict[str, Callable[[int], Quadratic]] = {
    "coordinate_smoothness": lambda seed: Quadratic(np.arange(1.0, 41) ** -1, _rotation(seed, 40)),
    "PL": lambda seed: Quadratic(np.arange(1.0, 41) ** -1, _rotation(seed, 40)),
}


def of_problem(premise: str, factor: float, repetitions: int) -> int:
    """How often L_j or μ is refused that is declared ``factor`` times what it is, on rotated quadratics of 40 coordinates."""
    count = 0
    for seed in range(repetitions):
        problem = PROBLEMS[premise](seed)
        made = Instance.of_parts(problem, Gaussian(1.0), ALGORITHM, seed=seed)
        if premise == "PL":
            setting = made.setting.having(strong_convexity=factor * float(problem.eigenvalues.min()))
        else:
            setting = made.setting.having(coordinate_smoothness={"x": factor * least_diagonal(problem)})
        made = Instance(made.cell, setting, made.start, made.bases)
        count += not Grounds(made, LEVEL, PREMISES).premise(premise).held
    return count


def least_diagonal(problem: Quadratic) -> Any:
    """The declared L_j, shrunk until A ⪯ diag(L_j) just holds."""
    declared = problem.coordinate_smoothness()["x"]
    scaled = problem.hessian() / np.sqrt(np.outer(declared, declared))
    return declared * float(np.linalg.eigvalsh(scaled)[-1])


def _rotation(seed: int, size: int) -> Any:
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((size, size)))[0]


@dataclass(frozen=True)
class FurtherPremises:
    """A row a noise or a problem: the ``share`` of repetitions that was refused, with its 95 % interval."""

    repetitions: int = 1000

    name = "premises_further"
    question = (
        "Do the tests along the run, and of what noise says of itself, refuse what is true no more often than their level?"
    )
    by_cell = False

    def measure(self, _: None, run: Run) -> pd.DataFrame:
        """What is true, then what is planted."""
        n = self.repetitions
        tasks: list[tuple[Any, ...]] = [("true", f"uncorrelated: {name}", n) for name in UNCORRELATED]
        tasks += [("true", f"symmetric_unimodal: {name}", n) for name in SYMMETRIC]
        tasks += [("true along", name, n // 4) for name in UNCORRELATED]
        tasks += [("planted", name, n) for name in said()]
        tasks += [("problem", name, n) for name in PROBLEMS]
        tasks += [("along", name, n // 4) for name in ALONG]
        return pd.concat(run.each(refused, tasks), ignore_index=True)

    def draw(self, _: pd.DataFrame) -> dict[str, Any]:
        """The table is read, not looked at."""
        return {}

    def answer(self, table: pd.DataFrame) -> Answer:
        """Yes while no interval of what is true lies above its level."""
        true = table[table["part"].str.startswith("true")]
        above = true[true["lower"] > true["setting"]]
        sentence = f"{len(above)} of {len(true)} kinds of true noise are refused more often than their level."
        return Answer(sentence, "no" if len(above) else "yes")


def refused(part: str, name: str, repetitions: int) -> pd.DataFrame:
    """A row a setting: the level, the factor that L_j or μ is wrong by, or whether the path was walked."""
    if part == "true":
        premise, noise = name.split(": ", 1)
        counts: dict[Any, int] = {COARSE: true_of_itself(premise, noise, repetitions, 5 * COARSE)}
        counts[LEVEL] = true_of_itself(premise, noise, repetitions, LEVEL)
    elif part == "true along":
        counts = {COARSE: true_along(name, repetitions, COARSE)}
    elif part == "planted":
        counts = {LEVEL: of_itself(*said()[name], repetitions, LEVEL)}
    elif part == "problem":
        factors = (1.0, 0.99, 0.9, 0.5) if name == "coordinate_smoothness" else (1.0, 1.01, 1.1, 2.0)
        counts = {factor: of_problem(name, factor, repetitions) for factor in factors}
    else:
        counts = {"with the path": along(name, repetitions, path=True), "without": along(name, repetitions, path=False)}
    rows = [{"setting": setting, **interval(count, repetitions)} for setting, count in counts.items()]
    return pd.DataFrame([{"part": part, "what": name, "repetitions": repetitions, **row} for row in rows])


STUDY = FurtherPremises()
