"""The algorithm that these questions are about: SGDM on an oblivious set and SGD off it."""

from __future__ import annotations

from frugal_theory.config import Experiment
from frugal_theory.config.load import ExperimentError
from frugal_theory.instance import setting_of
from frugal_theory.theorems.theorem import off_the_family

__all__ = ["check_algorithm_2"]


def check_algorithm_2(experiment: Experiment) -> None:
    """Raise ExperimentError unless it is SGDM on an oblivious set and SGD, at the same learning rate, off it.

    Any reading of momentum off the set will do.
    """
    algorithm = experiment.algorithm.model_copy(update={"off_set_momentum": "reset"})
    setting = setting_of(experiment.model_copy(update={"algorithm": algorithm}))
    reason = off_the_family(setting)
    if reason is None and setting.runs is None:
        reason = f'the set of subspace "{algorithm.subspace}" is not known to be oblivious'
    if reason is None and algorithm.state_free.lr_scale != 1:
        reason = f"the state-free lr_scale is {algorithm.state_free.lr_scale:g}, not 1"
    if reason is None and algorithm.state_free.rule == "none":
        reason = 'the state-free rule is "none", not "sgd"'
    if reason is not None:
        raise ExperimentError(f"{experiment.name}: algorithm: {reason}")
