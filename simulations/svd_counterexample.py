"""Does svd selection converge where nothing is done off the set? An instance on which it never takes a step along the gradient.

f(W) = ½ Σ_{i ≤ p} (W_ii − W*_ii)², p = min(m, n) − r, flat in every other entry. The noise is σ₀ε_a in the entry (p+a, p+a),
a = 1 … r, with independent fair signs ε_a: mean zero, variance rσ₀², independent from step to step (P3–P5). The stochastic
gradient is diagonal, its singular values are |W_ii − W*_ii| and r times σ₀. If σ₀ > max |W_ii¹ − W*_ii|, the r leading singular
vectors are those of the noise, whatever its signs: Π_k g̃ᵏ has no part of ∇f, so with nothing off the set W_ii does not move,
∇f stays as it is, and the same is true at the next choice. This is so for every step size, update gap and state-full rule, for
ever (docs/theory/svd.md; after He et al. 2024, GoLore, arXiv 2410.11289, of which we had no copy).

What helps: random directions, noise of the same variance in all entries, SGD off the set, and large batches up to a point: the
mean of an odd number B of signs is never smaller than 1/B, so entries stop for good once they are below σ₀/B.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import frugal_theory as ft
from frugal_theory.algorithm.selection import budget, stream
from frugal_theory.config import Algorithm, Experiment
from frugal_theory.instance import Instance, starting_point
from frugal_theory.problems import Gaussian
from frugal_theory.problems.matrix import Layer, Matrix
from frugal_theory.problems.problem import Noise, Problem
from frugal_theory.report.drawing import COLOURS
from frugal_theory.report.words import number, percent
from frugal_theory.studies.figures import panels
from frugal_theory.studies.study import ALONE, Answer, Run

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["QUESTION", "Aligned", "answer", "draw", "measure", "sizes", "trap"]

Array = NDArray[np.float64]

QUESTION = "Does svd selection converge where nothing is done off the set?"

WHOLE = True

BATCHES = (1, 3, 9, 27, 81, 243)
"""Odd numbers of signs that are averaged."""

RATES = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
"""Step sizes, times L = 1, at which the theorem's floor is compared with what is attained."""

NOTHING = 1e-12
"""What is left of ‖∇f‖² below this is rounding on its way to 0."""

HELD = (
    {"update_gap": 1},
    {"update_gap": 20, "state_full": {"rule": "sgdm", "beta": 0.9}},
    {"update_gap": 50, "state_full": "adamw"},
)
"""Variations under which ∇f must not move by a bit."""


@dataclass(frozen=True)
class Aligned:
    """g̃ = g + σ₀ Σ_a ε̄_a e_{p+a} e_{p+a}ᵀ, ε̄_a the mean of ``batch`` fair signs, or a normal number of variance 1 / ``batch``.

    ``places``: the p+a. The variance is σ₀²/B there and 0 elsewhere.
    """

    deviation: float
    places: tuple[int, ...]
    batch: int = 1
    normal: bool = False

    def variance(self, problem: Problem) -> dict[str, Array]:
        """σ₀²/B in the entries of the noise."""
        found = np.zeros(problem.shapes["W"])
        found[list(self.places), list(self.places)] = self.deviation**2 / self.batch
        return {"W": found}

    def sample(
        self,
        rng: np.random.Generator,
        problem: Problem,  # noqa: ARG002
        x: Mapping[str, Array],  # noqa: ARG002
        gradient: Mapping[str, Array],
    ) -> dict[str, Array]:
        """One draw of every ε̄_a a trial."""
        found = gradient["W"].copy()
        size = (*found.shape[:-2], len(self.places))
        if self.normal:
            drawn = rng.standard_normal(size) / np.sqrt(self.batch)
        else:
            drawn = (2 * rng.binomial(self.batch, 0.5, size) - self.batch) / self.batch
        found[..., list(self.places), list(self.places)] += self.deviation * drawn
        return {"W": found}


