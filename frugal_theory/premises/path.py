"""The path: where the experiment's own algorithm goes, and f and the noise there.

P1 to P4 are tested at a few points and far away; a constant that is wrong only on the way, or a bias in a region that the run
crosses, is not seen there. So a few trials are walked, side by side, with the experiment's step size and its own sets, and
f and the noise are looked at on the way. How far and how often is a matter of counting, so that the result does not depend
on the machine: about a tenth of what the simulation itself costs (``python -m benchmarks premises_path``).
"""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from frugal_theory.algorithm.parts import Basis, Mask
from frugal_theory.algorithm.selection import stream
from frugal_theory.algorithm.step import State, init, step
from frugal_theory.instance import Instance
from frugal_theory.premises.draws import ROUNDING, Draws, tested
from frugal_theory.premises.flat import dimension, parameters, rows
from frugal_theory.premises.search import steepest
from frugal_theory.problems import Gaussian, Logistic, Matrix, Minibatch, Nonconvex, NoNoise, Quadratic, StudentT
from frugal_theory.problems.problem import Noise, read_only

__all__ = ["Path", "walk"]

Array = NDArray[np.float64]

TRIALS = 8
"""Trials that are walked side by side: those of the simulation with the numbers 0 to 7."""

SHARE, BATCH = 0.08, 32
"""So many steps are walked, as a share of the simulation's steps times its batches of so many trials …"""

LEAST_STEPS = 32
"""… but no fewer than that. Of problems and noise that ship, whose constants are derived, no more either."""

STOPS, STAGES = 24, 3
"""Steps at which the walk stops to look around, half of them evenly spaced, half in the logarithm; and stages that they are
pooled in."""

DRAWN = 0.1
"""Noise is drawn at the stops so many times, as a share of what the simulation draws …"""

LEAST_DRAWS, MOST_COORDINATES = 16, 2**18
"""… but at least so often for every trial at a stop, and for no more coordinates than that at all stops together."""

TURNS = 3
"""Power iterations for the steepest direction at the stops, from the direction of the step on."""

FAR = 1e30
"""A run that has gone further than this has left what floating-point numbers can say."""

CANCELLATION = 1e-12
"""Rounding of a difference of gradients, relative to the gradients and to L‖x‖."""

SHIPPED = ((Quadratic, Matrix, Logistic, Nonconvex), (Gaussian, NoNoise, StudentT, Minibatch))


@dataclass(frozen=True)
class Path:
    """What a walk found. ``steps``: how many were walked. ``draws``: the noise of every stage, shape (stops, draws, d), their
    number being ``stages``, and then of every stop by itself.

    ``ratio``: the largest ‖∇f(x) − ∇f(y)‖/‖x − y‖ of successive points and of pairs at the stops; ``lowest``: the least value
    of f, and ``rounding`` what it may be off. ``beyond``: by stage and of every draw, what it has in its trial's basis beyond
    Σ_j Π_jj ξ_j², shape (draws,); ``expected`` the mean of that sum. Both are empty without bases or if not all coordinates are
    tested.
    """

    steps: int
    draws: tuple[Draws, ...]
    stages: int
    ratio: float
    lowest: float
    rounding: float
    beyond: tuple[Array, ...] = ()
    expected: tuple[float, ...] = ()


def walk(instance: Instance) -> Path:
    """Walk ``TRIALS`` trials of the instance, whose learning rate must be known, and look around on the way."""
    problem, setting = instance.problem, instance.setting
    noise = instance.noise
    with contextlib.suppress(Exception):
        noise = copy.deepcopy(noise)
    key = stream(instance.seed, "noise")
    rng = np.random.default_rng(np.random.SeedSequence(entropy=key.entropy, spawn_key=(*key.spawn_key, 0, 3)))
    steps, repeats = _walked(instance)
    stops = _stops(steps)
    look = _Look(instance, repeats)
    x = {name: np.repeat(value[None], TRIALS, axis=0) for name, value in instance.start.items()}
    state = init(trials=np.arange(TRIALS), bases=instance.bases)
    before: tuple[Array, Array] | None = None
    done = 0
    with np.errstate(over="ignore", invalid="ignore"):
        for k in range(steps):
            at = rows(problem, x)
            if not np.abs(at).max(initial=0.0) < FAR:
                break
            x = read_only(x)
            gradient = problem.gradient(x)
            slope = rows(problem, gradient)
            look.moved(before, (at, slope))
            drawn = noise.sample(rng, problem, x, {name: g.copy() for name, g in gradient.items()})
            new, state = step(setting.algorithm, x, drawn, state, setting.alpha)
            if k in stops:
                look.around(k, noise, rng, x, gradient, state, rows(problem, new) - at)
            before, x, done = (at, slope), new, k + 1
    return look.path(done)


