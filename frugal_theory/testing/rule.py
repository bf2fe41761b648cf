"""The contract of a rule (:class:`frugal_theory.algorithm.rules.Rule`)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from frugal_theory.testing.contract import close, copied, require, require_shapes, require_unchanged

__all__ = ["check_rule"]

Array = NDArray[np.float64]

STEPS = 3
"""Steps that statistics are followed for."""

FACTOR = 4.0
"""What gradients are multiplied by, to see how statistics scale. A power of two: nothing is rounded."""


def check_rule(rule: Any, seed: int = 0) -> None:
    """Raise ContractError unless the rule keeps its contract, naming what is wrong.

    A state of arrays that broadcast against the gradient and start at zero; arguments unchanged and nothing remembered; a
    gradient of zeros keeps what is declared zero; entries in ``vectors`` are linear in the gradients and those in ``squares``
    quadratic. Of a rule that works coordinate by coordinate (``elementwise``, unless it says otherwise) the state has the
    gradient's shape, and trials side by side do not mix.
    """
    missing = [name for name in ("vectors", "squares", "init", "update") if not hasattr(rule, name)]
    require(not missing, f"the rule has no {', '.join(missing)}")
    rng = np.random.default_rng(seed)
    for shape in ((5,), (3, 4), (2, 3, 4)):
        _one(rule, rng.standard_normal((STEPS, *shape)))
    if getattr(rule, "elementwise", True):
        _trials(rule, rng.standard_normal((STEPS, 4, 6)))
    _scaling(rule, rng.standard_normal((STEPS, 2, 7)))


def _one(rule: Any, gradients: Array) -> None:
    like, shape = gradients[0].copy(), gradients[0].shape
    statistics = rule.init(like)
    require(np.array_equal(like, gradients[0]), "init changes its argument")
    elementwise = getattr(rule, "elementwise", True)
    expected = {name: shape if elementwise else np.shape(value) for name, value in statistics.items()}
    require_shapes("init", statistics, expected)
    for name, value in statistics.items():
        fits = np.ndim(value) <= len(shape) and np.broadcast_shapes(np.shape(value), shape) == shape
        require(fits, f"init has shape {np.shape(value)} for {name}; one that broadcasts to {shape} is expected")
    for name, value in statistics.items():
        require(not np.any(value), f"init gives {name} values other than zero; what is off the set has zeros there")
    unknown = [name for name in (*rule.vectors, *rule.squares) if name not in statistics]
    require(not unknown, f"vectors and squares name {unknown}, and init gives {sorted(statistics)}")
    for gradient in gradients:
        before, given = copied(statistics), gradient.copy()
        update, new = rule.update(statistics, given)
        require_unchanged("update changes its statistics", before, statistics)
        require(np.array_equal(given, gradient), "update changes the gradient that it is given")
        require(np.shape(update) == shape, f"update has shape {np.shape(update)} for a gradient of shape {shape}")
        require(bool(np.isfinite(update).all()), "update is not finite")
        require_shapes("update's statistics", new, expected)
        kept = copied(new)
        once_more, again = rule.update(statistics, given)
        require(np.array_equal(update, once_more), "update gives two results for the same arguments; it must keep no state")
        require_unchanged("update gives two results for the same arguments", kept, again)
        statistics = kept
    update, new = rule.update(rule.init(like), np.zeros(shape))
    require(bool(np.isfinite(update).all()), "update is not finite for a gradient of zeros and statistics of zeros")
    for name in (*rule.vectors, *rule.squares):
        require(not np.any(new[name]), f"{name} does not stay zero under gradients of zeros")


def _follow(rule: Any, gradients: Array) -> tuple[Array, dict[str, Array]]:
    """The last update and statistics after all gradients."""
    statistics, update = rule.init(gradients[0]), np.zeros(gradients[0].shape)
    for gradient in gradients:
        update, statistics = rule.update(statistics, gradient)
    return update, statistics


def _trials(rule: Any, gradients: Array) -> None:
    together, statistics = _follow(rule, gradients)
    for trial in range(gradients.shape[1]):
        alone, its = _follow(rule, gradients[:, trial])
        require(close(alone, together[trial]), "update of trials side by side differs from that of each alone: trials mix")
        for name, value in its.items():
            require(close(value, statistics[name][trial]), f"{name} of trials side by side differs from that of each alone")


def _scaling(rule: Any, gradients: Array) -> None:
    """From zero statistics: linear statistics add up and scale with the gradients, quadratic ones scale with the square."""
    other = gradients[:, ::-1]
    plain, scaled, added, summed = (_follow(rule, g)[1] for g in (gradients, FACTOR * gradients, other, gradients + other))
    for name in rule.vectors:
        require(close(scaled[name], FACTOR * plain[name]), f"vectors names {name}, which does not scale with the gradient")
        require(close(summed[name], plain[name] + added[name]), f"vectors names {name}, which is not linear in the gradient")
    for name in rule.squares:
        require(
            close(scaled[name], FACTOR**2 * plain[name]),
            f"squares names {name}, which does not scale with the gradient squared",
        )