def sizes(experiment: Experiment) -> tuple[int, int, int, int]:
    """m, n, r and p = min(m, n) − r. Raises ExperimentError for what is no matrix or has no p > 0."""
    table, algorithm = experiment.problem, experiment.algorithm
    if not isinstance(table, ft.config.Matrix) or algorithm.subspace != "svd":
        raise ft.ExperimentError(f'{experiment.name}: problem.kind = "matrix" and subspace = "svd" are needed')
    rank = budget(algorithm.density, min(table.rows, table.columns))
    if not 0 < rank < min(table.rows, table.columns):
        raise ft.ExperimentError(f"{experiment.name}: the rank is {rank}; 1 to {min(table.rows, table.columns) - 1} are needed")
    return table.rows, table.columns, rank, min(table.rows, table.columns) - rank


def trap(experiment: Experiment) -> tuple[Matrix, Aligned]:
    """f with ∇f(W¹) = Σ_{i ≤ p} e_i e_iᵀ, and the noise, whose total variance is that of the experiment's isotropic one.

    Raises ExperimentError unless σ₀ > 1, the largest singular value of ∇f(W¹).
    """
    rows, columns, rank, depth = sizes(experiment)
    left, right = np.zeros((rows, rows)), np.zeros((columns, columns))
    left[range(depth), range(depth)] = right[range(depth), range(depth)] = 1.0
    solution = np.ones((rows, columns)) - np.eye(rows, columns)
    deviation = float(experiment.noise.sigma) * np.sqrt(rows * columns / rank)
    if deviation <= 1:
        raise ft.ExperimentError(f"{experiment.name}: noise.sigma makes σ₀ = {deviation:.3g}; more than 1 is needed")
    return Matrix([Layer(left, right, solution)], "ones"), Aligned(float(deviation), tuple(range(depth, depth + rank)))


def path(experiment: Experiment, algorithm: Algorithm, noise: Noise, steps: int, every: int = 1) -> Array:
    """‖∇f(Wᵏ)‖² at every ``every``-th k = 1 … ``steps``, shape (trials, …)."""
    problem = trap(experiment)[0]
    numbers, rng = np.arange(experiment.simulation.trials), np.random.default_rng(stream(experiment.seed, "noise"))
    x = {name: np.repeat(v[None], len(numbers), axis=0) for name, v in starting_point(problem, experiment.seed).items()}
    state, found = ft.init(numbers), []
    for k in range(steps):
        gradient = problem.gradient(x)
        if k % every == 0 or k == steps - 1:
            found.append(np.sum(gradient["W"] ** 2, axis=(-2, -1)))
        x, state = ft.step(algorithm, x, noise.sample(rng, problem, x, gradient), state, experiment.algorithm.learning_rate)  # type: ignore[arg-type]
    return np.stack(found, axis=1)


def measure(experiment: Experiment, run: Run = ALONE) -> pd.DataFrame:
    """Four parts, a row a number each.

    "path": ‖∇f‖² relative to its start, by method and k. "held": how far ‖∇f‖² moved at most. "batch": ‖∇f‖² at the end, with
    the ``closed_form`` of :func:`stop`, and "upper", the largest of all trials. "floor", by α: p/r, the ‖∇f‖²/σ² that instances
    attain as σ₀ → 1, and what svd_selection bounds it by for K → ∞ (``closed_form``).
    """
    import pandas as pd

    tables = run.each(_part, [(part, experiment) for part in ("path", "held", "batch", "floor")])
    return pd.concat(tables, ignore_index=True)


METHODS: dict[str, tuple[dict[str, Any], str]] = {
    "svd, noise in one direction": ({}, "signs"),
    "the same, of normal size": ({}, "normal"),
    "svd, isotropic noise": ({}, "isotropic"),
    "svd, SGD off the set": ({"state_free": "sgd"}, "signs"),
    "random direction": ({"subspace": "random"}, "signs"),
}
"""Keys of ``[algorithm]`` apart from the experiment's, and the noise, all of one total variance."""


