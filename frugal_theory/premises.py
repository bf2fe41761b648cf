"""Premises P1–P6 (``docs/theory.md``, section 2): which an experiment meets, and how that is known.

What a problem or a noise declares is not taken on trust where a few evaluations can refute it: L is held against the
largest gradient ratio over random pairs of points.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from frugal_theory.algorithm.run_lengths import contradiction
from frugal_theory.algorithm.selection import stream
from frugal_theory.problems.noise import Gaussian, Minibatch, NoNoise, StudentT
from frugal_theory.problems.problem import Problem
from frugal_theory.theorems.theorem import Setting
from frugal_theory.verdict import Premise

__all__ = ["check_premises", "largest_gradient_ratio", "noise_contradictions"]

Array = NDArray[np.float64]

PAIRS = 64
"""Random pairs of points that L is held against."""

RATIO_SLACK = 1e-9
"""Relative rounding allowed to a gradient ratio: cancellation in ∇f(x) − ∇f(y) at nearby points."""

DRAWN_COORDINATES, LEAST_DRAWS, MOST_DRAWS = 2**18, 256, 2**14
"""Draws that an added noise is held against: so many coordinates in all, but not fewer and not more draws."""

NOISE_ERRORS = 8.0
"""Standard errors that the sample moments of an added noise may be off, by coordinate."""


def check_premises(setting: Setting, seed: int = 0) -> tuple[Premise, ...]:
    """P1 to P6 for one setting, in order."""
    return (
        _smooth(setting, seed),
        _bounded_below(setting),
        _unbiased(setting, seed),
        _bounded_variance(setting, seed),
        _independent(setting),
        _oblivious(setting),
    )


def largest_gradient_ratio(problem: Problem, seed: int = 0, pairs: int = PAIRS) -> float:
    """The largest ‖∇f(x) − ∇f(y)‖ / ‖x − y‖ over random pairs at distances from 10⁻³ to 10² around the start."""
    rng = np.random.default_rng(stream(seed, "problem"))
    start = problem.start(np.random.default_rng(stream(seed, "start")))
    scales = np.geomspace(1e-3, 1e2, pairs)

    def cloud(centre: Mapping[str, Array]) -> dict[str, Array]:
        return {
            name: value[0] + scales.reshape(-1, *[1] * (value.ndim - 1)) * rng.standard_normal((pairs, *value.shape[1:]))
            for name, value in centre.items()
        }

    x = cloud({name: value[None] for name, value in start.items()})
    y = {name: x[name] + (cloud({n: v[None] for n, v in start.items()})[name] - start[name]) for name in x}
    difference = {name: a - b for (name, a), b in zip(problem.gradient(x).items(), problem.gradient(y).values(), strict=True)}
    distance = _norms({name: x[name] - y[name] for name in x})
    return float(np.max(_norms(difference) / distance))


def noise_contradictions(setting: Setting, seed: int = 0) -> tuple[str | None, str | None]:
    """What draws at x¹ say against an added noise's mean and against the variance it declares; None for nothing.

    The built-in noises are proven by the tests and are not drawn.
    """
    if isinstance(setting.noise, (NoNoise, Gaussian, StudentT, Minibatch)):
        return None, None
    start = setting.problem.start(np.random.default_rng(stream(seed, "start")))
    draws = min(MOST_DRAWS, max(LEAST_DRAWS, DRAWN_COORDINATES // sum(value.size for value in start.values())))
    x = {name: np.repeat(value[None], draws, axis=0) for name, value in start.items()}
    gradient = setting.problem.gradient(x)
    copy = {name: value.copy() for name, value in gradient.items()}  # a noise may write to what it is given
    drawn = setting.noise.sample(np.random.default_rng(stream(seed, "noise")), setting.problem, x, copy)
    biased = loud = None
    for name, value in gradient.items():
        noise = drawn[name] - value
        mean, second = noise.mean(axis=0), (noise**2).mean(axis=0)
        if np.any(np.abs(mean) > NOISE_ERRORS * np.sqrt(second / draws) + RATIO_SLACK * np.abs(value[0])):
            biased = f"the mean of {draws} draws of {_noise(setting)} at x¹ is off by {np.max(np.abs(mean)):.4g} ({name})"
        spread = NOISE_ERRORS * np.sqrt((noise**4).mean(axis=0) / draws)
        if np.any(second - spread > setting.variance[name] * (1 + RATIO_SLACK) + (RATIO_SLACK * value[0]) ** 2):
            loud = f"draws of {_noise(setting)} at x¹ have a larger variance than the noise declares ({name})"
    return biased, loud


def _norms(arrays: Mapping[str, Array]) -> Array:
    return np.sqrt(sum(np.sum(a.reshape(len(a), -1) ** 2, axis=1) for a in arrays.values()))


def _smooth(setting: Setting, seed: int) -> Premise:
    statement = "f is L-smooth"
    declared = setting.smoothness
    if not (math.isfinite(declared) and declared > 0):
        return Premise("P1", statement, False, f"the declared L = {declared:g} is not a positive number")
    found = largest_gradient_ratio(setting.problem, seed)
    if not found <= declared * (1 + RATIO_SLACK):
        return Premise(
            "P1", statement, False, f"two points have gradient ratio {found:.4g}, above the declared L = {declared:.4g}"
        )
    return Premise("P1", statement, True, f"L = {declared:.4g} as derived; largest ratio found {found:.4g}")


def _bounded_below(setting: Setting) -> Premise:
    infimum, gap = setting.problem.infimum, setting.gap
    held = math.isfinite(infimum) and gap >= 0
    how = f"f* = {infimum:.4g}, Δ = {gap:.4g}" if held else f"f* = {infimum:g} is no lower bound: f(x¹) − f* = {gap:.4g}"
    return Premise("P2", "f is bounded below", held, how)


def _unbiased(setting: Setting, seed: int) -> Premise:
    statement = "the stochastic gradient is unbiased"
    if getattr(setting.noise, "degrees_of_freedom", math.inf) <= 1:
        return Premise("P3", statement, False, f"{_noise(setting)} has no mean with at most 1 degree of freedom")
    if against := noise_contradictions(setting, seed)[0]:
        return Premise("P3", statement, False, against)
    return Premise("P3", statement, True, f"{_noise(setting)} has mean zero by construction")


def _bounded_variance(setting: Setting, seed: int) -> Premise:
    total = setting.total_variance
    statement = "the variance of every coordinate is bounded"
    if not math.isfinite(total):
        return Premise("P4", statement, False, f"{_noise(setting)} has infinite variance")
    if against := noise_contradictions(setting, seed)[1]:
        return Premise("P4", statement, False, against)
    return Premise("P4", statement, True, f"σ² = {total:.4g}")


def _independent(setting: Setting) -> Premise:
    return Premise("P5", "samples are independent across steps", True, f"{_noise(setting)} is drawn afresh at every step")


def _oblivious(setting: Setting) -> Premise:
    statement = "the selection does not depend on the noise"
    if setting.runs is None:
        kind = setting.algorithm.subspace
        unknown = f'subspace "{kind}" is not known to be oblivious: it does not declare its share'
        how = "svd selects by the current stochastic gradient" if kind == "svd" else unknown
        return Premise("P6", statement, False, how)
    if against := contradiction(setting.algorithm, setting.problem.shapes):
        return Premise("P6", statement, False, against)
    laws = {
        "fixed": "the set never changes",
        "redrawn": "the set is drawn from a stream of its own",
        "scheduled": "the set follows a schedule",
        "turning": "the basis is drawn from a stream of its own",
    }
    return Premise("P6", statement, True, laws[setting.runs.law])


def _noise(setting: Setting) -> str:
    """The noise in words."""
    return f"{type(setting.noise).__name__} noise" if setting.total_variance else "a gradient without noise"
