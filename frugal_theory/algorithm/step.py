"""Algorithm 1 of FRUGAL (arXiv 2411.07837), as it is read; Algorithm 2 is its case SGDM on coordinates, SGD off them.

This is the reference that the PyTorch optimizer is compared with, so it is written to be read, not to be fast.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from frugal_theory.algorithm.rules import Rule, RuleState, rule_of
from frugal_theory.algorithm.subspaces import Basis, Mask, Part, choose_parts
from frugal_theory.config import Algorithm

__all__ = ["State", "init", "step"]

Array = NDArray[np.float64]
Arrays = dict[str, Array]


@dataclass(frozen=True)
class State:
    """What Algorithm 1 carries from step to step: the step count, the parts in use and the rule's statistics."""

    step: int = 0
    parts: Mapping[str, Part] = field(default_factory=dict)
    statistics: Mapping[str, RuleState] = field(default_factory=dict)
    trials: NDArray[np.int64] | None = None
    bases: Mapping[str, Array] | None = None


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
        x      ← (1 − α · weight_decay) x − α u

    ``learning_rate`` (α) defaults to the algorithm's. Raises ValueError if that is a fraction of the admissible step,
    which only a theorem can turn into a number, and for gradients that do not match the parameters.
    """
    state = init() if state is None else state
    alpha = _learning_rate(algorithm, learning_rate)
    _check(parameters, gradients)
    full, free = rule_of(algorithm.state_full), rule_of(algorithm.state_free)
    if state.step % algorithm.update_gap == 0:
        state = _select(algorithm, full, gradients, state)

    new_parameters: Arrays = {}
    new_statistics: dict[str, RuleState] = {}
    for name, gradient in gradients.items():
        part, old = state.parts[name], state.statistics[name]
        g_full = part.project(gradient)
        g_free = part.residual(gradient)
        update, new = full.update(old, g_full)
        if isinstance(part, Mask):
            new = _read_off_set(algorithm, part, old, new)
        u = part.lift(update) + free.update({}, g_free)[0]
        new_parameters[name] = (1 - alpha * algorithm.weight_decay) * parameters[name] - alpha * u
        new_statistics[name] = new
    return new_parameters, State(state.step + 1, state.parts, new_statistics, state.trials, state.bases)


def _select(algorithm: Algorithm, rule: Rule, gradients: Mapping[str, Array], state: State) -> State:
    """Choose the parts of a new period, and do with the old statistics what ``on_update`` says.

    Statistics on coordinates need nothing: each coordinate keeps its own while it stays in the set. Those of a basis
    are reset, kept as they are in the new basis' coordinates, or turned into them; an unchanged basis keeps them.
    """
    leading = 0 if state.trials is None else 1
    shapes = {name: g.shape[leading:] for name, g in gradients.items()}
    period = state.step // algorithm.update_gap
    parts = choose_parts(algorithm, shapes, period, gradients, state.trials, state.bases)
    statistics: dict[str, RuleState] = {}
    for name, part in parts.items():
        old = state.parts.get(name)
        fixed = isinstance(part, Mask) or algorithm.on_update == "keep" or algorithm.subspace == "eigen"
        if old is None or not (fixed or algorithm.on_update == "project"):
            statistics[name] = rule.init(part.project(gradients[name]))
        elif fixed:
            statistics[name] = state.statistics[name]
        else:
            assert isinstance(part, Basis)  # a parameter's kind of part never changes
            assert isinstance(old, Basis)
            statistics[name] = {
                key: part.turn(old, value, key in rule.squares) if key in (*rule.vectors, *rule.squares) else value
                for key, value in state.statistics[name].items()
            }
    return State(state.step, parts, statistics, state.trials, state.bases)


def _read_off_set(algorithm: Algorithm, part: Mask, old: RuleState, new: RuleState) -> RuleState:
    """The three readings of Algorithm 2's line 3 for coordinates off the set: forget, decay with g = 0, or freeze."""
    if algorithm.off_set_momentum == "decay":
        return new
    if algorithm.off_set_momentum == "hold":
        return {key: np.where(part.inside, new[key], old[key]) for key in new}
    return {key: value * part.inside for key, value in new.items()}


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
