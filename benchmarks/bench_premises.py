"""How often the tests of the premises refuse what is true, and find what is planted. The table of docs/premises.md.

``python -m benchmarks premises --jobs N``; 1000 repetitions take about half an hour on one core.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from frugal_theory.config.load import parse
from frugal_theory.instance import Instance, instance_of
from frugal_theory.premises.check import LEVEL, PREMISES, check_noise_premises
from frugal_theory.premises.draws import DRAWN_COORDINATES, draw, sizes
from frugal_theory.premises.grounds import STATISTICAL, Grounds
from frugal_theory.premises.moments import dependence, excess_variance, nonzero_mean
from frugal_theory.studies.study import Answer, Run

COARSE = 0.05
"""A level at which false alarms of 1000 repetitions can be counted."""

SHARE = LEVEL / len(STATISTICAL)
"""The level of one premise."""

DIMENSION = 20

FEWER = 2**16
"""Coordinates drawn a repetition: a quarter of what the premises draw. Levels are harder to keep then, and sizes of
violations scale; lines about tails (``WHOLE``) have the full number."""

EXPERIMENT = """
name = "study"
seed = {seed}
[algorithm]
learning_rate = 0.01
density = 0.5
update_gap = 10
subspace = "coordinates"
state_full = "sgdm"
state_free = "sgd"
[problem]
{problem}
[noise]
{noise}
"""

QUADRATIC = f'kind = "quadratic"\ndimension = {DIMENSION}'
NONE = 'kind = "none"'


@dataclass
class Additive:
    """g + ``law(rng, shape)``, with the declared variance of every coordinate (a number or d numbers)."""

    law: Callable[[np.random.Generator, tuple[int, ...]], Any]
    declared: Any = 1.0

    def variance(self, problem: Any) -> Any:
        return {name: np.broadcast_to(np.asarray(self.declared, dtype=float), s) for name, s in problem.shapes.items()}

    def sample(self, rng: Any, problem: Any, x: Any, gradient: Any) -> Any:  # noqa: ARG002
        return {name: g + self.law(rng, g.shape) for name, g in gradient.items()}


class Remembering:
    """Standard normal noise with a memory: ``law(fresh, last, step)`` is the noise of a step, given that of the last."""

    def __init__(self, law: Callable[[Any, Any, int], Any]) -> None:
        self.law, self.last, self.step = law, None, 0

    def variance(self, problem: Any) -> Any:
        return {name: np.ones(s) for name, s in problem.shapes.items()}

    def sample(self, rng: Any, problem: Any, x: Any, gradient: Any) -> Any:  # noqa: ARG002
        ((name, g),) = gradient.items()
        fresh = rng.standard_normal(g.shape)
        known = self.last is not None and self.last.shape == g.shape
        self.last = self.law(fresh, self.last if known else fresh, self.step)
        self.step += 1
        return {name: g + self.last}


def first(size: float) -> Any:
    """``size`` in the first coordinate, 0 elsewhere."""
    return np.where(np.arange(DIMENSION) == 0, size, 0.0)


def contaminated(rng: Any, shape: Any) -> Any:
    return rng.standard_normal(shape) * np.where(rng.random(shape) < 0.02, 10.0, 1.0) / np.sqrt(0.98 + 0.02 * 100)


def common_scale(rng: Any, shape: Any) -> Any:
    """Multivariate t with 5 degrees of freedom: coordinates of one draw are large together."""
    return rng.standard_normal(shape) / np.sqrt(rng.chisquare(5, (*shape[:-1], 1)) / 3)


def sparse(rng: Any, shape: Any) -> Any:
    return ((rng.random(shape) < 0.002) - 0.002) / np.sqrt(0.002 * 0.998)


TRUE: dict[str, Any] = {
    "Gaussian": Additive(lambda rng, shape: rng.standard_normal(shape)),
    "Laplace": Additive(lambda rng, shape: rng.laplace(size=shape), 2.0),
    "Student t, ν = 5": Additive(lambda rng, shape: rng.standard_t(5, shape), 5 / 3),
    "Student t, ν = 3": Additive(lambda rng, shape: rng.standard_t(3, shape), 3.0),
    "Student t, ν = 2.5": Additive(lambda rng, shape: rng.standard_t(2.5, shape), 5.0),
    "Student t, ν = 2.1": Additive(lambda rng, shape: rng.standard_t(2.1, shape), 21.0),
    "multivariate t, ν = 5": Additive(common_scale),
    "exponential (skewed)": Additive(lambda rng, shape: rng.exponential(size=shape) - 1),
    "±σ": Additive(lambda rng, shape: rng.choice([-1.0, 1.0], shape)),
    "2 % Gaussian with 10 times the deviation": Additive(contaminated),
    "0 but for 0.2 % of draws": Additive(sparse),
    "mini-batches of 1, breast cancer": ('kind = "logistic"', 'kind = "minibatch"\nbatch_size = 1'),
    "mini-batches of 8, digits": ('kind = "logistic"\ndataset = "digits"', 'kind = "minibatch"\nbatch_size = 8'),
}
"""Noise that meets P3 to P5: by name, or the tables of its experiment."""


WHOLE = (
    "Student t, ν = 2.1",
    "Student t, ν = 1.5, declared σ² = 3",
    "Student t, ν = 1.5, declared σ² = 10⁴",
    "Student t, ν = 1.8, declared σ² = 10⁴",
)


def planted(coordinates: int = FEWER) -> dict[str, tuple[str, Any]]:
    """Violations of the very size that the premises say they find, at ``LEVEL``: the premise and the noise."""
    steps, trials = sizes(DIMENSION, coordinates)
    noise, ones = np.random.default_rng(0).standard_normal((steps, trials, DIMENSION)), np.ones(DIMENSION)
    flat = noise.reshape(-1, DIMENSION)
    bias = nonzero_mean(flat, ones, 0 * ones, SHARE / 3).detectable
    factor = excess_variance(flat, ones, 0 * ones, SHARE / 12).detectable
    correlation = dependence(noise, 0 * ones, SHARE).detectable

    def autoregressive(fresh: Any, last: Any, step: int) -> Any:  # noqa: ARG001
        phi = first(correlation)
        return phi * last + np.sqrt(1 - phi**2) * fresh

    def loud(rng: Any, shape: Any) -> Any:
        return rng.standard_normal(shape) * np.sqrt(1 + first(factor - 1))

    return {
        f"a bias of {bias:.3f} σ in one coordinate": ("P3", Additive(lambda rng, s: rng.standard_normal(s) + first(bias))),
        "a gradient that is scaled by 0.9": ("P3", Scaled(0.9)),
        f"one variance {factor:.3f} times too large": ("P4", Additive(loud)),
        "Student t, ν = 1.5, declared σ² = 3": ("P4", Additive(lambda rng, s: rng.standard_t(1.5, s), 3.0)),
        "Student t, ν = 1.5, declared σ² = 10⁴": ("P4", Additive(lambda rng, s: rng.standard_t(1.5, s), 1e4)),
        "Student t, ν = 1.8, declared σ² = 10⁴": ("P4", Additive(lambda rng, s: rng.standard_t(1.8, s), 1e4)),
        f"AR(1) of {correlation:.3f} in one coordinate": ("P5", Remembering(autoregressive)),
        "every draw used twice": ("P5", Remembering(lambda fresh, last, step: last if step % 2 else fresh)),
        "one draw for all trials": ("P5", Remembering(lambda fresh, last, step: np.broadcast_to(fresh[:1], fresh.shape))),  # noqa: ARG005
    }


class Scaled(Additive):
    """0.9 times the gradient, and standard normal noise: a bias along the gradient."""

    def __init__(self, factor: float) -> None:
        super().__init__(lambda rng, shape: rng.standard_normal(shape))
        self.factor = factor

    def sample(self, rng: Any, problem: Any, x: Any, gradient: Any) -> Any:
        return super().sample(rng, problem, x, {name: self.factor * g for name, g in gradient.items()})


def instance(noise: Any, seed: int, problem: str = QUADRATIC, algorithm: dict[str, Any] | None = None) -> Instance:
    """An instance with this noise: an object, or the tables of problem and noise."""
    tables = dict(zip(("problem", "noise"), noise, strict=True)) if isinstance(noise, tuple) else {}
    text = EXPERIMENT.format(seed=seed, **{"problem": problem, "noise": NONE, **tables})
    made = instance_of(parse(text, overrides=algorithm))
    if isinstance(noise, tuple):
        return made
    return Instance.of_parts(made.problem, noise, made.setting.algorithm, seed=seed)


def false_alarms(name: str, repetitions: int, coordinates: int = FEWER) -> tuple[int, int]:
    """How often noise that meets all premises is refused, at the levels ``COARSE`` and ``LEVEL``."""
    coordinates = DRAWN_COORDINATES if name in WHOLE else coordinates
    counts, made = [0, 0], instance(TRUE[name], 0)
    for seed in range(repetitions):
        seeded = Instance.of_parts(made.problem, made.noise, seed=seed)
        drawn = draw(seeded, coordinates)
        for at, level in enumerate((COARSE, LEVEL)):
            counts[at] += any(not p.held for p in check_noise_premises(seeded, drawn, level))
    return counts[0], counts[1]


def found(name: str, repetitions: int, coordinates: int = FEWER) -> int:
    """How often a planted violation is found, at ``LEVEL``, as one of its own premise."""
    premise, noise = planted(coordinates)[name]
    coordinates = DRAWN_COORDINATES if name in WHOLE else coordinates
    count, made = 0, instance(noise, 0)
    for seed in range(repetitions):
        seeded = Instance.of_parts(made.problem, made.noise, seed=seed)
        premises = check_noise_premises(seeded, draw(seeded, coordinates), LEVEL)
        count += premise in [p.name for p in premises if not p.held]
    return count


SMOOTHNESS = {
    "quadratic, 100 coordinates": 'kind = "quadratic"\nrotated = true',
    "logistic, breast cancer": 'kind = "logistic"',
    "matrix": 'kind = "matrix"',
    "nonconvex": 'kind = "nonconvex"',
}


def smoothness(name: str, repetitions: int, factor: float) -> int:
    """How often P1 is refused when the declared L is ``factor`` times the true one, over problems drawn anew."""
    from frugal_theory.premises.search import RATIO_SLACK, search

    count = 0
    for seed in range(repetitions):
        made = instance((SMOOTHNESS[name], NONE), seed)
        declared = factor * made.problem.smoothness
        count += search(made.problem, declared, made.start, seed).ratio > declared * (1 + RATIO_SLACK)
    return count


SELECTIONS = {
    "svd": ('kind = "matrix"', "svd"),
    "random": ('kind = "matrix"', "random"),
    "columns": ('kind = "matrix"', "columns"),
    "coordinates": (QUADRATIC, "coordinates"),
    "blocks": (QUADRATIC, "blocks"),
}


def selections(name: str, repetitions: int) -> int:
    """How often P6 is refused."""
    problem, subspace = SELECTIONS[name]
    count = 0
    for seed in range(repetitions):
        made = instance((problem, 'kind = "gaussian"\nsigma = 0.1'), seed, algorithm={"algorithm.subspace": subspace})
        count += not Grounds(made, LEVEL, PREMISES).premise("P6").held
    return count


FACTORS = (1.0, 0.99, 0.9, 0.5)
"""The declared L, over the true one."""


@dataclass(frozen=True)
class Premises:
    """A row a noise, problem or selection: the ``share`` of repetitions that was refused, with its 95 % interval."""

    repetitions: int = 1000

    name = "premises"
    question = "Do the tests of the premises refuse what is true no more often than their level?"
    by_cell = False

    def measure(self, _: None, run: Run) -> pd.DataFrame:
        """What is true at a coarse level and at the premises' own, then what is planted."""
        n = self.repetitions
        tasks = [("true", name, n) for name in TRUE] + [("planted", name, n) for name in planted()]
        tasks += [("P1", name, n) for name in SMOOTHNESS] + [("P6", name, n) for name in SELECTIONS]
        return pd.concat(run.each(refused, tasks), ignore_index=True)

    def draw(self, _: pd.DataFrame) -> dict[str, Any]:
        """The table of docs/premises.md is read, not looked at."""
        return {}

    def answer(self, table: pd.DataFrame) -> Answer:
        """Yes while no interval at the coarse level lies above it."""
        true = table[(table["part"] == "true") & (table["setting"] == COARSE)]
        above = true[true["lower"] > COARSE]
        most = true.loc[true["share"].idxmax()]
        sentence = (
            f"At level {COARSE:g} true premises are refused in at most {100 * most['share']:.1f} % of {self.repetitions} "
            f"repetitions ({most['what']}), and {len(above)} of {len(true)} kinds of noise above the level."
        )
        return Answer(sentence, "no" if len(above) else "yes")


def refused(part: str, name: str, repetitions: int) -> pd.DataFrame:
    """A row a level (true), a factor of L (P1), or the one that there is; ``setting`` says which."""
    if part == "true":
        counts = dict(zip((COARSE, LEVEL), false_alarms(name, repetitions), strict=True))
    elif part == "planted":
        counts = {LEVEL: found(name, repetitions)}
    elif part == "P1":
        counts = {factor: smoothness(name, repetitions, factor) for factor in FACTORS}
    else:
        counts = {LEVEL: selections(name, repetitions)}
    rows = [{"setting": setting, **interval(count, repetitions)} for setting, count in counts.items()]
    return pd.DataFrame([{"part": part, "what": name, **row} for row in rows])


def interval(count: int, repetitions: int) -> dict[str, float]:
    """The share with Clopper and Pearson's 95 % interval."""
    from scipy.stats import binomtest

    test = binomtest(count, repetitions).proportion_ci()
    return {"share": count / repetitions, "lower": float(test.low), "upper": float(test.high)}


STUDY = Premises()
