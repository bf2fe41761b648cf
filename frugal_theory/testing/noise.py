"""The contract of a noise (:class:`frugal_theory.problems.problem.Noise`)."""

from __future__ import annotations

from typing import Any

import numpy as np

from frugal_theory.instance import Instance
from frugal_theory.premises.check import LEVEL, check_noise_premises
from frugal_theory.premises.draws import draw
from frugal_theory.premises.flat import parameters, rows
from frugal_theory.problems.problem import Problem
from frugal_theory.testing.contract import ContractError, copied, require, require_shapes, require_unchanged

__all__ = ["check_noise"]

TRIAL_AXES: tuple[tuple[int, ...], ...] = ((), (3,), (2, 3))


def check_noise(noise: Any, problem: Problem, seed: int = 0, level: float = LEVEL) -> None:
    """Raise ContractError unless the noise keeps its contract on this problem, naming what is wrong.

    Variances of the parameters' shapes, not negative; draws with any trial axes, from the generator that is given and
    nothing else (no state of its own, not NumPy's global one), with nothing changed in place. Then the tests of premises
    P3 to P5 (docs/premises.md), which refuse a true noise with probability at most ``level``. A noise may declare infinite
    variance.
    """
    missing = [name for name in ("variance", "sample") if not hasattr(noise, name)]
    require(not missing, f"the noise has no {', '.join(missing)}")
    variance = noise.variance(problem)
    require_shapes("variance(problem)", variance, problem.shapes)
    for name, value in variance.items():
        require(bool(np.all(np.asarray(value) >= 0)), f"variance(problem) is negative or not a number for {name}")
    start = rows(problem, problem.start(np.random.default_rng(seed)))
    for axes in TRIAL_AXES:
        _sample(noise, problem, parameters(problem, np.broadcast_to(start, (*axes, start.size)).copy()), axes, seed)
    _premises(noise, problem, seed, level)


def _sample(noise: Any, problem: Problem, x: dict[str, Any], axes: tuple[int, ...], seed: int) -> None:
    gradient = problem.gradient(x)
    kept_x, kept_gradient, everywhere = copied(x), copied(gradient), np.random.get_state()[1].copy()  # type: ignore[index]  # noqa: NPY002
    first = noise.sample(np.random.default_rng(seed), problem, x, gradient)
    require_unchanged("sample changes x", kept_x, x)
    require_unchanged("sample changes the gradient", kept_gradient, gradient)
    require_shapes("sample", first, problem.shapes, axes)
    first = copied(first)
    again = noise.sample(np.random.default_rng(seed), problem, x, gradient)
    for name, value in first.items():
        require(
            np.array_equal(value, again[name], equal_nan=True),
            "sample gives other draws for an equal generator; it must draw from rng alone and keep no state",
        )
    require(
        np.array_equal(everywhere, np.random.get_state()[1]),  # type: ignore[index]  # noqa: NPY002
        "sample draws from NumPy's global generator; it must draw from rng alone",
    )


def _premises(noise: Any, problem: Problem, seed: int, level: float) -> None:
    instance = Instance.of_parts(problem, noise, seed=seed)
    for premise in check_noise_premises(instance, draw(instance), level):
        if not premise.held and not (premise.name == "P4" and not np.isfinite(instance.setting.total_variance)):
            raise ContractError(f"{premise.name}, {premise.statement}: {premise.how}")
