"""Algorithm 1 of FRUGAL (arXiv 2411.07837), as it is read; Algorithm 2 is its case SGDM on coordinates, SGD off them.

This is the reference that the PyTorch optimizer is compared with, so it is written to be read, not to be fast.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frugal_theory.algorithm.combine import Split, each_expert
from frugal_theory.algorithm.parts import Basis, Mask, Part
from frugal_theory.algorithm.periods import carried, placed, readings
from frugal_theory.algorithm.rules import Rule, RuleState, rule_of
from frugal_theory.algorithm.schedules import in_period
from frugal_theory.algorithm.staggering import offsets, own_period
from frugal_theory.algorithm.subspaces import choose_parts
from frugal_theory.config import Algorithm
from frugal_theory.config.registry import SUBSPACES

__all__ = ["State", "freezes", "init", "step"]

Array = NDArray[np.float64]
Arrays = dict[str, Array]


@dataclass(frozen=True)
class State:
    """What Algorithm 1 carries from step to step: the step count, the parts in use and the states of both rules.

    ``statistics`` and ``free`` are the states of the state-full and the state-free rule by parameter: arrays with the trials'
    axis, or, of rules that look at more than one coordinate, a list with one state a trial.
    """

    step: int = 0
    parts: Mapping[str, Mask | Basis] = field(default_factory=dict)
    statistics: Mapping[str, Any] = field(default_factory=dict)
    trials: NDArray[np.int64] | None = None
    bases: Mapping[str, Array] | None = None
    free: Mapping[str, Any] = field(default_factory=dict)


def init(trials: NDArray[np.int64] | None = None, bases: Mapping[str, Array] | None = None) -> State:
    """The state before the first step.

    ``trials``: the numbers of the trials that run side by side, shape (trials,); parameters and gradients then have a
    leading trial axis, and every trial draws its own subspaces (trial 0 draws those of a single run). ``bases``: for
    subspace "eigen", the Hessian's eigenvectors of each parameter, shape (d, d), leading columns first.
    """
    return State(trials=None if trials is None else np.asarray(trials, dtype=np.int64), bases=bases)


def step(
    algorithm: Algorithm,
    parameters: Mapping[str, Array],
    gradients: Mapping[str, Array],
    state: State | None = None,
    learning_rate: float | None = None,
) -> tuple[Arrays, State]:
    """One step of Algorithm 1. Returns the new parameters and the new state; nothing is changed in place.

    ``parameters`` and ``gradients`` map names to arrays of equal shape. For every parameter, with P the map onto its
    state-full part::

        g_full = P(g)
        g_free = g − P⁻¹(g_full)
        u      = P⁻¹(state_full_rule(g_full)) + state_free_rule(g_free)
        x      ← (1 − α · weight_decay) x − α · split_lr_scale · u

    A block that is off the set as a whole is not touched under state-free rule "none": what is frozen does not decay.

    ``learning_rate`` (α) defaults to the algorithm's. Raises ValueError if that is a fraction of the admissible step,
    which only a theorem can turn into a number, and for gradients that do not match the parameters.

    >>> import frugal_theory as ft
    >>> algorithm = ft.Algorithm(density=0.0, state_free="signsgd", learning_rate=0.25)
    >>> x, state = ft.step(algorithm, {"x": np.ones(2)}, {"x": np.array([3.0, -2.0])})
    >>> x["x"].tolist()
    [0.75, 1.25]
    """
    state = init() if state is None else state
    algorithm = in_period(algorithm, state.step // algorithm.update_gap)
    alpha = _learning_rate(algorithm, learning_rate)
    _check(parameters, gradients)
    full, free = (each_expert(rule_of(table), algorithm.experts) for table in (algorithm.state_full, algorithm.state_free))
    if due := _due(algorithm, gradients, state):
        state = _select(algorithm, full, free, {name: gradients[name] for name in due}, state, next(iter(due.values())))
    frozen = freezes(algorithm) and algorithm.weight_decay > 0
    new_parameters: Arrays = {}
    new_statistics: dict[str, Any] = {}
    new_free: dict[str, Any] = {}
    for name, gradient in gradients.items():
        split = Split(state.parts[name], full, free, algorithm.off_set_momentum)
        if _side_by_side(full, free):
            u, new = split.update({"full": state.statistics[name], "free": state.free.get(name, {})}, gradient)
            new_statistics[name], new_free[name] = new["full"], new["free"]
        else:
            u, new_statistics[name], new_free[name] = _one_by_one(split, state, name, gradient)
        moved = (1 - alpha * algorithm.weight_decay) * parameters[name] - alpha * algorithm.split_lr_scale * u
        new_parameters[name] = np.where(_touched(state, name), moved, parameters[name]) if frozen else moved
    return new_parameters, State(state.step + 1, state.parts, new_statistics, state.trials, state.bases, new_free)


def freezes(algorithm: Algorithm) -> bool:
    """Whether parameters can be off the set as a whole with nothing to move them: they do not decay then."""
    whole = SUBSPACES[algorithm.subspace].whole or algorithm.density == 0
    return bool(algorithm.state_free.rule == "none" and whole and algorithm.set is None)


def _touched(state: State, name: str) -> NDArray[np.bool_]:
    """Whether any of a parameter is in the set, by trial."""
    inside: Any = state.parts[name].inside  # type: ignore[union-attr]  # of whole parameters, or of their rows
    if state.trials is None:
        return np.asarray(inside.any())
    return np.asarray(inside.any(axis=tuple(range(1, inside.ndim)), keepdims=True) if inside.ndim else inside)


def _side_by_side(full: Rule, free: Rule) -> bool:
    """Whether trials may share their arrays, zeros off the set: both rules work coordinate by coordinate."""
    return getattr(full, "elementwise", True) and getattr(free, "elementwise", True)


def _one_by_one(split: Split, state: State, name: str, gradient: Array) -> tuple[Array, list[RuleState], list[RuleState]]:
    """The update of every trial by itself, each with its own part: for rules that look at more than one coordinate."""
    updates, full, free = [], [], []
    trials = [gradient] if state.trials is None else gradient
    for trial, own in enumerate(trials):
        part = placed(_of_trial(state.parts[name], trial, own), own.shape, split.reading, own)
        before = {"full": state.statistics[name][trial], "free": state.free[name][trial]}
        u, new = replace(split, part=part).update(before, own)
        updates.append(u)
        full.append(new["full"])
        free.append(new["free"])
    return updates[0] if state.trials is None else np.stack(updates), full, free


def _of_trial(part: Mask | Basis, trial: int, own: Array) -> Mask | Basis:
    """The part of one trial."""
    if isinstance(part, Basis):
        return replace(part, columns=part.columns[trial]) if part.columns.ndim > max(own.ndim, 2) else part
    return Mask(part.inside[trial]) if part.inside.ndim > own.ndim else part


def _due(algorithm: Algorithm, gradients: Mapping[str, Array], state: State) -> dict[str, int]:
    """The parameters that enter a new period in this step, with that period, the same for all of them."""
    period, phase = divmod(state.step, algorithm.update_gap)
    leading = 0 if state.trials is None else 1
    begins = offsets(algorithm, {name: g.shape[leading:] for name, g in gradients.items()}) if state.step else {}
    if begins:
        return {name: own_period(period, phase, begin) for name, begin in begins.items() if begin == phase}
    return dict.fromkeys(gradients, period) if phase == 0 else {}


def _select(algorithm: Algorithm, full: Rule, free: Rule, gradients: Mapping[str, Array], state: State, period: int) -> State:
    """Choose the parts of a new period of these parameters, and carry their state into them
    (:func:`frugal_theory.algorithm.periods.carried`)."""
    leading = 0 if state.trials is None else 1
    shapes = {name: g.shape[leading:] for name, g in gradients.items()}
    parts = choose_parts(algorithm, shapes, period, gradients, state.trials, state.bases)
    statistics: dict[str, Any] = {}
    free_states: dict[str, Any] = {}
    for name, part in parts.items():
        gradient, old = gradients[name], state.parts.get(name)
        if _side_by_side(full, free):
            split = Split(part, full, free, "reset" if isinstance(part, Basis) else algorithm.off_set_momentum)
            statistics[name], free_states[name] = _entered(algorithm, split, old, state.statistics.get(name), gradient)
        else:
            own = [gradient] if state.trials is None else list(gradient)
            entered = []
            for trial, g in enumerate(own):
                new, before = (
                    None if p is None else placed(_of_trial(p, trial, g), g.shape, algorithm.off_set_momentum, g)
                    for p in (part, old)
                )
                assert new is not None
                kept = None if old is None else state.statistics[name][trial]
                split = Split(new, full, free, algorithm.off_set_momentum)
                entered.append(_entered(algorithm, split, before, kept, g))
            statistics[name], free_states[name] = [full_ for full_, _ in entered], [free_ for _, free_ in entered]
        if old is not None:
            free_states[name] = state.free.get(name, {})
    return replace(
        state,
        parts={**state.parts, **parts},
        statistics={**state.statistics, **statistics},
        free={**state.free, **free_states},
    )


def _entered(
    algorithm: Algorithm, split: Split, old: Part | None, state: RuleState | None, gradient: Array
) -> tuple[RuleState, RuleState]:
    """The states of both rules in a new period; the state-free one's does not depend on the part, and stays."""
    if old is None or state is None:
        start = split.init(gradient)
        return start["full"], start["free"]
    return carried(split.full, old, split.part, state, gradient, **readings(algorithm)), {}


def _learning_rate(algorithm: Algorithm, given: float | None) -> float:
    if given is not None:
        return given
    if isinstance(algorithm.learning_rate, float | int):
        return float(algorithm.learning_rate)
    raise ValueError(
        "learning_rate is a fraction of the admissible step; pass the number as step(..., learning_rate=α) "
        "(frugal_theory.resolved gives an experiment with the number in place)"
    )


def _check(parameters: Mapping[str, Array], gradients: Mapping[str, Array]) -> None:
    if parameters.keys() != gradients.keys():
        raise ValueError(f"parameters are {sorted(parameters)}, gradients are {sorted(gradients)}; they must agree")
    for name, value in parameters.items():
        if value.shape != gradients[name].shape:
            raise ValueError(f"{name}: the parameter has shape {value.shape}, its gradient {gradients[name].shape}")
