"""Algorithm 2 on a quadratic as a linear map: the coefficients that all exact recursions share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from frugal_theory.algorithm.rules import Sgdm
from frugal_theory.algorithm.run_lengths import RunLengths
from frugal_theory.config import Algorithm
from frugal_theory.config.changing import changing

__all__ = ["Branch", "Momentum", "Reading", "Updates", "momentum", "updates"]

Reading = Literal["reset", "decay", "hold"]


@dataclass(frozen=True)
class Branch:
    """One step of one coordinate: x ← shrink·x + a·m + c·g̃, m ← e·m + f·g̃, with g̃ its stochastic gradient."""

    shrink: float
    a: float
    c: float
    e: float
    f: float


@dataclass(frozen=True)
class Updates:
    """What happens to a coordinate in one step, in the momentum set and off it."""

    inside: Branch
    outside: Branch


def updates(
    learning_rate: float,
    beta: float,
    lr_scale: float = 1.0,
    off_set_momentum: Reading = "reset",
    weight_decay: float = 0.0,
) -> Updates:
    """SGDM in the set and ``lr_scale`` times SGD off it (theory, section 1, Algorithm 2)::

        in the set    m ← βm + (1−β)g̃        x ← (1 − α·weight_decay)x − αm
        off the set   m ← 0, βm or m         x ← (1 − α·weight_decay)x − α·lr_scale·g̃

    ``off_set_momentum`` chooses among the three readings of m off the set: "reset", "decay" or "hold".
    """
    shrink = 1 - learning_rate * weight_decay
    kept = {"reset": 0.0, "decay": beta, "hold": 1.0}[off_set_momentum]
    inside = Branch(shrink, -learning_rate * beta, -learning_rate * (1 - beta), beta, 1 - beta)
    outside = Branch(shrink, 0.0, -learning_rate * lr_scale, kept, 0.0)
    return Updates(inside, outside)


class Momentum(NamedTuple):
    """What Algorithm 2 is made of, besides its sets and α."""

    beta: float
    lr_scale: float
    off_set_momentum: Reading


def momentum(algorithm: Algorithm, runs: RunLengths | None) -> Momentum:
    """The algorithm as Algorithm 2, given the law of its sets.

    Raises ValueError, with the end of a sentence, if it is something else: not SGDM in the set with SGD, or nothing,
    off it (a rule that never applies does not matter), or a set that looks at the noise.
    """
    full, free = algorithm.state_full, algorithm.state_free
    if runs is None and algorithm.refresh == "staggered":
        raise ValueError('algorithm.refresh = "staggered" changes bases one after another; "together" is allowed')
    if runs is None and (why := changing(algorithm)):
        raise ValueError(f"{why}; one density and one T are allowed")
    if runs is None:
        raise ValueError('algorithm.subspace = "svd" looks at the noise; a selection that does not is allowed')
    if not isinstance(full, Sgdm) and not runs.empty:
        raise ValueError(f'algorithm.state_full.rule = "{full.rule}" is not linear in the gradient; "sgdm" is allowed')
    still = free.rule == "none" or (free.rule == "signsgd" and free.lr_scale == 0)
    if not (free.rule == "sgd" or still or runs.full):
        raise ValueError(f'algorithm.state_free.rule = "{free.rule}" is not linear in the gradient; "sgd", "none" are allowed')
    beta = full.beta if isinstance(full, Sgdm) else 0.0
    return Momentum(beta, free.lr_scale if free.rule == "sgd" else 0.0, algorithm.off_set_momentum)
