"""The contract of a theorem (:class:`frugal_theory.theorems.theorem.Theorem`)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frugal_theory.metrics import METRICS
from frugal_theory.testing.contract import ROUNDING, close, require
from frugal_theory.theorems.setting import Setting
from frugal_theory.theorems.theorem import spared_premises

__all__ = ["check_theorem"]

Array = NDArray[np.float64]

TEXTS = ("name", "title", "source", "statement", "metric")

LONG = 16
"""From so many steps on the start must count for less than after one step."""

SHARES = (0.1, 0.5, 0.99)
"""Shares of the largest step at which the bound is computed."""


def check_theorem(theorem: Any, settings: Iterable[Setting]) -> None:
    """Raise ContractError unless the theorem keeps its contract in these settings, naming what is wrong.

    It says what it is and documents itself; ``covers`` answers None or a reason for every setting; where it covers, the
    largest step is positive and does not depend on the step, and for steps below it the bound is positive and finite, the
    same for the first steps whatever their number, no smaller for a larger variance or gap, and what the gap adds to it is
    less after many steps than after one. Raises ContractError too if no setting is covered.
    """
    _says_what_it_is(theorem)
    covered = 0
    for setting in settings:
        excuse = theorem.covers(setting)
        require(
            excuse is None or (isinstance(excuse, str) and excuse != ""),
            f"{theorem.name}: covers gives {excuse!r}; None or a reason in words is expected",
        )
        oblivious = setting.runs is not None or "P6" in spared_premises(theorem)
        if excuse is None and oblivious and math.isfinite(setting.total_variance):
            covered += 1
            _steps(theorem, setting)
    require(covered > 0, f"{theorem.name} covers none of the settings given; give some that it speaks of")


def _says_what_it_is(theorem: Any) -> None:
    needed = (*TEXTS, "explicit", "covers", "largest_step", "bound")
    missing = [name for name in needed if not hasattr(theorem, name)]
    require(not missing, f"the theorem has no {', '.join(missing)}")
    for name in TEXTS:
        value = getattr(theorem, name)
        require(isinstance(value, str) and value.strip() != "", f"{name} = {value!r}: a text is expected")
    require(isinstance(theorem.explicit, bool), f"{theorem.name}: explicit = {theorem.explicit!r}: True or False is expected")
    require(bool((type(theorem).__doc__ or "").strip()), f"{theorem.name}: the class has no docstring with its statement")
    known = theorem.metric in METRICS or hasattr(theorem, "measure")
    require(known, f'{theorem.name}: metric = "{theorem.metric}" is none of {", ".join(METRICS)}, and there is no measure')


def _steps(theorem: Any, setting: Setting) -> None:
    name = theorem.name
    found = theorem.largest_step(setting)
    pair = isinstance(found, tuple) and len(found) == 2 and isinstance(found[1], (bool, np.bool_))
    require(pair, f"{name}: largest_step gives {found!r}; the step, and whether itself is admitted, are expected")
    largest, admitted = found
    require(largest > 0, f"{name}: the largest step is {largest}, which admits none")
    for share in (*SHARES, *([1.0] if admitted else [])):
        alpha = share * (largest if math.isfinite(largest) else 1 / setting.smoothness)
        algorithm = setting.algorithm.model_copy(update={"learning_rate": alpha})
        at = setting.having(algorithm=algorithm, learning_rate=alpha)
        again = theorem.largest_step(at)
        require(again == found, f"{name}: the largest step is {largest} and, with α = {alpha:.4g}, {again[0]}")
        _bound(theorem, at)


def _bound(theorem: Any, setting: Setting) -> None:
    where = f"{theorem.name} at α = {setting.alpha:.4g}"
    bound = np.asarray(theorem.bound(setting))
    require(bound.shape == (setting.steps,), f"{where}: bound has shape {bound.shape}; ({setting.steps},) is expected")
    require(bool(np.isfinite(bound).all()), f"{where}: the bound is not finite, though the step is admissible")
    positive = setting.gap > 0 or setting.total_variance > 0
    require(bool(np.all(bound > 0 if positive else bound >= 0)), f"{where}: the bound is not positive")
    fewer = max(1, setting.steps // 2)
    half = theorem.bound(setting.having(steps=fewer))
    require(close(half, bound[:fewer]), f"{where}: the bound for K ≤ {fewer} depends on the number of steps to come")
    slack = ROUNDING * np.abs(bound)
    louder = {name: 4 * value for name, value in setting.variance.items()}
    noisy = theorem.bound(setting.having(variance=louder))
    require(bool(np.all(noisy >= bound - slack)), f"{where}: the bound falls when the variance grows")
    higher = theorem.bound(setting.having(gap=2 * setting.gap + 1))
    require(bool(np.all(higher >= bound - slack)), f"{where}: the bound falls when the gap Δ grows")
    transient = higher - bound
    forgotten = setting.steps < LONG or transient[-1] < transient[0] + ROUNDING * abs(higher[0])
    require(bool(forgotten), f"{where}: what the gap Δ adds to the bound is no less after {setting.steps} steps than after one")
