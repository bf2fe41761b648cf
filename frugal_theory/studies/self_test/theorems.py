"""False theorems: a true one with one thing wrong, each on a stage where that makes it false."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from frugal_theory.algorithm.run_lengths import RunLengths
from frugal_theory.certificates.program import available
from frugal_theory.testing.false_theorem import Changed
from frugal_theory.theorems import THEOREMS, Setting

__all__ = ["PLANTS", "TIGHT", "Plant"]

Array = NDArray[np.float64]
Change = Callable[[Setting], Setting]


@dataclass(frozen=True)
class Plant:
    """One mistake in one theorem: the true bound, read off a setting that is not the experiment's."""

    stage: str
    theorem: str
    what: str
    change: Change
    metric: str | None = None

    def theorem_with_it(self) -> Changed:
        """The false theorem."""
        true = THEOREMS[self.theorem]
        return Changed(true, self.what, lambda setting: true.bound(self.change(setting)), self.metric)


class _Leakless(RunLengths):
    """Run lengths that are always infinite: W = 1."""

    def leak(self, step: int, power: int = 1) -> dict[str, Array]:  # noqa: ARG002
        return {name: np.zeros(()) for name in self.shapes}


def _no_noise(setting: Setting) -> Setting:
    return setting.having(variance={name: 0 * value for name, value in setting.variance.items()})


def _noise_by_alpha_squared(setting: Setting) -> Setting:
    return setting.having(variance={name: setting.alpha * value for name, value in setting.variance.items()})


def _transient_without_alpha(setting: Setting) -> Setting:
    return setting.having(gap=setting.gap * setting.alpha)


def _half_smoothness(setting: Setting) -> Setting:
    halved = {name: diagonal / 2 for name, diagonal in setting.coordinate_smoothness.items()}
    return setting.having(smoothness=setting.smoothness / 2, coordinate_smoothness=halved)


def _leakless(setting: Setting) -> Setting:
    runs = setting.runs
    assert runs is not None  # every stage is oblivious
    return setting.having(runs=_Leakless(**{field.name: getattr(runs, field.name) for field in fields(runs)}))


TIGHT: tuple[tuple[str, str], ...] = (
    ("SGD", "sgd"),
    ("SGDM", "sgdm"),
    ("SGDM", "sgdm_sharp"),
    ("SGD without noise", "sgdm_linear"),
    ("SGD with weight decay", "sgd_weight_decay"),
    ("SGDM", "fixed_set"),
    ("SGDM", "theorem_5_2"),
    ("sets redrawn at every step", "run_length"),
    ("sets redrawn at every step", "run_length_sharp"),
    ("sets redrawn at every step", "run_length_by_coordinate"),
    ("sets redrawn at every step", "independent_sampling"),
    ("sets redrawn at every step", "short_runs"),
    ("sets held for 5 steps", "run_length"),
    ("sets held for 5 steps", "held_sets"),
    ("sets held for 5 steps", "short_runs"),
    ("bases held for 5 steps", "orthogonal_subspaces"),
    ("signSGD", "signsgd"),
    ("signSGD", "signsgd_sharp"),
    ("signSGD with noise", "signsgd"),
    ("signSGD with noise", "signsgd_sharp"),
    ("signSGD with noise", "signsgd_symmetric"),
    ("hybrid", "hybrid"),
    ("hybrid", "hybrid_sharp"),
    ("hybrid", "hybrid_symmetric"),
    ("SGDM without noise", "eigen_aligned"),
    ("svd of the gradient", "svd_selection"),
    ("signSGD with noise", "signsgd_medians"),
    ("Lion without noise", "lion"),
    ("Adagrad without noise", "adagrad"),
    ("Adam without noise", "adam"),
    ("Adam without noise", "adam_hybrid"),
    ("Adam on a set without noise", "adam_hybrid"),
    *((("SGD", "certified"),) if available() else ()),
)
"""(stage, theorem): where the share of its bound that is really reached is known. 0.9 of that is false. A certificate is
looked for only where its solver is installed."""

_NO_NOISE = "the σ² term missing"
_ALPHA_SQUARED = "noise term in α² instead of α"
_NO_ALPHA = "transient Δ/K instead of Δ/(Kα)"
_HALF = "L halved"
_PLAIN = "squared_gradient_norm"

PLANTS: tuple[Plant, ...] = (
    Plant("SGD", "sgd", _NO_NOISE, _no_noise),
    Plant("SGDM", "sgdm", _NO_NOISE, _no_noise),
    Plant("SGDM", "sgdm_sharp", _NO_NOISE, _no_noise),
    Plant("SGDM", "fixed_set", _NO_NOISE, _no_noise),
    Plant("sets redrawn at every step", "run_length", _NO_NOISE, _no_noise),
    Plant("sets held for 5 steps", "short_runs", _NO_NOISE, _no_noise),
    Plant("bases held for 5 steps", "orthogonal_subspaces", _NO_NOISE, _no_noise),
    Plant("hybrid", "hybrid", _NO_NOISE, _no_noise),
    Plant("signSGD with noise", "signsgd", "the σ term missing", _no_noise),
    Plant("SGD", "sgd", _ALPHA_SQUARED, _noise_by_alpha_squared),
    Plant("SGDM", "sgdm", _ALPHA_SQUARED, _noise_by_alpha_squared),
    Plant("sets redrawn at every step", "run_length", _ALPHA_SQUARED, _noise_by_alpha_squared),
    Plant("sets held for 5 steps", "held_sets", _ALPHA_SQUARED, _noise_by_alpha_squared),
    Plant("SGD from afar", "sgd", _NO_ALPHA, _transient_without_alpha),
    Plant("sets redrawn, from afar", "run_length", _NO_ALPHA, _transient_without_alpha),
    Plant("sets redrawn, from afar", "independent_sampling", _NO_ALPHA, _transient_without_alpha),
    Plant("SGD", "sgd", _HALF, _half_smoothness),
    Plant("SGD with weight decay", "sgd_weight_decay", _HALF, _half_smoothness),
    Plant("SGDM, β = 0", "sgdm", _HALF, _half_smoothness),
    Plant("SGDM", "sgdm_sharp", _HALF, _half_smoothness),
    Plant("SGDM", "fixed_set", _HALF, _half_smoothness),
    Plant("sets redrawn at every step", "run_length", _HALF, _half_smoothness),
    Plant("sets redrawn at every step", "run_length_by_coordinate", _HALF, _half_smoothness),
    Plant("sets held for 5 steps", "run_length_sharp", _HALF, _half_smoothness),
    Plant("signSGD", "signsgd", _HALF, _half_smoothness),
    Plant("hybrid", "hybrid_sharp", _HALF, _half_smoothness),
    Plant("sets redrawn, from afar", "run_length", "W dropped on the left", lambda setting: setting, _PLAIN),
    Plant("sets redrawn, from afar", "run_length", "W dropped on both sides", _leakless, _PLAIN),
    Plant("sets redrawn, from afar", "run_length_sharp", "W dropped on both sides", _leakless, _PLAIN),
    *((Plant("SGD", "certified", _HALF, _half_smoothness),) if available() else ()),
)
"""Mistakes in what a bound depends on. On its stage each is false; ``docs/self_test.md`` has by how much."""
