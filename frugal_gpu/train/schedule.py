"""The learning rate of every step: a warm-up, then a schedule."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from frugal_theory.config import Training
from frugal_theory.config.registry import SCHEDULES

__all__ = [
    "CYCLES",
    "JAGGED",
    "Whole",
    "add_schedule",
    "constant",
    "cosine",
    "learning_rate_factor",
    "linear",
    "wsd",
]

Schedule = Callable[[Training, int], float]
"""The share of the peak learning rate at a step after the warm-up."""

NEARLY_NOTHING = 1e-7
"""The share at the first two steps of a cycle that is not the first one, in the code of ReLoRA and GaLore."""


@dataclass(frozen=True)
class Whole:
    """A schedule that has its own say in the warm-up, too: the share of the peak at every step."""

    share: Schedule

    def __call__(self, training: Training, step: int) -> float:
        """The share at ``step``."""
        return self.share(training, step)


def learning_rate_factor(training: Training, step: int) -> float:
    """The share of the peak learning rate at step k = 1 … K: k/W while k ≤ W, the warm-up, then what the schedule says."""
    schedule, warmup = SCHEDULES[training.schedule], training.warmup
    if step <= warmup and not isinstance(schedule, Whole):
        return step / warmup
    factor: float = schedule(training, step)
    return factor


def constant(training: Training, step: int) -> float:  # noqa: ARG001
    """1."""
    return 1.0


def cosine(training: Training, step: int) -> float:
    """φ + (1−φ)·½(1 + cos π(k−W)/(K−W)), which ends at φ, the ``final_learning_rate``."""
    return _cosine(training, (step - training.warmup) / (training.steps - training.warmup))


def linear(training: Training, step: int) -> float:
    """1 − (1−φ)(k−W)/(K−W), which ends at φ, the ``final_learning_rate``."""
    progress = (step - training.warmup) / (training.steps - training.warmup)
    return 1 - (1 - training.final_learning_rate) * progress


def wsd(training: Training, step: int) -> float:
    """Warm-up–stable–decay: 1 up to step K−D, then 1 − (1−φ)(k−K+D)/D, which ends at φ. D is ``decay_steps``.

    The stable part does not depend on K, so a run that is stopped there can be extended (MiniCPM, arXiv 2404.06395).
    """
    into = step - (training.steps - training.decay)
    return 1.0 if into <= 0 else 1 - (1 - training.final_learning_rate) * into / training.decay


def _cycles(training: Training, step: int) -> float:
    """Cycles of C steps, ``cycle_steps``, each with a warm-up of W: with c = (k−1) mod C, c/W while c < W, then the cosine of
    (c−W)/(C−W).

    As in the code of GaLore and FRUGAL: the first step of all has learning rate 0, the first two of later cycles next to
    nothing, and the last of a cycle is one step above φ.
    """
    cycle, warmup = training.cycle, training.warmup
    into = (step - 1) % cycle
    if into >= warmup:
        return _cosine(training, (into - warmup) / max(1, cycle - warmup))
    if step > cycle and into < 2:
        return NEARLY_NOTHING
    return into / warmup


def _jagged(training: Training, step: int) -> float:
    """ReLoRA's (arXiv 2307.05695): one cosine over the run, which every restart, after each ``restart_every`` steps, joins by
    a warm-up of ``restart_warmup_steps`` from 0. The first step of all has learning rate 0, as there.
    """
    done, warmup, again = step - 1, training.warmup, training.restart_warmup_steps
    every = training.restart_every or training.steps
    if done < warmup:
        return done / warmup
    into = done % every
    joins = done - into + again if done >= every and into < again else done
    share = _cosine(training, (joins - warmup) / max(1, training.steps - warmup))
    return share * into / again if joins != done else share


CYCLES, JAGGED = Whole(_cycles), Whole(_jagged)


def _cosine(training: Training, progress: float) -> float:
    """φ + (1−φ)·½(1 + cos πp)."""
    final = training.final_learning_rate
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress))


def add_schedule(name: str, schedule: Schedule) -> Schedule:
    """Add a schedule that ``training.schedule`` may name; :class:`Whole` if it is to say the warm-up, too.

    Raises ValueError if the name is taken.
    """
    added: Schedule = SCHEDULES.add(name, schedule)
    return added