def _part(part: str, experiment: Experiment) -> pd.DataFrame:
    return {"path": _paths, "held": _held, "batch": _batches, "floor": _floors}[part](experiment)


def changed(experiment: Experiment, keys: Mapping[str, Any]) -> Algorithm:
    """The experiment's algorithm with other keys."""
    return Algorithm.model_validate(experiment.algorithm.model_dump() | dict(keys))


def _paths(experiment: Experiment) -> pd.DataFrame:
    import pandas as pd

    _, aligned = trap(experiment)
    noises: dict[str, Noise] = {
        "signs": aligned,
        "normal": Aligned(aligned.deviation, aligned.places, normal=True),
        "isotropic": Gaussian(experiment.noise.sigma),
    }
    steps = experiment.simulation.steps
    every = max(1, steps // 200)
    found = []
    for name, (keys, noise) in METHODS.items():
        squares = path(experiment, changed(experiment, keys), noises[noise], steps, every)
        mean = squares.mean(axis=0) / squares[0, 0]
        k = np.minimum(np.arange(len(mean)) * every, steps - 1) + 1
        found.append(pd.DataFrame({"part": "path", "method": name, "step": k, "measured": mean}))
    return pd.concat(found, ignore_index=True)


def _held(experiment: Experiment) -> pd.DataFrame:
    import pandas as pd

    found = []
    for keys in HELD:
        squares = path(experiment, changed(experiment, keys), trap(experiment)[1], experiment.simulation.steps)
        moved = float(np.abs(squares - squares[:, :1]).max())
        found.append({"part": "held", "method": f"T = {keys['update_gap']}", "measured": moved})
    return pd.DataFrame(found)


def _batches(experiment: Experiment) -> pd.DataFrame:
    import pandas as pd

    _, one = trap(experiment)
    depth, found = sizes(experiment)[3], []
    steps, alpha = experiment.simulation.steps, float(experiment.algorithm.learning_rate)  # type: ignore[arg-type]
    for batch in BATCHES:
        last = path(experiment, experiment.algorithm, Aligned(one.deviation, one.places, batch), steps, steps)[:, -1]
        closed = depth * stop(one.deviation / batch, alpha) ** 2
        found.append({"part": "batch", "batch": batch, "measured": last.mean(), "closed_form": closed, "upper": last.max()})
    return pd.DataFrame(found)


def stop(least: float, alpha: float) -> float:
    """Where an entry stops that begins at 1, shrinks by 1 − α when it is chosen, and is chosen while above ``least``."""
    return float((1 - alpha) ** max(0, np.ceil(np.log(least) / np.log1p(-alpha))))


def _floors(experiment: Experiment) -> pd.DataFrame:
    """The bound of svd_selection with Δ = 0, which is that for K → ∞, against p/r, the supremum of ‖∇f‖²/σ² over σ₀ > 1."""
    import pandas as pd

    problem, noise = trap(experiment)
    _, _, rank, depth = sizes(experiment)
    theorem, found = ft.THEOREMS["svd_selection"], []
    for rate in RATES:
        setting = Instance.of_parts(problem, noise, changed(experiment, {"learning_rate": rate}), learning_rate=rate).setting
        if reason := theorem.covers(setting):
            raise ft.ExperimentError(f"{experiment.name}: svd_selection does not apply: {reason}")
        floor = float(theorem.bound(setting.having(gap=0.0))[-1]) / setting.total_variance
        found.append({"part": "floor", "rate": rate, "measured": depth / rank, "closed_form": floor})
    return pd.DataFrame(found)


COLOUR = dict(zip(METHODS, ("violated", "hue-2", "hue-1", "hue-3", "hue-4"), strict=True))


def draw(table: pd.DataFrame) -> Any:
    """‖∇f‖² along the run, at its end by batch size, and the floor that the theorem leaves by step size."""
    figure, (along, batch, floor) = panels(
        "With nothing off the set svd selection can follow the noise for ever; a bound needs a floor, this one is attained",
        ["‖∇f‖² relative to its start, mean", "‖∇f‖² at the end, by batch size", "floor of ‖∇f‖²/σ², by step size"],
        "Noise of one total variance on the left. Dots: the mean of all runs; line beside them: (1 − α)ⁿ for the first n "
        "with which an entry is below σ₀/B.",
        left=58,
        gap=66,
    )
    for name, own in table[table["part"] == "path"].groupby("method", sort=False):
        along.plot(own["step"], np.maximum(own["measured"], 1e-12), color=COLOURS[COLOUR[name]], lw=1.8, label=name)
    along.set(yscale="log", xlabel="step k", ylim=(1e-6, 3e3))
    along.legend(frameon=False, fontsize=9, loc="upper right", handlelength=1.4, labelspacing=0.25, borderaxespad=0)
    _powers(along, range(-6, 1, 2))
    rows = table[table["part"] == "batch"]
    batch.plot(rows["batch"], rows["closed_form"], color=COLOURS["hue-1"], lw=1.6)
    batch.plot(rows["batch"], rows["measured"], "o", color=COLOURS["hue-1"], markersize=5, clip_on=False)
    batch.set(xscale="log", yscale="log", xlabel="batch size B, odd")
    batch.set_xticks(rows["batch"], [number(b) for b in rows["batch"]])
    batch.minorticks_off()
    _powers(batch, range(-4, 1))
    rows = table[table["part"] == "floor"]
    floor.plot(rows["rate"], rows["closed_form"], color=COLOURS["hue-1"], lw=1.6, label="svd_selection, K → ∞")
    attained = f"attained: 1/ρ − 1 = {number(float(rows['measured'].iloc[0]))}"
    floor.plot(rows["rate"], rows["measured"], color=COLOURS["violated"], lw=1.6, ls="--", label=attained)
    floor.set(xscale="log", xlabel="αL", ylim=(0, None))
    floor.set_xticks([1e-3, 1e-2, 1e-1, 1], ["0.001", "0.01", "0.1", "1"])
    floor.minorticks_off()
    floor.legend(frameon=False, fontsize=9, loc="upper left", handlelength=1.6)
    return figure


def _powers(axes: Any, powers: Iterable[int]) -> None:
    """Ticks at powers of ten."""
    axes.set_yticks([10.0**power for power in powers], [number(10.0**power) for power in powers])
    axes.minorticks_off()


def answer(table: pd.DataFrame) -> Answer:
    """Whether ∇f moved at all; what the other methods come to; the stops by batch; how close the theorem's floor is."""
    ends = table[table["part"] == "path"].groupby("method", sort=False)["measured"].last()
    moved = float(table.loc[table["part"] == "held", "measured"].max())
    batch, floor = table[table["part"] == "batch"], table[table["part"] == "floor"]
    size, left, stops = (float(batch[column].iloc[-1]) for column in ("batch", "measured", "closed_form"))
    rate, attained, bound = (float(floor[column].iloc[-1]) for column in ("rate", "measured", "closed_form"))
    others = ", ".join(
        f"{name} {number(float(value)) if value > NOTHING else 'nothing'}" for name, value in ends.iloc[1:].items()
    )
    still = "∇f does not move by a bit" if moved == 0 else f"‖∇f‖² moves by {number(moved)}"
    sentence = (
        f"Not always: where the noise is in one direction and larger than the gradient, {still} (T = 1, 20 and 50, with SGD, "
        f"SGDM and AdamW on the set). Of ‖∇f‖² is left at the end: {others}. With batches of {number(size)} it stops at "
        f"{number(left)} (closed form {number(stops)}). The floor that svd_selection leaves, {number(bound)} σ² at αL = "
        f"{number(rate)}, is attained to {percent(attained / bound)}."
    )
    return Answer(sentence, "no" if moved == 0 else "open")
