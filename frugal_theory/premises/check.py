"""Premises P1–P6 (``docs/theory.md``, ``docs/premises.md``): which an experiment meets, and how that is known.

Nothing that a problem, a noise or a subspace declares is taken on trust where evaluating it can refute it. A premise is
held unless it is refused; ``level`` and ``power`` say what that is worth.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import MutableMapping, Sequence

import numpy as np

from frugal_theory.config.registry import Registry
from frugal_theory.instance import Instance
from frugal_theory.premises.draws import Draws
from frugal_theory.premises.grounds import Grounds, PremiseTest
from frugal_theory.premises.premise import Premise

__all__ = ["LEVEL", "PREMISES", "add_premise", "check_noise_premises", "check_premises", "key_of"]

Known = MutableMapping[bytes, dict[str, Premise]]

LEVEL = 1e-3
"""Probability that any premise of an experiment that meets all of them is refused: each one that is tested by statistics has
an equal share (:data:`~frugal_theory.premises.grounds.STATISTICAL`)."""

PREMISES: Registry[PremiseTest] = Registry(
    "premise",
    "frugal_theory.premises.check:PREMISES",
    {
        "P1": "frugal_theory.premises.smooth:SMOOTH",
        "P2": "frugal_theory.premises.bounded_below:BOUNDED_BELOW",
        "P3": "frugal_theory.premises.unbiased:UNBIASED",
        "P4": "frugal_theory.premises.bounded_variance:BOUNDED_VARIANCE",
        "P5": "frugal_theory.premises.independent:INDEPENDENT",
        "P6": "frugal_theory.premises.oblivious:OBLIVIOUS",
        "PL": "frugal_theory.premises.gradient_domination:GRADIENT_DOMINATION",
        "coordinate_smoothness": "frugal_theory.premises.coordinate_smooth:COORDINATE_SMOOTH",
        "uncorrelated": "frugal_theory.premises.uncorrelated:UNCORRELATED",
        "symmetric_unimodal": "frugal_theory.premises.symmetric_unimodal:SYMMETRIC_UNIMODAL",
        "symmetric": "frugal_theory.premises.symmetric:SYMMETRIC",
        "bounded": "frugal_theory.premises.bounded_gradient:BOUNDED_GRADIENT",
    },
)
"""By name, in the order in which they are checked and shown."""


def add_premise(premise: PremiseTest) -> PremiseTest:
    """Add a premise under its own name: it is tested in every cell, for every theorem. Raises ValueError if that is taken."""
    return PREMISES.add(premise.name, premise)


def check_premises(
    instance: Instance, *, level: float = LEVEL, known: Known | None = None, further: Sequence[str] = ()
) -> tuple[Premise, ...]:
    """Those of :data:`PREMISES` that every theorem needs, and the ``further`` ones that are named, for one instance, in order.

    ``level``: the probability that one or more of the premises are refused though all are true; of a sweep, each cell's share.
    ``known``: what was found of those that do not depend on the algorithm; give the same dict for all cells of a sweep, and
    equal problems are tested once.
    """
    grounds = Grounds(instance, level, PREMISES)
    key = key_of(instance, level) if known is not None else None
    if known is not None and key is not None:
        grounds.known.update(known.get(key, {}))
    found = tuple(grounds.premise(name) for name, test in PREMISES.items() if test.of_every_theorem or name in further)
    if known is not None and key is not None:
        known[key] = {name: premise for name, premise in grounds.known.items() if not PREMISES[name].of_algorithm}
    return found


def check_noise_premises(instance: Instance, drawn: Sequence[Draws], level: float = LEVEL) -> tuple[Premise, ...]:
    """P3, P4 and P5, from draws at some points."""
    grounds = Grounds(instance, level, PREMISES, drawn)
    return tuple(grounds.premise(name) for name in ("P3", "P4", "P5"))


def key_of(instance: Instance, level: float = LEVEL) -> bytes | None:
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