class _Look:
    """What has been seen so far."""

    def __init__(self, instance: Instance, repeats: int) -> None:
        self.instance, self.problem, self.repeats = instance, instance.problem, repeats
        self.chosen = tested(dimension(self.problem))
        self.whole = len(self.chosen) == dimension(self.problem)
        self.ratio, self.lowest, self.highest = 0.0, math.inf, 0.0
        self.at: list[int] = []
        self.noise: list[Array] = []
        self.scale: list[Array] = []
        self.beyond: list[Array] = []
        self.expected: list[float] = []

    def moved(self, before: tuple[Array, Array] | None, now: tuple[Array, Array]) -> None:
        """Hold the gradients at successive points against L."""
        if before is None:
            return
        (x, g), (y, h) = before, now
        self._pairs(y - x, h - g, np.maximum(_norm(x), _norm(y)), np.maximum(_norm(g), _norm(h)))

    def _pairs(self, apart: Array, difference: Array, size: Array, slope: Array) -> None:
        distance = _norm(apart)
        rounding = CANCELLATION * (slope + self.instance.setting.smoothness * size)
        ratio = np.where(distance > 0, (_norm(difference) - rounding) / np.where(distance > 0, distance, 1.0), 0.0)
        self.ratio = max(self.ratio, float(np.max(np.where(np.isnan(ratio), 0.0, ratio))))

    def around(
        self,
        k: int,
        noise: Noise,
        rng: np.random.Generator,
        x: Mapping[str, Array],
        g: Mapping[str, Array],
        state: State,
        ahead: Array,
    ) -> None:
        """At step k, a stop: the value of f, its steepness, and fresh noise for every trial; ``ahead`` is the step."""
        problem, at, slope = self.problem, rows(self.problem, x), rows(self.problem, g)
        values = np.ravel(problem.value(x))
        values = values[np.isfinite(values)]
        self.lowest = min(self.lowest, float(values.min(initial=math.inf)))
        self.highest = max(self.highest, float(np.abs(values).max(initial=0.0)))
        moving = _norm(ahead) > 0
        if moving.any():
            self.ratio = max(self.ratio, steepest(problem, at[moving], ahead[moving], TURNS)[2])
        repeated, slopes = (
            {name: np.concatenate([value] * self.repeats) for name, value in arrays.items()} for arrays in (x, g)
        )
        sampled = rows(problem, noise.sample(rng, problem, repeated, slopes))
        drawn = sampled.reshape(self.repeats, *slope.shape) - slope
        self.at.append(k)
        self.noise.append(drawn[..., self.chosen].reshape(-1, len(self.chosen)))
        scale = np.abs(slope).max(axis=0)
        self.scale.append(ROUNDING * (scale[self.chosen] + scale.max(initial=0.0) * 1e-3))
        self._in_basis(drawn, state)

    def _in_basis(self, drawn: Array, state: State) -> None:
        bases = {name: part for name, part in state.parts.items() if isinstance(part, Basis)}
        if not (bases and self.whole and np.isfinite(drawn).all()):
            return
        noise = parameters(self.problem, drawn)
        beyond, expected = np.zeros(drawn.shape[:-1]), 0.0
        for name, part in bases.items():
            inside = part.project(noise[name])
            share = _diagonal(part, self.problem.shapes[name])
            spread = share * noise[name] ** 2
            axes = tuple(range(2, spread.ndim))
            beyond += np.sum(inside**2, axis=axes) - np.sum(spread, axis=axes)
            expected += float(np.mean(np.sum(spread, axis=axes)))
        self.beyond.append(beyond.ravel())
        self.expected.append(expected)

    def path(self, steps: int) -> Path:
        """All of it, in stages."""
        stages = [part for part in np.array_split(np.arange(len(self.noise)), STAGES) if len(part)]
        draws = tuple(
            Draws(self._named(part), np.stack([self.noise[i] for i in part]), np.max([self.scale[i] for i in part], axis=0))
            for part in (*stages, *np.arange(len(self.noise))[:, None])
        )
        in_bases = len(self.beyond) == len(self.noise)
        beyond = tuple(np.concatenate([self.beyond[i] for i in stage]) for stage in stages) if in_bases else ()
        expected = tuple(float(np.mean([self.expected[i] for i in stage])) for stage in stages) if in_bases else ()
        return Path(steps, draws, len(stages), self.ratio, self.lowest, 1e-12 * self.highest, beyond, expected)

    def _named(self, part: NDArray[np.int64]) -> str:
        first, last = self.at[part[0]] + 1, self.at[part[-1]] + 1
        return f"step {first} of a run" if first == last else f"steps {first} to {last} of a run"


def _walked(instance: Instance) -> tuple[int, int]:
    """How many steps are walked, and how often noise is drawn for every trial at a stop."""
    steps, trials = instance.setting.steps, instance.trials
    batches = -(-trials // BATCH)
    derived = type(instance.problem) in SHIPPED[0] and type(instance.noise) in SHIPPED[1]
    walked = LEAST_STEPS if derived else max(LEAST_STEPS, int(SHARE * batches * steps))
    walked = min(steps, walked)
    stops = len(_stops(walked)) * TRIALS
    repeats = int(DRAWN * walked * trials / stops)
    most = MOST_COORDINATES // (stops * dimension(instance.problem))
    return walked, max(1, min(most, max(LEAST_DRAWS, repeats)))


def _stops(steps: int) -> frozenset[int]:
    """At which of so many steps to look around, 0-based."""
    even = np.linspace(0, steps - 1, STOPS // 2)
    logarithmic = np.geomspace(1, steps, STOPS // 2) - 1
    return frozenset(int(k) for k in np.round(np.concatenate([even, logarithmic])))


def _diagonal(part: Basis | Mask, shape: tuple[int, ...]) -> Array:
    """Π_jj, of the shape of the parameter with the trials in front."""
    assert isinstance(part, Basis)
    columns = part.columns if part.columns.ndim > 2 else part.columns[None]
    square: Array = np.sum(columns**2, axis=-1)
    if part.side == "left":
        square = square[..., None]
    elif part.side == "right":
        square = square[..., None, :]
    return np.broadcast_to(square, (square.shape[0], *shape))


def _norm(vectors: Array) -> Array:
    found: Array = np.sqrt(np.einsum("...i,...i->...", vectors, vectors))
    return found
