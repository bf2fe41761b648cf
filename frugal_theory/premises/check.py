"""Premises P1–P6 (``docs/theory.md``, section 2; ``docs/premises.md``): which an experiment meets, and how that is known.

Nothing that a problem, a noise or a subspace declares is taken on trust where evaluating it can refute it. A premise is
held unless it is refused; ``level`` and ``power`` say what that is worth.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import MutableMapping, Sequence

import numpy as np

from frugal_theory.instance import Instance
from frugal_theory.premises.bounded_below import BOUNDED_BELOW
from frugal_theory.premises.bounded_variance import BOUNDED_VARIANCE
from frugal_theory.premises.draws import Draws
from frugal_theory.premises.grounds import Grounds, PremiseTest
from frugal_theory.premises.independent import INDEPENDENT
from frugal_theory.premises.oblivious import OBLIVIOUS
from frugal_theory.premises.premise import Premise
from frugal_theory.premises.smooth import SMOOTH
from frugal_theory.premises.unbiased import UNBIASED

__all__ = ["LEVEL", "PREMISES", "check_noise_premises", "check_premises"]

Known = MutableMapping[bytes, dict[str, Premise]]

LEVEL = 1e-3
"""Probability that any premise of an experiment that meets all of them is refused: P3, P4 and P5 have a third each."""

PREMISES: dict[str, PremiseTest] = {
    test.name: test for test in (SMOOTH, BOUNDED_BELOW, UNBIASED, BOUNDED_VARIANCE, INDEPENDENT, OBLIVIOUS)
}
"""By name, in the order in which they are checked and shown."""


def check_premises(instance: Instance, *, level: float = LEVEL, known: Known | None = None) -> tuple[Premise, ...]:
    """All of :data:`PREMISES` for one instance, in order.

    ``level``: the probability that one or more of six true premises are refused. ``known``: what was found of those that
    do not depend on the algorithm; give the same dict for all cells of a sweep, and equal problems are tested once.
    """
    grounds = Grounds(instance, level, PREMISES)
    key = _key(instance, level) if known is not None else None
    if known is not None and key is not None:
        grounds.known.update(known.get(key, {}))
    found = tuple(grounds.premise(name) for name in PREMISES)
    if known is not None and key is not None:
        known[key] = {name: grounds.known[name] for name, test in PREMISES.items() if not test.of_algorithm}
    return found


def check_noise_premises(instance: Instance, drawn: Sequence[Draws], level: float = LEVEL) -> tuple[Premise, ...]:
    """P3, P4 and P5, from draws at some points."""
    grounds = Grounds(instance, level, PREMISES, drawn)
    return tuple(grounds.premise(name) for name in ("P3", "P4", "P5"))


def _key(instance: Instance, level: float) -> bytes | None:
    """What premises that do not depend on the algorithm do depend on, as bytes; None for objects that cannot be pickled."""
    setting = instance.setting
    variance = {name: np.asarray(value) for name, value in setting.variance.items()}
    try:
        content = pickle.dumps(
            (setting.problem, setting.noise, variance, setting.smoothness, setting.gap, instance.seed, level)
        )
    except Exception:
        return None
    return hashlib.sha256(content).digest()
